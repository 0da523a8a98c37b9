//! Finding functions: the search path, manifests and links of aliases.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::document::Node;
use crate::layout::Layout;
use crate::listing;
use crate::model::alias::Alias;
use crate::names::FunctionId;
use crate::source::read;

/// The file that makes a directory a function.
pub(crate) const MANIFEST: &str = "function.toml";

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
///
/// # Errors
/// If a directory of functions cannot be listed: what is declared is unknown then.
pub(crate) fn find(layout: &Layout) -> Result<BTreeMap<FunctionId, Utf8PathBuf>, Diagnostic> {
    let mut found = BTreeMap::new();
    for base in layout.function_dirs() {
        for name in names(layout, base)? {
            if let Some(id) = FunctionId::new(&name) {
                found.entry(id).or_insert_with(|| base.join(name));
            }
        }
    }
    found.retain(|_, dir| !read::is_mask(&layout.at(dir)));
    Ok(found)
}

fn names(layout: &Layout, dir: &Utf8Path) -> Result<Vec<String>, Diagnostic> {
    listing::names(&layout.at(dir)).map_err(|error| read::unreadable(dir, &error))
}

/// Finds the directory of one function; None if there is none, or it is masked.
///
/// # Errors
/// If a directory on the way cannot be read.
pub(crate) fn find_one(layout: &Layout, id: &FunctionId) -> Result<Option<Utf8PathBuf>, Diagnostic> {
    for dir in layout.function_dirs().iter().map(|base| base.join(id.as_str())) {
        if read::exists(&layout.at(&dir), &dir)? {
            return Ok((!read::is_mask(&layout.at(&dir))).then_some(dir));
        }
    }
    Ok(None)
}

/// A function that owns an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    /// The link to its socket, as the proxy's configuration names it.
    pub(crate) link: Utf8PathBuf,
    pub(crate) id: FunctionId,
}

/// Finds the function that owns each alias.
///
/// # Errors
/// If a directory of aliases cannot be listed.
pub(crate) fn aliases(layout: &Layout) -> Result<BTreeMap<Alias, Owned>, Diagnostic> {
    let mut found = BTreeMap::new();
    for dir in layout.alias_dirs() {
        for name in names(layout, &dir)? {
            let link = dir.join(&name);
            let socket = layout.at(&link).read_link_utf8().ok();
            let id = socket.and_then(|socket| FunctionId::new(socket.file_name()?));
            if let (Some(alias), Some(id)) = (Alias::from_file_name(&name), id) {
                found.entry(alias).or_insert(Owned { link, id });
            }
        }
    }
    Ok(found)
}
