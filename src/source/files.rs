//! The files of a declaration, with digests of their content.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Component, Utf8Path};
use sha2::{Digest, Sha256};

use super::ignored::{IGNORE, Ignored};
use super::read::{text, unreadable};
use super::{DECLARATION, PROVENANCE};
use crate::diagnostic::Diagnostic;
use crate::model::{File, FileKind};
use crate::names::hex;

/// The largest size of a declaration's files together, in bytes: each reload hashes them, at 3.4 s per GiB.
pub(crate) const MAX_BYTES: u64 = 32 << 20;
/// The largest number of directories above a declaration's file: a path longer than 4096 bytes can be neither opened nor
/// mounted.
pub(crate) const MAX_DEPTH: usize = 100;

/// Lists the files of the declaration in `dir` that are not ignored, by path, with digests of their content; errors name
/// them below `shown`.
///
/// # Errors
/// If a file cannot be read, is a relative link out of the declaration, or is neither file, directory nor link; or if
/// all together are larger than 32 MiB.
pub(crate) fn files(dir: &Utf8Path, shown: &Utf8Path) -> Result<Vec<File>, Diagnostic> {
    files_beside(&[DECLARATION, PROVENANCE], dir, shown)
}

/// Lists the files in `dir` that are not ignored, except `own`, names in the directory itself; errors name files below
/// `shown`.
///
/// # Errors
/// Likewise.
pub(crate) fn files_beside(own: &[&str], dir: &Utf8Path, shown: &Utf8Path) -> Result<Vec<File>, Diagnostic> {
    let mut walk = Walk { own, dir, shown, ignored: Ignored::default(), files: Vec::new(), bytes: 0 };
    walk.directory(Utf8Path::new(""))?;
    walk.files.sort_by(|one: &File, other: &File| one.path.cmp(&other.path));
    Ok(walk.files)
}

struct Walk<'a> {
    own: &'a [&'a str],
    dir: &'a Utf8Path,
    shown: &'a Utf8Path,
    ignored: Ignored,
    files: Vec<File>,
    /// The size of the files so far.
    bytes: u64,
}

impl Walk<'_> {
    fn directory(&mut self, below: &Utf8Path) -> Result<(), Diagnostic> {
        let failed = |error: io::Error| unreadable(&self.shown.join(below), &error);
        if below.components().count() > MAX_DEPTH {
            let message = format!("is more than {MAX_DEPTH} directories deep");
            return Err(Diagnostic::of_file(&self.shown.join(below), message, "remove it from the declaration"));
        }
        let here = self.dir.join(below);
        let mut entries = here.read_dir_utf8().map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        // Sorted, so that the reported error does not depend on the order in which files were created.
        entries.sort_by(|one, other| one.file_name().cmp(other.file_name()));
        if below.as_str().is_empty() && entries.iter().any(|entry| entry.file_name() == IGNORE) {
            self.ignored = Ignored::parse(&text(&self.dir.join(IGNORE), &self.shown.join(IGNORE))?);
        }
        for entry in entries {
            let path = below.join(entry.file_name());
            if self.own.contains(&path.as_str()) {
                continue;
            }
            let kind = entry.file_type().map_err(|error| unreadable(&self.shown.join(below), &error))?;
            if self.ignored.has(&path, kind.is_dir()) {
                continue;
            }
            if kind.is_dir() {
                self.files.push(File { path: path.clone(), kind: FileKind::Directory });
                self.directory(&path)?;
            } else if kind.is_symlink() {
                self.files.push(File { kind: link(entry.path(), &self.shown.join(&path), &path)?, path });
            } else if kind.is_file() {
                let kind = self.regular(entry.path(), &self.shown.join(&path))?;
                self.files.push(File { kind, path });
            } else {
                let message = "is neither a file, a directory nor a link";
                return Err(Diagnostic::of_file(&self.shown.join(path), message, "remove it from the declaration"));
            }
        }
        Ok(())
    }

    fn regular(&mut self, path: &Utf8Path, shown: &Utf8Path) -> Result<FileKind, Diagnostic> {
        let failed = |error: io::Error| unreadable(shown, &error);
        let mut file = fs::File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        self.bytes = self.bytes.saturating_add(metadata.len());
        // The size is checked first, because to read and hash a disk image would take minutes.
        if self.bytes > MAX_BYTES {
            let message =
                format!("the declaration's files are {} MiB or more, and may be {}", self.bytes >> 20, MAX_BYTES >> 20);
            let remedy = "put what is big into a package, an image or /srv: every reload hashes these files";
            return Err(Diagnostic::of_file(self.shown, message, remedy));
        }
        let mut content = vec![0; metadata.len() as usize];
        file.read_exact(&mut content).map_err(failed)?;
        Ok(FileKind::Regular {
            executable: metadata.permissions().mode() & 0o100 != 0,
            size: content.len() as u64,
            sha256: hex(&Sha256::digest(&content)),
        })
    }
}

/// Describes a link. One to an absolute path stays what it is: the process may see that file. A relative one out of the
/// declaration would lead elsewhere from where the files are stored.
fn link(path: &Utf8Path, shown: &Utf8Path, relative: &Utf8Path) -> Result<FileKind, Diagnostic> {
    let target = path.read_link_utf8().map_err(|error| unreadable(shown, &error))?;
    let mut depth = relative.components().count() as i64 - 1;
    for component in target.components().filter(|_| target.is_relative()) {
        match component {
            Utf8Component::ParentDir => depth -= 1,
            Utf8Component::Normal(_) => depth += 1,
            Utf8Component::CurDir | Utf8Component::RootDir | Utf8Component::Prefix(_) => {}
        }
        if depth < 0 {
            let remedy = "link to an absolute path or to another of the declaration's files, or copy what it points to";
            return Err(Diagnostic::of_file(shown, format!("links out of the declaration, to {target}"), remedy));
        }
    }
    Ok(FileKind::Symlink { target })
}
