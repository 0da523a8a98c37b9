//! Declarations as streams of tar(5): what another host sends, and what this one sends to others.

use std::io::{Read, Write};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use tar::{Archive, Builder, EntryType, Header};

use crate::atomic;
use crate::given::{Given, Kind};
use crate::layout::Layout;
use crate::names::ServiceName;
use crate::service::failure::{Failure, Result};
use crate::source::files::MAX_BYTES;

/// The size of a stream that is read: a declaration and its dependencies, each within the limit of declared files.
const LIMIT: u64 = 8 * MAX_BYTES;

/// A stream that was received. Its files are removed when this is dropped.
pub(crate) struct Received {
    dir: Utf8PathBuf,
    _lock: std::fs::File,
}

impl Received {
    /// Returns the directory of what was received. It is the same each time for a service, so that a declaration that
    /// has not changed is known as such.
    pub(crate) fn dir(&self) -> &Utf8Path {
        &self.dir
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // What is left is replaced by the next stream, and private.
        let _ = atomic::remove_dir(&self.dir);
    }
}

/// Reads a declaration from a stream, for one command at a time.
///
/// # Errors
/// If the stream is not of tar(5), is larger than 256 MiB, has an entry that is neither a file, a directory nor a
/// symbolic link, or one that leads out of it; what the file system refuses.
pub(crate) fn receive(layout: &Layout, name: &ServiceName, input: impl Read) -> Result<Received> {
    let dir = layout.at(&layout.received(name));
    atomic::create_private_dir(dir.parent().unwrap_or(&dir))?;
    let lock = atomic::lock(&dir.with_file_name(format!("{name}.lock")))?;
    let staged = atomic::staging(&dir)?;
    unpack(input, staged.path())?;
    drop(atomic::replace_dir(staged, &dir)?);
    Ok(Received { dir, _lock: lock })
}

fn unpack(input: impl Read, to: &std::path::Path) -> Result<()> {
    let failed = |why: String| Failure::Failed(format!("standard input: {why}"));
    let help = "\n  help: send one by `tar -C DIR -c .`";
    let mut archive = Archive::new(input.take(LIMIT + 1));
    archive.set_preserve_mtime(false);
    let mut bytes = 0;
    for entry in archive.entries()? {
        let mut entry = entry.map_err(|error| failed(format!("not a stream of tar(5): {error}{help}")))?;
        let path = entry.path().map(|path| path.display().to_string()).unwrap_or_default();
        let kind = entry.header().entry_type();
        if !matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Symlink) {
            return Err(failed(format!("{path} is neither a file, a directory nor a symbolic link")));
        }
        bytes += entry.size();
        if bytes > LIMIT {
            return Err(failed(format!("more than {} MiB; keep what is larger in a package or an image", LIMIT >> 20)));
        }
        let is_inside = entry.unpack_in(to).map_err(|error| failed(format!("{path}: {error}")))?;
        if !is_inside {
            return Err(failed(format!("{path} leads out of the stream's directory")));
        }
    }
    Ok(())
}

/// Directories that are sent together, and the place of each in the stream.
pub(crate) struct Sent {
    /// The directory that all of them are below.
    root: Utf8PathBuf,
    dirs: Vec<Utf8PathBuf>,
}

impl Sent {
    /// Takes directories by their paths: a declaration's, and those of its dependencies as the declaration names them.
    pub(crate) fn new(dirs: Vec<Utf8PathBuf>) -> Self {
        let dirs: Vec<_> = dirs.iter().map(|dir| normalized(dir)).collect();
        let mut root = dirs.first().cloned().unwrap_or_default();
        while !dirs.iter().all(|dir| dir.starts_with(&root)) {
            root.pop();
        }
        Self { root, dirs }
    }

    /// Returns the place of the first directory in the stream; empty for its top.
    pub(crate) fn place(&self) -> &Utf8Path {
        self.dirs.first().and_then(|dir| dir.strip_prefix(&self.root).ok()).unwrap_or(Utf8Path::new(""))
    }

    /// Writes the stream. Its bytes depend on nothing but the files: names, contents, and whether their owner may execute
    /// them.
    ///
    /// # Errors
    /// What cannot be read, or written.
    pub(crate) fn write(&self, output: impl Write) -> Result<()> {
        let mut builder = Builder::new(output);
        for dir in &self.dirs {
            let given = Given::open(dir)?;
            let below = dir.strip_prefix(&self.root).unwrap_or(dir);
            for entry in given.below(Utf8Path::new(""))? {
                let path = below.join(&entry.path);
                let mut header = Header::new_gnu();
                header.set_mtime(0);
                match entry.kind {
                    Kind::Directory => {
                        header.set_entry_type(EntryType::Directory);
                        header.set_mode(0o755);
                        header.set_size(0);
                        builder.append_data(&mut header, &path, std::io::empty())?;
                    }
                    Kind::Link { target } => {
                        header.set_entry_type(EntryType::Symlink);
                        header.set_mode(0o777);
                        header.set_size(0);
                        builder.append_link(&mut header, &path, &target)?;
                    }
                    Kind::File { is_executable, .. } => {
                        let content = given.bytes(&entry.path)?;
                        header.set_mode(if is_executable { 0o755 } else { 0o644 });
                        header.set_size(content.len() as u64);
                        builder.append_data(&mut header, &path, content.as_slice())?;
                    }
                }
            }
        }
        Ok(builder.finish()?)
    }
}

/// Removes `.` and `..` from an absolute path by its text, as a declaration's `dir = "../other"` is meant.
fn normalized(path: &Utf8Path) -> Utf8PathBuf {
    let mut normal = Utf8PathBuf::new();
    for component in path.components() {
        match component {
            Utf8Component::ParentDir => drop(normal.pop()),
            Utf8Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}
