//! Finding functions: the search path, manifests and links of aliases.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::document::Node;
use crate::layout::Layout;
use crate::model::alias::Alias;
use crate::names::FunctionId;
use crate::source::read;

/// The file that makes a directory a function.
pub(crate) const MANIFEST: &str = "function.toml";
/// The link to the function's socket in its directory, through which the proxy follows an alias.
pub(crate) const SOCKET: &str = ".socket";
/// The subdirectory with a link to a function for each alias.
pub(crate) const ALIASES: &str = "aliases";

/// Reads the manifest of the function in `dir`; errors name the file as `shown`.
///
/// # Errors
/// If the file cannot be read or is not TOML.
pub(crate) fn document(dir: &Utf8Path, shown: &Utf8Path) -> Result<Node, Diagnostics> {
    Ok(parse(&read::text(&dir.join(MANIFEST), shown)?, shown)?)
}

/// Parses a manifest; errors name the file as `shown`.
///
/// # Errors
/// If the text is not TOML.
pub(crate) fn parse(text: &str, shown: &Utf8Path) -> Result<Node, Diagnostic> {
    Node::parse(&Arc::new(Source { path: shown.to_owned(), text: text.to_owned() }))
}

/// Finds the directory of each function: the first in the search path, without masked ones.
pub(crate) fn find(layout: &Layout) -> BTreeMap<FunctionId, Utf8PathBuf> {
    let mut found = BTreeMap::new();
    for base in layout.function_dirs() {
        for entry in layout.at(base).read_dir_utf8().into_iter().flatten().flatten() {
            if let Some(id) = FunctionId::new(entry.file_name()) {
                found.entry(id).or_insert_with(|| base.join(entry.file_name()));
            }
        }
    }
    found.retain(|_, dir| !read::is_mask(&layout.at(dir)));
    found
}

/// Finds the directory of one function; None if there is none, or it is masked.
pub(crate) fn find_one(layout: &Layout, id: &FunctionId) -> Option<Utf8PathBuf> {
    let mut dirs = layout.function_dirs().iter().map(|base| base.join(id.as_str()));
    let dir = dirs.find(|dir| layout.at(dir).symlink_metadata().is_ok())?;
    (!read::is_mask(&layout.at(&dir))).then_some(dir)
}

/// A function that owns an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    /// The link, as the proxy's configuration names it.
    pub(crate) link: Utf8PathBuf,
    pub(crate) id: FunctionId,
}

/// Finds the function that owns each alias.
pub(crate) fn aliases(layout: &Layout) -> BTreeMap<Alias, Owned> {
    let mut found = BTreeMap::new();
    for base in layout.function_dirs() {
        let dir = base.join(ALIASES);
        for entry in layout.at(&dir).read_dir_utf8().into_iter().flatten().flatten() {
            let target = entry.path().read_link_utf8().ok();
            let id = target.and_then(|target| FunctionId::new(target.strip_prefix("..").ok()?.as_str()));
            if let (Some(alias), Some(id)) = (Alias::from_file_name(entry.file_name()), id) {
                let link = dir.join(entry.file_name());
                found.entry(alias).or_insert(Owned { link, id });
            }
        }
    }
    found
}
