//! Functions on disk: gathering, storing and removing them, and the owners of aliases.

use fs_err as fs;
use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use crate::atomic::{self, Staging};
use crate::compile::functions::load_function;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Node, Path};
use crate::given::{Entry, Given, Kind, failed, must_fit, permissions};
use crate::layout::Layout;
use crate::model::alias::Alias;
use crate::model::function::Compiled;
use crate::names::FunctionId;
use crate::source::functions::{self, MANIFEST, Owned};
use crate::{path, template};

/// Gathers a manifest and what travels with it in an empty directory: the `files` it names, and words of its command
/// that begin with `./`.
///
/// # Errors
/// If a file is missing, not beside the manifest, or too large.
pub fn gather(manifest: &Utf8Path, variables: &BTreeMap<String, String>, to: &Utf8Path) -> Result<(), Diagnostics> {
    let from = manifest.parent().filter(|dir| !dir.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let given = &Given::open(from)?;
    let name = Utf8Path::new(manifest.file_name().unwrap_or(MANIFEST));
    if let Some(Entry { kind: Kind::Link { target }, .. }) = given.entry(name)? {
        let message = format!("is a link, to {target}, and not a file");
        return Err(Diagnostic::of_file(manifest, message, "copy what it links to").into());
    }
    let text = template::render_toml(manifest, &given.text(name)?, variables)?;
    let document = functions::parse(&text, manifest)?;
    let mut gathering = Gathering { document: &document, given, entries: Vec::new() };
    let mut errors = Diagnostics::default();
    for (at, word) in travelling(&document) {
        if let Err(found) = gathering.take(&at, &word) {
            errors.0.extend(found.0);
        }
    }
    errors.into_result()?;
    must_fit(from, "function", &gathering.entries)?;
    let place = to.join(MANIFEST);
    let written = fs::write(&place, &text).and_then(|()| fs::set_permissions(&place, permissions(false)));
    written.map_err(|error| failed(&place, error))?;
    Ok(gathering.entries.iter().try_for_each(|entry| given.copy(entry, to))?)
}

/// Paths beside the manifest, and where each is written.
fn travelling(document: &Node) -> Vec<(Path, String)> {
    let words = |at: Path| {
        let items = document.get(&at).map_or(&[][..], Node::items);
        let texts = items.iter().enumerate().filter_map(|(index, item)| Some((index, item.text()?.to_owned())));
        texts.map(|(index, text)| (at.join(index), text)).collect::<Vec<_>>()
    };
    let own = |(_, word): &(Path, String)| word.starts_with("./") && word != "./";
    let mut all: Vec<_> = words(path!["exec", "command"]).into_iter().filter(own).collect();
    let interpreters = document.get(&path!["interpreter"]).map(Node::leaves).unwrap_or_default();
    let suffixes = interpreters.iter().map(|(suffix, _)| path!["interpreter"].join(suffix.to_string().as_str()));
    all.extend(suffixes.flat_map(words).filter(own));
    let directory = document.get(&path!["directory"]).and_then(Node::text);
    all.extend(directory.map(|text| (path!["directory"], text.trim_end_matches('/').to_owned())).filter(own));
    let sources = words(path!["container", "volume"]).into_iter().filter(own);
    all.extend(sources.map(|(at, word)| (at, word.split(':').next().unwrap_or_default().to_owned())));
    all.extend(words(path!["files"]));
    all
}

struct Gathering<'a> {
    document: &'a Node,
    given: &'a Given,
    /// Each directory before what is in it.
    entries: Vec<Entry>,
}

impl Gathering<'_> {
    fn error(&self, at: &Path, message: impl Into<String>, remedy: &str) -> Diagnostics {
        self.document.error(at, message, remedy).into()
    }

    fn take(&mut self, at: &Path, word: &str) -> Result<(), Diagnostics> {
        let path = Utf8Path::new(word.strip_prefix("./").unwrap_or(word));
        let is_plain = path.components().all(|part| matches!(part, Utf8Component::Normal(_)));
        if !is_plain || word.is_empty() {
            let remedy = "name a file or directory beside the manifest, without ..";
            return Err(self.error(at, format!("{word:?} is not below the manifest's directory"), remedy));
        }
        if path == MANIFEST {
            return Err(self.error(at, format!("{path} has its place already"), "remove it"));
        }
        let mut here = Utf8PathBuf::new();
        for part in path.components() {
            here.push(part.as_str());
            let is_last = here == path;
            let Some(entry) = self.given.entry(&here)? else {
                let remedy = format!("put it at {}", self.given.shown(&here));
                return Err(self.error(at, format!("{here} is not there"), &remedy));
            };
            if !is_last && matches!(entry.kind, Kind::Link { .. }) {
                let remedy = "name what it links to";
                return Err(self.error(at, format!("{here} is a link on the way"), remedy));
            }
            if self.given.ignores(&entry) {
                let message = format!("{here} is ignored, as .conductorignore or its name has it");
                return Err(self.error(at, message, "rename it, or write !NAME in .conductorignore"));
            }
            let has_content = is_last && entry.kind == Kind::Directory;
            self.add(entry);
            if has_content {
                self.given.below(&here)?.into_iter().for_each(|entry| self.add(entry));
            }
        }
        Ok(())
    }

    /// Adds an entry, unless it was named before.
    fn add(&mut self, entry: Entry) {
        if !self.entries.iter().any(|other| other.path == entry.path) {
            self.entries.push(entry);
        }
    }
}

/// Returns the directory of declared functions.
pub fn base(layout: &Layout) -> Utf8PathBuf {
    layout.function_dirs()[0].clone()
}

/// Creates an empty scratch directory for a function beside the others.
///
/// # Errors
/// If the file system refuses an operation.
pub fn staging(layout: &Layout) -> io::Result<Staging> {
    let base = layout.at(&base(layout));
    atomic::create_private_dir(&base)?;
    atomic::sweep(&base)?;
    atomic::staging(&base.join("function"))
}

/// Moves a gathered function to its directory. Its processes run as another user, for whom their unit mounts it: nobody
/// else can enter the directory above.
///
/// # Errors
/// What the file system refuses, or files that changed while they were copied.
pub fn put(layout: &Layout, staged: Staging, compiled: &Compiled) -> io::Result<()> {
    let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(io::Error::other)?;
    let stored = atomic::staging(&layout.at(&base(layout)).join("function"))?;
    let fresh = Utf8PathBuf::try_from(stored.path().to_owned()).map_err(io::Error::other)?;
    crate::service::store::copy(&dir, &fresh, &compiled.function.files)?;
    fs::copy(dir.join(MANIFEST), fresh.join(MANIFEST))?;
    fs::set_permissions(fresh.join(MANIFEST), permissions(false))?;
    let again = load_function(layout, &fresh, &fresh, None).map_err(|error| io::Error::other(error.to_string()))?;
    if again.id != compiled.id {
        return Err(io::Error::other("the function changed while it was copied; try again"));
    }
    atomic::replace_dir(stored, &layout.at(&base(layout)).join(compiled.id.as_str())).map(drop)
}

/// Returns the link of an alias of a declared function.
pub(crate) fn link(layout: &Layout, alias: &Alias) -> Utf8PathBuf {
    layout.alias_dirs().next().expect("a search path").join(alias.file_name())
}

/// Gives an alias to a function, in one step.
///
/// # Errors
/// If the file system refuses an operation.
pub fn give(layout: &Layout, alias: &Alias, compiled: &Compiled) -> io::Result<()> {
    let link = layout.at(&link(layout, alias));
    atomic::create_dir(link.parent().unwrap_or(&link))?;
    let socket = layout.function_socket(&compiled.id, compiled.function.address);
    if link.read_link_utf8().is_ok_and(|there| there == socket) {
        return Ok(());
    }
    atomic::link(&socket, &link)
}

/// Removes an alias.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn take(layout: &Layout, alias: &Alias) -> io::Result<()> {
    let link = layout.at(&link(layout, alias));
    atomic::remove_file(&link)?;
    atomic::sync_parent(&link)
}

/// Lists the aliases of a function.
///
/// # Errors
/// If a directory of aliases cannot be listed.
pub(crate) fn owned(layout: &Layout, id: &FunctionId) -> Result<Vec<Alias>, Diagnostic> {
    let aliases = functions::aliases(layout)?.into_iter();
    Ok(aliases.filter(|(_, Owned { id: owner, .. })| owner == id).map(|(alias, _)| alias).collect())
}

/// Removes a function.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn remove(layout: &Layout, dir: &Utf8Path) -> io::Result<()> {
    atomic::remove_dir_at_once(&layout.at(dir))
}
