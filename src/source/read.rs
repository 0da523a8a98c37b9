//! Reading what lies in the search path: names in a directory, masks, texts.

use std::fs;
use std::io;
use std::sync::Arc;

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::document::Node;
use crate::layout::Layout;

/// Names in a directory, without hidden ones; a directory that is not there has none.
pub(super) fn entries(dir: &Utf8Path, errors: &mut Diagnostics) -> Vec<String> {
    let entries = match dir.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            errors.0.push(unreadable(dir, &error));
            return Vec::new();
        }
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

pub(super) fn exists(path: &Utf8Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Whether a path is a link to /dev/null.
pub(crate) fn is_mask(path: &Utf8Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.as_os_str() == "/dev/null")
}

/// What is said of a file or directory that cannot be read.
pub(crate) fn unreadable(path: &Utf8Path, error: &io::Error) -> Diagnostic {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name one that is there",
        _ => "make it readable for root, or remove it",
    };
    Diagnostic::of_file(path, format!("cannot be read: {error}"), remedy)
}

pub(super) fn read(path: &Utf8Path, shown: &Utf8Path) -> Result<Arc<Source>, Diagnostic> {
    Ok(Arc::new(Source { path: shown.to_owned(), text: text(path, shown)? }))
}

/// A file's text.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn text(path: &Utf8Path, shown: &Utf8Path) -> Result<String, Diagnostic> {
    let bytes = fs::read(path).map_err(|error| unreadable(shown, &error))?;
    String::from_utf8(bytes).map_err(|_| Diagnostic::of_file(shown, "is not UTF-8 text", "save the file as UTF-8"))
}

/// Reads one drop-in alone, None if there is none or it is a mask.
///
/// # Errors
/// What cannot be read or parsed.
pub(crate) fn drop_in(layout: &Layout, path: &Utf8Path) -> Result<Option<Node>, Diagnostic> {
    let here = layout.at(path);
    if !exists(&here) || is_mask(&here) {
        return Ok(None);
    }
    Node::parse(&read(&here, path)?).map(Some)
}
