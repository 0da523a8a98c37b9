//! Finding functions: the search path, links of aliases, and what travels with a manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::alias::Alias;
use super::function::{Compiled, Id};
use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::document::Node;
use crate::layout::Layout;
use crate::model::ServiceName;
use crate::resolve::function;
use crate::sources::{self, Declared};

/// The file that makes a directory a function.
pub const MANIFEST: &str = "function.toml";
/// In a function's directory: a link to its socket, through which the proxy follows an alias.
pub const SOCKET: &str = ".socket";
/// Below a directory of functions: who owns which alias.
pub const ALIASES: &str = "aliases";
/// Stands for a service's name where a function is resolved by the same rules.
const NAME: &str = "function";

/// Reads and resolves the function whose manifest and files are in `dir`, which people know as `shown`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(layout: &Layout, dir: &Utf8Path, shown: &Utf8Path, systemd: Option<u16>) -> Result<Compiled, Diagnostics> {
    let document = document(dir, &shown.join(MANIFEST))?;
    compile(layout, document, dir, shown, systemd)
}

/// The manifest of the function in `dir`, with its places in what people know as `shown`.
///
/// # Errors
/// Where it is not there, or no TOML.
pub fn document(dir: &Utf8Path, shown: &Utf8Path) -> Result<Node, Diagnostics> {
    Ok(parse(&sources::text(&dir.join(MANIFEST), shown)?, shown)?)
}

/// # Errors
/// Where the text is not TOML.
pub fn parse(text: &str, shown: &Utf8Path) -> Result<Node, Diagnostic> {
    Node::parse(&Arc::new(Source { path: shown.to_owned(), text: text.to_owned() }))
}

/// Resolves a manifest with the files in `dir`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile(
    layout: &Layout,
    document: Node,
    dir: &Utf8Path,
    shown: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Compiled, Diagnostics> {
    let files = sources::files_beside(&[MANIFEST, SOCKET], dir, shown)?;
    let declared = Declared {
        name: ServiceName::new(NAME).expect("a name"),
        scope: layout.scope,
        dir: shown.to_owned(),
        source: shown.join(MANIFEST),
        document,
        whole: None,
        drop_ins: Vec::new(),
        files,
        variables: BTreeMap::new(),
    };
    let function = function::resolve(&declared, systemd)?;
    Ok(Compiled { id: function.id(), function, dir: shown.to_owned() })
}

/// Loads a stored function, which must still be what its directory is called.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_stored(layout: &Layout, id: &Id, dir: &Utf8Path, systemd: Option<u16>) -> Result<Compiled, Diagnostics> {
    let compiled = load(layout, &layout.at(dir), dir, systemd)?;
    if compiled.id == *id {
        return Ok(compiled);
    }
    let message = format!("was changed after it was declared: it is {} now", compiled.id);
    let remedy = "declare it again from where it comes from, and remove this one";
    Err(Diagnostic::of_file(dir, message, remedy).into())
}

/// The directories of all functions of a layout, the most important first where one is in several.
pub fn find(layout: &Layout) -> BTreeMap<Id, Utf8PathBuf> {
    let mut found = BTreeMap::new();
    for base in layout.function_dirs() {
        for entry in layout.at(base).read_dir_utf8().into_iter().flatten().flatten() {
            if let Some(id) = Id::new(entry.file_name()) {
                found.entry(id).or_insert_with(|| base.join(entry.file_name()));
            }
        }
    }
    found.retain(|_, dir| !sources::is_mask(&layout.at(dir)));
    found
}

/// The directory of one function.
pub fn find_one(layout: &Layout, id: &Id) -> Option<Utf8PathBuf> {
    let mut dirs = layout.function_dirs().iter().map(|base| base.join(id.as_str()));
    let dir = dirs.find(|dir| layout.at(dir).symlink_metadata().is_ok())?;
    (!sources::is_mask(&layout.at(&dir))).then_some(dir)
}

/// A link of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The link itself, as the proxy's configuration names it.
    pub link: Utf8PathBuf,
    pub id: Id,
}

/// Who owns which alias.
pub fn aliases(layout: &Layout) -> BTreeMap<Alias, Owned> {
    let mut found = BTreeMap::new();
    for base in layout.function_dirs() {
        let dir = base.join(ALIASES);
        for entry in layout.at(&dir).read_dir_utf8().into_iter().flatten().flatten() {
            let target = entry.path().read_link_utf8().ok();
            let id = target.and_then(|target| Id::new(target.strip_prefix("..").ok()?.as_str()));
            if let (Some(alias), Some(id)) = (Alias::from_file_name(entry.file_name()), id) {
                let link = dir.join(entry.file_name());
                found.entry(alias).or_insert(Owned { link, id });
            }
        }
    }
    found
}
