//! Reading the search path: names in a directory, masks, texts of files.

use std::fs;
use std::io;
use std::sync::Arc;

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::document::Node;
use crate::layout::Layout;
use crate::listing;

/// The largest size of a text that people write, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// Lists the names in a directory without hidden ones, sorted; a missing directory is empty. A name that is not UTF-8
/// is one of the `errors`.
///
/// # Errors
/// If the directory cannot be listed.
pub(super) fn entries(dir: &Utf8Path, shown: &Utf8Path, errors: &mut Diagnostics) -> Result<Vec<String>, Diagnostic> {
    let mut names = Vec::new();
    for name in listing::list(dir).map_err(|error| unreadable(shown, &error))? {
        match name.into_string() {
            Ok(name) if name.starts_with('.') => {}
            Ok(name) => names.push(name),
            Err(name) => {
                errors.0.push(Diagnostic::of_file(shown, format!("the name {name:?} is not UTF-8"), "rename it"));
            }
        }
    }
    Ok(names)
}

/// Returns whether a path exists, as a link also if its target does not.
///
/// # Errors
/// If that is unknown: a directory above it cannot be read, or is a link to nothing.
pub(crate) fn exists(path: &Utf8Path, shown: &Utf8Path) -> Result<bool, Diagnostic> {
    listing::exists(path).map_err(|error| unreadable(shown, &error))
}

/// Returns whether a path is a mask: a link to /dev/null.
pub(crate) fn is_mask(path: &Utf8Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target.as_os_str() == "/dev/null")
}

/// Returns the error of a file or directory that cannot be read.
pub(crate) fn unreadable(path: &Utf8Path, error: &io::Error) -> Diagnostic {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "name an existing file or directory",
        io::ErrorKind::PermissionDenied => "run this as root, or as its owner",
        _ => "make it readable for root, or remove it",
    };
    Diagnostic::of_file(path, format!("cannot be read: {error}"), remedy)
}

/// Reads a file with the name `shown`, for errors with positions.
///
/// # Errors
/// If the file cannot be read or is not UTF-8.
pub(crate) fn read(path: &Utf8Path, shown: &Utf8Path) -> Result<Arc<Source>, Diagnostic> {
    Ok(Arc::new(Source { path: shown.to_owned(), text: text(path, shown)? }))
}

/// Reads a file's text; errors name the file as `shown`.
///
/// # Errors
/// If it is no regular file, is larger than 1 MiB or not UTF-8, or cannot be read.
pub(crate) fn text(path: &Utf8Path, shown: &Utf8Path) -> Result<String, Diagnostic> {
    // To open a FIFO or to read a disk image would hold up the generator, and with it the boot.
    let metadata = fs::metadata(path).map_err(|error| unreadable(shown, &error))?;
    if !metadata.is_file() {
        return Err(Diagnostic::of_file(shown, "is not a regular file", "write a file in its place, or remove it"));
    }
    if metadata.len() > MAX_TEXT {
        let message = format!("is {} MiB, more than {}", metadata.len() >> 20, MAX_TEXT >> 20);
        return Err(Diagnostic::of_file(shown, message, "write a declaration, or remove it"));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(shown, &error))?;
    utf8(bytes, shown)
}

/// Returns the text of a file that people write, without a byte order mark before it.
///
/// # Errors
/// If it is not UTF-8.
pub(crate) fn utf8(bytes: Vec<u8>, shown: &Utf8Path) -> Result<String, Diagnostic> {
    let text = String::from_utf8(bytes)
        .map_err(|_| Diagnostic::of_file(shown, "is not UTF-8 text", "save the file as UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads one drop-in; None if it is missing or a mask.
///
/// # Errors
/// If the file cannot be read or is not TOML.
pub(crate) fn drop_in(layout: &Layout, path: &Utf8Path) -> Result<Option<Node>, Diagnostic> {
    let here = layout.at(path);
    if !exists(&here, path)? || is_mask(&here) {
        return Ok(None);
    }
    Node::parse(&read(&here, path)?).map(Some)
}
