//! Reading `conductor.toml`: what holds for all services of a host.

use camino::Utf8PathBuf;

use crate::declaration::host::Settings;
use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::key::File;
use crate::key::mismatch::mismatch;
use crate::layout::Layout;
use crate::path;
use crate::source::read;

/// Where the file is that counts: the first of the search path, as declarations are found.
fn place(layout: &Layout) -> Option<Utf8PathBuf> {
    layout.settings().find(|path| layout.at(path).exists())
}

/// What holds for all services of a host, without types.
///
/// # Errors
/// What cannot be read, is not TOML, or has other keys and types than [`Settings`].
pub(crate) fn defaults(layout: &Layout) -> Result<Option<Node>, Diagnostic> {
    let Some(path) = place(layout) else { return Ok(None) };
    let Some(document) = read::drop_in(layout, &path)? else { return Ok(None) };
    document.read::<Settings>().map_err(|error| mismatch(File::Host, &document, error))?;
    Ok(document.get(&path!["service"]).cloned())
}
