//! Pages for errors: files that replace the bodies of answers.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

/// The answer of the proxy itself when nobody listens on a slot.
const STOPPED: u16 = 503;
/// What nginx has for that before it is known whether anything was sent.
const BROKEN: u16 = 502;

/// A file, and the internal location that serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Page {
    pub(super) path: String,
    pub(super) file: Utf8PathBuf,
    /// Whether callers are told when to come again.
    pub(super) is_of_stopped: bool,
}

/// Lists the locations of pages.
pub(super) fn pages(files: &BTreeMap<u16, Utf8PathBuf>) -> impl Iterator<Item = Page> {
    let page = |(status, file): (&u16, &Utf8PathBuf)| Page {
        path: path(*status, file),
        file: file.clone(),
        is_of_stopped: *status == STOPPED,
    };
    files.iter().map(page)
}

/// Returns whether a route has a page for what nginx answers when a service is stopped.
pub(super) fn has_stopped(files: &BTreeMap<u16, Utf8PathBuf>) -> bool {
    files.contains_key(&STOPPED) || files.contains_key(&BROKEN)
}

/// Returns the directives for the answers of a route.
pub(super) fn lines(files: &BTreeMap<u16, Utf8PathBuf>, stopped: &str, module: &str) -> Vec<String> {
    let mut lines = vec![format!("error_page 502 = {stopped};")];
    if !files.is_empty() {
        lines.push(format!("{module}_intercept_errors on;"));
        lines.extend(files.iter().filter(|(status, _)| **status != BROKEN).map(directive));
    }
    if has_stopped(files) {
        // The location of a stopped service has errors of its own.
        lines.push("recursive_error_pages on;".to_owned());
    }
    lines
}

/// Returns the directives for what nginx answers when a service is stopped.
pub(super) fn of_stopped(files: &BTreeMap<u16, Utf8PathBuf>) -> Vec<String> {
    let own = files.iter().filter(|(status, _)| matches!(**status, STOPPED | BROKEN));
    own.map(directive).chain(["recursive_error_pages on;".to_owned()]).collect()
}

fn directive((status, file): (&u16, &Utf8PathBuf)) -> String {
    format!("error_page {status} {};", path(*status, file))
}

/// Returns the path of the location: its end tells nginx the type of the file.
fn path(status: u16, file: &Utf8PathBuf) -> String {
    format!("/:{status}{file}")
}
