//! Finding declarations: the search path, masks, drop-ins, and a declaration's files.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use super::files::files;
use super::read::{entries, exists, is_mask, read};
use super::{DECLARATION, PROVENANCE};
use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::document::Node;
use crate::layout::{Layout, Scope};
use crate::model::{DropIn, File};
use crate::names::ServiceName;
use crate::path;
use crate::source::{part, settings};

/// A declaration as found: parsed and merged, but without types.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) name: ServiceName,
    /// Whose manager it is declared for.
    pub(crate) scope: Scope,
    /// Where its files are read.
    pub(crate) dir: Utf8PathBuf,
    /// The path of its `service.toml` that units name.
    pub(crate) source: Utf8PathBuf,
    pub(crate) document: Node,
    /// What it is a part of.
    pub(crate) group: Option<Group>,
    pub(crate) drop_ins: Vec<DropIn>,
    pub(crate) files: Vec<File>,
    /// Those it was declared with, where something is still to be rendered with them.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Declared {
    /// What the directory of its declaration is called.
    pub(crate) fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().map_or(&self.name, |group| &group.name)
    }
}

/// What is declared for all parts of a service together, without types.
#[derive(Debug, Clone)]
pub struct Group {
    pub(crate) name: ServiceName,
    pub(crate) document: Node,
}

/// What there is of each service of a declaration, or what is wrong with it.
pub(crate) type PerService<T> = Vec<(ServiceName, Result<T, Diagnostics>)>;

/// What is written for one service.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) location: Location,
    pub(crate) document: Node,
    pub(crate) group: Option<Group>,
    /// Directories of other parts: nothing in them is the service's.
    foreign: Vec<String>,
}

/// Where a declaration is, and what lies over it.
#[derive(Debug, Clone)]
pub struct Location {
    pub(crate) name: ServiceName,
    /// Its directory, as the units name it.
    pub(crate) dir: Utf8PathBuf,
    /// For a part: the declaration that it stands in.
    pub(crate) group: Option<Arc<Location>>,
    /// What lies under it.
    defaults: Defaults,
    /// Drop-in files by name, `*.toml` and `*.conf`, already without the hidden and masked ones.
    drop_ins: BTreeMap<String, Overlay>,
}

/// What holds for all services of the host, read once for all of them, or why that cannot be known.
type Defaults = Arc<Result<Option<Node>, Diagnostic>>;

fn defaults(layout: &Layout) -> Defaults {
    Arc::new(settings::defaults(layout))
}

/// A drop-in file.
#[derive(Debug, Clone)]
struct Overlay {
    path: Utf8PathBuf,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    AsItIs,
    /// Not written yet.
    Proposed(String),
}

/// What is to become of a drop-in file in the most important directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proposal {
    Text(String),
    /// A link to /dev/null.
    Mask,
    Gone,
}

impl Location {
    /// The site as it will be with one of the administrator's drop-ins written or removed.
    pub(crate) fn with(mut self, layout: &Layout, file: &str, proposal: &Proposal) -> Self {
        let bases = layout.declaration_dirs();
        let place = |base: &Utf8PathBuf| base.join(format!("{}.d", self.name)).join(file);
        let overlay = match proposal {
            Proposal::Text(text) => Some(Overlay { path: place(&bases[0]), content: Content::Proposed(text.clone()) }),
            Proposal::Mask => None,
            Proposal::Gone => {
                let below = bases[1..].iter().map(place).find(|path| exists(&layout.at(path)));
                let below = below.filter(|path| !is_mask(&layout.at(path)));
                below.map(|path| Overlay { path, content: Content::AsItIs })
            }
        };
        match overlay {
            Some(overlay) => self.drop_ins.insert(file.to_owned(), overlay),
            None => self.drop_ins.remove(file),
        };
        self
    }

    /// The drop-ins in force, in the order in which they are laid over the declaration.
    pub(crate) fn drop_ins(&self) -> impl Iterator<Item = &Utf8Path> {
        self.overlays().map(|(_, overlay)| overlay.path.as_path())
    }

    /// Those over the whole come first.
    fn overlays(&self) -> impl Iterator<Item = (&String, &Overlay)> {
        let of_the_group = self.group.iter().flat_map(|group| &group.drop_ins);
        of_the_group.chain(&self.drop_ins)
    }

    /// What the directory of its declaration is called.
    pub(crate) fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().map_or(&self.name, |group| &group.name)
    }

    /// A part of what is declared here.
    fn part(&self, layout: &Layout, name: ServiceName) -> Self {
        let drop_ins = drop_ins_of(layout, &name);
        let (dir, defaults) = (self.dir.clone(), self.defaults.clone());
        Self { name, dir, group: Some(Arc::new(self.clone())), defaults, drop_ins }
    }

    fn defaults(&self) -> Result<Option<&Node>, Diagnostic> {
        self.defaults.as_ref().as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// Declarations of the same name that this one hides.
    pub(crate) fn shadowed(&self, layout: &Layout) -> Vec<Utf8PathBuf> {
        let all = layout.declaration_dirs().iter().map(|base| base.join(self.declared_as().as_str()));
        let below = all.skip_while(|dir| *dir != self.dir).skip(1);
        below.map(|dir| dir.join(DECLARATION)).filter(|path| layout.at(path).exists()).collect()
    }
}

impl Overlay {
    fn read(&self, layout: &Layout) -> Result<Arc<Source>, Diagnostic> {
        match &self.content {
            Content::AsItIs => read(&layout.at(&self.path), &self.path),
            Content::Proposed(text) => Ok(Arc::new(Source { path: self.path.clone(), text: text.clone() })),
        }
    }
}

/// Finds every declaration of a layout, by name.
pub(crate) fn find(layout: &Layout) -> (Vec<Location>, Diagnostics) {
    let mut errors = Diagnostics::default();
    let mut dirs: BTreeMap<String, Utf8PathBuf> = BTreeMap::new();
    let mut over: BTreeMap<String, Vec<Utf8PathBuf>> = BTreeMap::new();
    for base in layout.declaration_dirs() {
        for entry in entries(&layout.at(base), &mut errors) {
            let path = base.join(&entry);
            match entry.strip_suffix(".d") {
                Some(name) => over.entry(name.to_owned()).or_default().push(path),
                None => drop(dirs.entry(entry).or_insert(path)),
            }
        }
    }
    let mut locations = Vec::new();
    let defaults = defaults(layout);
    for (name, dir) in dirs {
        let here = layout.at(&dir);
        if is_mask(&here) || !here.join(DECLARATION).exists() {
            continue;
        }
        match ServiceName::new(&name) {
            Ok(service) => {
                let drop_ins = drop_ins(layout, over.get(&name).map_or(&[], Vec::as_slice), &mut errors);
                locations.push(Location { name: service, dir, group: None, defaults: defaults.clone(), drop_ins });
            }
            Err(reason) => errors.0.push(Diagnostic::of_file(&dir, reason, "rename the directory")),
        }
    }
    (locations, errors)
}

/// Finds one declaration of a layout, or the part of one.
pub(crate) fn find_one(layout: &Layout, name: &ServiceName) -> Option<Location> {
    find_dir(layout, name).or_else(|| {
        let group = find_dir(layout, &name.split_part()?.0)?;
        let dir = layout.at(&group.dir);
        // Of a declaration that cannot be read nobody knows what it has.
        let document = in_place(layout, &group, &dir, &group.dir).ok()?;
        let names = part::names(&document, &group.name).ok()?;
        names.contains(name).then(|| group.part(layout, name.clone()))
    })
}

fn find_dir(layout: &Layout, name: &ServiceName) -> Option<Location> {
    let bases = layout.declaration_dirs();
    let dir = bases.iter().map(|base| base.join(name.as_str())).find(|dir| exists(&layout.at(dir)))?;
    let here = layout.at(&dir);
    if is_mask(&here) || !here.join(DECLARATION).exists() {
        return None;
    }
    let (defaults, drop_ins) = (defaults(layout), drop_ins_of(layout, name));
    Some(Location { name: name.clone(), dir, group: None, defaults, drop_ins })
}

/// A site for a declaration that is not in the search path yet, under the name it will have there.
pub fn new_location(layout: &Layout, name: &ServiceName) -> Location {
    let (defaults, drop_ins) = (defaults(layout), drop_ins_of(layout, name));
    Location { name: name.clone(), dir: layout.declaration(name), group: None, defaults, drop_ins }
}

/// The site of one of the services that are declared at another: a part's, or that itself.
pub(crate) fn part_of(layout: &Layout, location: &Location, name: &ServiceName) -> Location {
    if location.name == *name { location.clone() } else { location.part(layout, name.clone()) }
}

fn drop_ins_of(layout: &Layout, name: &ServiceName) -> BTreeMap<String, Overlay> {
    let bases = layout.declaration_dirs();
    let over: Vec<_> = bases.iter().map(|base| base.join(format!("{name}.d"))).collect();
    drop_ins(layout, &over, &mut Diagnostics::default())
}

/// Drop-ins of one service: by name, the most important directory first, masks taken out.
fn drop_ins(layout: &Layout, dirs: &[Utf8PathBuf], errors: &mut Diagnostics) -> BTreeMap<String, Overlay> {
    let mut found = BTreeMap::new();
    for dir in dirs {
        for entry in entries(&layout.at(dir), errors) {
            if entry.ends_with(".toml") || entry.ends_with(".conf") {
                let path = dir.join(&entry);
                found.entry(entry).or_insert(Overlay { path, content: Content::AsItIs });
            }
        }
    }
    found.retain(|_, overlay| !is_mask(&layout.at(&overlay.path)));
    found
}

/// The services that a declaration declares, by name of its parts where it has some: what is written for each, or why
/// that cannot be known.
///
/// # Errors
/// What concerns all of them.
pub(crate) fn written(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<PerService<Written>, Diagnostics> {
    let group = location.group.as_deref().unwrap_or(location);
    let document = in_place(layout, group, dir, shown)?;
    let names = part::names(&document, &group.name)?;
    if names.is_empty() && location.group.is_none() {
        let document = over_defaults(location, document)?;
        let written = Written { location: location.clone(), document, group: None, foreign: Vec::new() };
        return Ok(vec![(location.name.clone(), Ok(written))]);
    }
    let together = over(location.defaults()?.map(part::defaults_of_group), part::of_group(&document));
    let mut services = Vec::new();
    let asked = |name: &ServiceName| location.group.is_none() || *name == location.name;
    for name in names.iter().filter(|name| asked(name)) {
        let location = if location.group.is_some() { location.clone() } else { location.part(layout, name.clone()) };
        let others = names.iter().filter(|other| *other != name);
        let of_part = of_part(layout, &location, &document).map(|own| Written {
            location,
            document: own,
            group: Some(Group { name: group.name.clone(), document: together.clone() }),
            foreign: others.filter_map(|other| Some(other.split_part()?.1.to_owned())).collect(),
        });
        services.push((name.clone(), of_part.map_err(Diagnostics::from)));
    }
    Ok(services)
}

/// Reads what belongs to a declaration. Its files are at `dir`; errors name them below `shown`.
///
/// # Errors
/// What cannot be read.
pub(crate) fn load(
    layout: &Layout,
    written: Written,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Declared, Diagnostics> {
    let Written { location, document, group, foreign } = written;
    let mut drop_ins = Vec::new();
    for (name, overlay) in location.overlays().filter(|(name, _)| name.ends_with(".conf")) {
        drop_ins.push(DropIn { name: name.clone(), content: overlay.read(layout)?.text.clone() });
    }
    let mut files = files(dir, shown)?;
    let is_foreign = |path: &Utf8Path| foreign.iter().any(|dir| path.starts_with(dir));
    files.retain(|file| !is_foreign(&file.path));
    Ok(Declared {
        scope: layout.scope,
        dir: shown.to_owned(),
        source: location.dir.join(DECLARATION),
        name: location.name,
        // Only pods are rendered later; the generator reads no file for nothing.
        variables: if document.get(&path!["pod"]).is_some() { variables(dir) } else { BTreeMap::new() },
        document,
        group,
        drop_ins,
        files,
    })
}

/// The variables in the record of where a declaration came from; what somebody wrote by hand has none.
fn variables(dir: &Utf8Path) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Record {
        variables: BTreeMap<String, String>,
    }
    let text = fs::read(dir.join(PROVENANCE)).unwrap_or_default();
    serde_json::from_slice(&text).map(|Record { variables }| variables).unwrap_or_default()
}

/// Reads a declaration's `service.toml` alone, with what is laid over it.
///
/// # Errors
/// What cannot be read or parsed, and a part that is not in it.
pub(crate) fn document(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Node, Diagnostic> {
    match &location.group {
        None => over_defaults(location, in_place(layout, location, dir, shown)?),
        Some(group) => of_part(layout, location, &in_place(layout, group, dir, shown)?),
    }
}

fn in_place(layout: &Layout, location: &Location, dir: &Utf8Path, shown: &Utf8Path) -> Result<Node, Diagnostic> {
    let document = Node::parse(&read(&dir.join(DECLARATION), &shown.join(DECLARATION))?)?;
    lay_over(layout, location, document)
}

/// What a part says, with what is laid over it alone.
fn of_part(layout: &Layout, location: &Location, group: &Node) -> Result<Node, Diagnostic> {
    let own = location.name.split_part().and_then(|(_, part)| part::of_part(group, part));
    let own = own.ok_or_else(|| {
        group.error(&path!["part"], format!("there is no part {}", location.name), "write it as a section [[part]]")
    })?;
    over_defaults(location, lay_over(layout, location, own)?)
}

/// A service's document over what holds for all of the host.
fn over_defaults(location: &Location, document: Node) -> Result<Node, Diagnostic> {
    Ok(over(location.defaults()?.cloned(), document))
}

fn over(defaults: Option<Node>, mut document: Node) -> Node {
    if let Some(defaults) = defaults {
        document.lay_under(defaults);
    }
    document
}

fn lay_over(layout: &Layout, location: &Location, mut document: Node) -> Result<Node, Diagnostic> {
    for (_, overlay) in location.drop_ins.iter().filter(|(name, _)| name.ends_with(".toml")) {
        document.merge(Node::parse(&overlay.read(layout)?)?);
    }
    Ok(document)
}

/// The same of a declaration that is in its place.
///
/// # Errors
/// What cannot be read or parsed.
pub(crate) fn stored_document(layout: &Layout, location: &Location) -> Result<Node, Diagnostic> {
    document(layout, location, &layout.at(&location.dir), &location.dir)
}

/// Returns an error at a position of a declaration that is in its place, or why it cannot be read. It is read again: only
/// errors need positions. None if there is no such declaration any more.
pub(crate) fn stored_error(
    layout: &Layout,
    name: &ServiceName,
    error: impl FnOnce(&Node) -> Diagnostic,
) -> Option<Diagnostic> {
    let document = stored_document(layout, &find_one(layout, name)?);
    Some(document.map_or_else(|unreadable| unreadable, |document| error(&document)))
}

/// The parts of a service that is declared in its place; none, if it is one service or a part itself.
///
/// # Errors
/// What cannot be read or parsed, and parts that cannot be told apart.
pub(crate) fn parts(layout: &Layout, location: &Location) -> Result<Vec<ServiceName>, Diagnostics> {
    if location.group.is_some() {
        return Ok(Vec::new());
    }
    part::names(&in_place(layout, location, &layout.at(&location.dir), &location.dir)?, &location.name)
}
