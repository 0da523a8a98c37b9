//! The files that an import reads: the source, and those beside it that the source names.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::diagnostic::{Diagnostic, Position, Source};
use crate::import::declaration::{Declaration, File};
use crate::source::read;

/// The most that an import reads of one file, and copies of one directory: what a declaration may have, in bytes.
const MOST: u64 = 32 << 20;

/// A source of an import.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) source: Arc<Source>,
}

impl Input {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is not UTF-8, or has more than 32 MiB.
    pub(crate) fn read(path: &Utf8Path) -> Result<Self, Diagnostic> {
        let bytes = content(path).map_err(|error| read::unreadable(path, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Diagnostic::of_file(path, format!("not UTF-8: byte {at}"), "convert it to UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned);
        Ok(Self { source: Arc::new(Source { path: path.to_owned(), text }) })
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.source.path
    }

    /// The directory of the source, absolute.
    pub(crate) fn dir(&self) -> Utf8PathBuf {
        let dir = self.path().parent().unwrap_or(Utf8Path::new(""));
        let dir = if dir.as_str().is_empty() { Utf8Path::new(".") } else { dir };
        let absolute = std::path::absolute(dir).ok().and_then(|path| Utf8PathBuf::try_from(path).ok());
        normalized(&absolute.unwrap_or_else(|| dir.to_owned()))
    }

    /// The absolute path of what the source names, relative to its directory.
    pub(crate) fn absolute(&self, name: &str) -> Utf8PathBuf {
        normalized(&self.dir().join(name))
    }

    /// The text of a file beside the source.
    pub(crate) fn text_of(&self, name: &str) -> Option<String> {
        String::from_utf8(content(&self.absolute(name)).ok()?).ok()
    }

    /// Copies a regular file, or a directory of them, that the source names into a declaration; returns whether it is
    /// there and small enough. Links are not followed out of it.
    pub(crate) fn copy(&self, name: &str, to: &Utf8Path, declaration: &mut Declaration) -> bool {
        let mut left = MOST;
        let mut files = Vec::new();
        if !gather(&self.absolute(name), to, &mut left, &mut files) || files.is_empty() {
            return false;
        }
        declaration.files.extend(files);
        true
    }

    pub(crate) fn is_file(&self, name: &str) -> bool {
        self.absolute(name).is_file()
    }

    pub(crate) fn position(&self, span: std::ops::Range<usize>) -> Position {
        Position { source: self.source.clone(), span }
    }
}

fn content(path: &Utf8Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Collects the regular files of a path; false if there are more than `left` bytes of them.
fn gather(from: &Utf8Path, to: &Utf8Path, left: &mut u64, files: &mut Vec<(Utf8PathBuf, File)>) -> bool {
    let Ok(metadata) = from.symlink_metadata() else { return false };
    // The file that the source names may be a link; what is in a directory may lead anywhere.
    let is_named = metadata.is_symlink() && files.is_empty();
    let metadata = if is_named { from.metadata().unwrap_or(metadata) } else { metadata };
    if metadata.is_dir() {
        let Ok(entries) = from.read_dir_utf8() else { return false };
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned())).collect();
        names.sort();
        return names.iter().all(|name| gather(&from.join(name), &to.join(name), left, files));
    }
    if !metadata.is_file() {
        return true;
    }
    let Some(rest) = left.checked_sub(metadata.len()) else { return false };
    *left = rest;
    let Ok(content) = content(from) else { return false };
    files.push((to.to_owned(), File { content, executable: metadata.permissions().mode() & 0o111 != 0 }));
    true
}

/// A path without `.` and `..`.
fn normalized(path: &Utf8Path) -> Utf8PathBuf {
    let mut clean = Utf8PathBuf::new();
    for component in path.components() {
        match component.as_str() {
            "." => {}
            ".." => drop(clean.pop()),
            step => clean.push(step),
        }
    }
    clean
}
