//! Finding and reading declarations: the search path, masks, drop-ins and files.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::DECLARATION;
use super::files::files;
use super::ignored::is_left_behind;
use super::read::{entries, exists, is_mask, read};
use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::document::Node;
use crate::layout::{Layout, Scope};
use crate::model::{DropIn, File};
use crate::names::ServiceName;
use crate::parallel::in_parallel;
use crate::path;
use crate::source::part::Group;
use crate::source::{address, part, settings, variables};

/// The declaration of one service, with drop-ins and defaults merged, but untyped.
#[derive(Debug)]
pub struct Declared {
    pub(crate) name: ServiceName,
    /// The manager for which it is declared.
    pub(crate) scope: Scope,
    /// The directory of its files, as errors name it.
    pub(crate) dir: Utf8PathBuf,
    /// The path of its `service.toml`, as units name it.
    pub(crate) source: Utf8PathBuf,
    pub(crate) document: Node,
    /// The group, if the service is a part.
    pub(crate) group: Option<Group>,
    pub(crate) drop_ins: Vec<DropIn>,
    pub(crate) files: Vec<File>,
    /// The variables of `service declare`, for templates that are rendered when a deployment starts.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Declared {
    /// Returns the name of the declaration's directory: the group's, if the service is a part.
    pub(crate) fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().map_or(&self.name, |group| &group.name)
    }
}

/// A value or the errors of each service of a declaration.
pub(crate) type PerService<T> = Vec<(ServiceName, Result<T, Diagnostics>)>;

/// The document of one service, and of its group.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) location: Location,
    pub(crate) document: Node,
    pub(crate) group: Option<Group>,
    /// The directories of other parts, whose files are not the service's.
    foreign: Vec<String>,
}

/// The location of a service's declaration, with its drop-ins.
#[derive(Debug, Clone)]
pub struct Location {
    pub(crate) name: ServiceName,
    /// The directory, as units name it.
    pub(crate) dir: Utf8PathBuf,
    /// The location of the group's declaration, if the service is a part.
    pub(crate) group: Option<Arc<Location>>,
    /// The defaults of the host.
    defaults: Defaults,
    /// Drop-in files by name, `*.toml` and `*.conf`, without hidden and masked ones.
    drop_ins: BTreeMap<String, DropInFile>,
}

/// The defaults of the host's services, read once for all of them, or the error of conductor.toml.
type Defaults = Arc<Result<Option<Node>, Diagnostic>>;

fn defaults(layout: &Layout) -> Defaults {
    Arc::new(settings::defaults(layout))
}

/// A drop-in file.
#[derive(Debug, Clone)]
struct DropInFile {
    path: Utf8PathBuf,
    content: Content,
}

/// The content of a drop-in file.
#[derive(Debug, Clone)]
enum Content {
    /// The content of the file.
    Stored,
    /// The content that a command is about to write.
    Proposed(String),
}

/// A change of a drop-in file in the first directory of the search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proposal {
    /// The file has this content.
    Text(String),
    /// The file is a link to /dev/null.
    Mask,
    /// The file is removed: one of the same name further down the search path is in force.
    Removed,
}

impl Location {
    /// Returns the location after a change of one of the administrator's drop-ins.
    ///
    /// # Errors
    /// If it is unknown what a removed drop-in hides.
    pub(crate) fn with(mut self, layout: &Layout, file: &str, proposal: &Proposal) -> Result<Self, Diagnostic> {
        let bases = layout.declaration_dirs();
        let file_in = |base: &Utf8PathBuf| base.join(format!("{}.d", self.name)).join(file);
        let drop_in = match proposal {
            Proposal::Text(text) => {
                Some(DropInFile { path: file_in(&bases[0]), content: Content::Proposed(text.clone()) })
            }
            Proposal::Mask => None,
            Proposal::Removed => {
                let below = first_there(layout, bases[1..].iter().map(file_in))?;
                let below = below.filter(|path| !is_mask(&layout.at(path)));
                below.map(|path| DropInFile { path, content: Content::Stored })
            }
        };
        match drop_in {
            Some(drop_in) => self.drop_ins.insert(file.to_owned(), drop_in),
            None => self.drop_ins.remove(file),
        };
        Ok(self)
    }

    /// Lists the drop-ins in force, in the order in which they are merged over the declaration.
    pub(crate) fn drop_ins(&self) -> impl Iterator<Item = &Utf8Path> {
        self.drop_in_files().map(|(_, drop_in)| drop_in.path.as_path())
    }

    /// Returns the drop-ins by name: the group's first, then the part's.
    fn drop_in_files(&self) -> impl Iterator<Item = (&String, &DropInFile)> {
        let of_the_group = self.group.iter().flat_map(|group| &group.drop_ins);
        of_the_group.chain(&self.drop_ins)
    }

    /// Returns the name of the declaration's directory: the group's, if the service is a part.
    pub(crate) fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().map_or(&self.name, |group| &group.name)
    }

    /// Returns the location of a part of this declaration.
    fn part(&self, layout: &Layout, name: ServiceName) -> Result<Self, Diagnostics> {
        let drop_ins = drop_ins_of(layout, &name)?;
        let (dir, defaults) = (self.dir.clone(), self.defaults.clone());
        Ok(Self { name, dir, group: Some(Arc::new(self.clone())), defaults, drop_ins })
    }

    fn defaults(&self) -> Result<Option<&Node>, Diagnostic> {
        self.defaults.as_ref().as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// Lists the declarations of the same name that this one hides in the search path.
    pub(crate) fn shadowed(&self, layout: &Layout) -> Vec<Utf8PathBuf> {
        let all = layout.declaration_dirs().iter().map(|base| base.join(self.declared_as().as_str()));
        let below = all.skip_while(|dir| *dir != self.dir).skip(1);
        below.map(|dir| dir.join(DECLARATION)).filter(|path| layout.at(path).exists()).collect()
    }
}

impl DropInFile {
    fn read(&self, layout: &Layout) -> Result<Arc<Source>, Diagnostic> {
        match &self.content {
            Content::Stored => read(&layout.at(&self.path), &self.path),
            Content::Proposed(text) => Ok(Arc::new(Source { path: self.path.clone(), text: text.clone() })),
        }
    }
}

/// The declarations of a layout.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By name.
    pub(crate) locations: Vec<Location>,
    /// Errors by the service whose declaration is concerned; those that concern no single service are under None.
    pub(crate) errors: BTreeMap<Option<ServiceName>, Diagnostics>,
}

/// Finds every declaration of a layout.
///
/// # Errors
/// If a directory of declarations cannot be listed: what is declared is unknown then, and what hides what.
pub(crate) fn find(layout: &Layout) -> Result<Found, Diagnostic> {
    let mut found = Found::default();
    let mut nameless = Diagnostics::default();
    let mut dirs: BTreeMap<String, Utf8PathBuf> = BTreeMap::new();
    let mut over: BTreeMap<String, Vec<Utf8PathBuf>> = BTreeMap::new();
    for base in layout.declaration_dirs() {
        let entries = entries(&layout.at(base), base, &mut nameless)?;
        for entry in entries.into_iter().filter(|entry| !is_left_behind(entry)) {
            let path = base.join(&entry);
            match entry.strip_suffix(".d") {
                Some(name) => over.entry(name.to_owned()).or_default().push(path),
                None => drop(dirs.entry(entry).or_insert(path)),
            }
        }
    }
    let defaults = defaults(layout);
    let dirs: Vec<_> = dirs.into_iter().collect();
    let are_declarations = in_parallel(&dirs, |(_, dir)| is_declaration(layout, dir));
    for ((name, dir), is_declaration) in dirs.into_iter().zip(are_declarations) {
        match (is_declaration, ServiceName::new(&name)) {
            (Ok(false), _) => {}
            (Ok(true), Ok(service)) => match drop_ins(layout, over.get(&name).map_or(&[], Vec::as_slice)) {
                Ok(drop_ins) => {
                    let defaults = defaults.clone();
                    found.locations.push(Location { name: service, dir, group: None, defaults, drop_ins });
                }
                Err(errors) => drop(found.errors.insert(Some(service), errors)),
            },
            (Err(error), Ok(service)) => drop(found.errors.insert(Some(service), error.into())),
            (_, Err(reason)) => nameless.0.push(Diagnostic::of_file(&dir, reason, "rename the directory")),
        }
    }
    if !nameless.0.is_empty() {
        found.errors.insert(None, nameless);
    }
    Ok(found)
}

/// Returns whether an entry of the search path is a declaration: a directory with a `service.toml`, and no mask.
fn is_declaration(layout: &Layout, dir: &Utf8Path) -> Result<bool, Diagnostic> {
    let here = layout.at(dir);
    if is_mask(&here) {
        return Ok(false);
    }
    match exists(&here.join(DECLARATION), &dir.join(DECLARATION)) {
        // A file among the declarations is not one.
        Err(_) if here.is_file() => Ok(false),
        is_there => is_there,
    }
}

/// Finds the declaration of one service or part; None if it is missing or masked.
///
/// # Errors
/// If a directory or file on the way cannot be read, so that it is unknown whether there is one.
pub(crate) fn find_one(layout: &Layout, name: &ServiceName) -> Result<Option<Location>, Diagnostics> {
    if let Some(location) = find_dir(layout, name)? {
        return Ok(Some(location));
    }
    let Some((group, _)) = name.split_part() else { return Ok(None) };
    let Some(group) = find_dir(layout, &group)? else { return Ok(None) };
    let document = merged(layout, &group, &layout.at(&group.dir), &group.dir)?;
    let names = part::names(&document, &group.name)?;
    names.contains(name).then(|| group.part(layout, name.clone())).transpose()
}

fn find_dir(layout: &Layout, name: &ServiceName) -> Result<Option<Location>, Diagnostics> {
    let bases = layout.declaration_dirs().iter().map(|base| base.join(name.as_str()));
    let Some(dir) = first_there(layout, bases)? else { return Ok(None) };
    if !is_declaration(layout, &dir)? {
        return Ok(None);
    }
    let (defaults, drop_ins) = (defaults(layout), drop_ins_of(layout, name)?);
    Ok(Some(Location { name: name.clone(), dir, group: None, defaults, drop_ins }))
}

/// Returns the first path that exists.
fn first_there(layout: &Layout, paths: impl Iterator<Item = Utf8PathBuf>) -> Result<Option<Utf8PathBuf>, Diagnostic> {
    for path in paths {
        if exists(&layout.at(&path), &path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Returns the location of a declaration that is not stored yet.
///
/// # Errors
/// If its drop-ins cannot be listed.
pub fn new_location(layout: &Layout, name: &ServiceName) -> Result<Location, Diagnostics> {
    let (defaults, drop_ins) = (defaults(layout), drop_ins_of(layout, name)?);
    Ok(Location { name: name.clone(), dir: layout.declaration(name), group: None, defaults, drop_ins })
}

/// Returns the location of one service of a declaration: the declaration's own, or that of a part.
///
/// # Errors
/// If its drop-ins cannot be listed.
pub(crate) fn part_of(layout: &Layout, location: &Location, name: &ServiceName) -> Result<Location, Diagnostics> {
    if location.name == *name { Ok(location.clone()) } else { location.part(layout, name.clone()) }
}

fn drop_ins_of(layout: &Layout, name: &ServiceName) -> Result<BTreeMap<String, DropInFile>, Diagnostics> {
    let bases = layout.declaration_dirs();
    let over: Vec<_> = bases.iter().map(|base| base.join(format!("{name}.d"))).collect();
    drop_ins(layout, &over)
}

/// Finds the drop-ins of one service by name; a file hides others of its name in later directories, and a mask all of
/// them.
fn drop_ins(layout: &Layout, dirs: &[Utf8PathBuf]) -> Result<BTreeMap<String, DropInFile>, Diagnostics> {
    let (mut found, mut errors) = (BTreeMap::new(), Diagnostics::default());
    for dir in dirs {
        for entry in entries(&layout.at(dir), dir, &mut errors)? {
            if entry.ends_with(".toml") || entry.ends_with(".conf") {
                let path = dir.join(&entry);
                found.entry(entry).or_insert(DropInFile { path, content: Content::Stored });
            }
        }
    }
    found.retain(|_, drop_in| !is_mask(&layout.at(&drop_in.path)));
    errors.into_result().map(|()| found)
}

/// Reads the documents of a declaration's services: of the declaration itself, or of its parts. Its files are in `dir`;
/// errors name them below `shown`.
///
/// # Errors
/// Errors of all services together; those of one service are in its place in the result.
pub(crate) fn written(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<PerService<Written>, Diagnostics> {
    let group = location.group.as_deref().unwrap_or(location);
    let document = merged(layout, group, dir, shown)?;
    let names = part::names(&document, &group.name)?;
    if names.is_empty() && location.group.is_none() {
        let document = over_defaults(location, document)?;
        let written = Written { location: location.clone(), document, group: None, foreign: Vec::new() };
        return Ok(vec![(location.name.clone(), Ok(written))]);
    }
    let together = over(location.defaults()?.map(part::defaults_of_group), part::of_group(&document));
    let parts: PerService<_> =
        names.iter().map(|name| (name.clone(), part_in(layout, location, name, &document))).collect();
    let known = parts.iter().filter_map(|(name, part)| Some((name.clone(), part.as_ref().ok()?.1.clone())));
    let addresses = address::all(&document, &known.collect::<Vec<_>>())?;
    let is_selected = |name: &ServiceName| location.group.is_none() || *name == location.name;
    let selected = parts.into_iter().filter(|(name, _)| is_selected(name)).map(|(name, part)| {
        let others = names.iter().filter(|other| **other != name);
        let written = part.map(|(location, own)| Written {
            document: own,
            location,
            group: Some(Group {
                name: group.name.clone(),
                document: together.clone(),
                after: part::after(&document, &name, &group.name),
                addresses: addresses.clone(),
            }),
            foreign: others.filter_map(|other| Some(other.split_part()?.1.to_owned())).collect(),
        });
        (name, written)
    });
    Ok(selected.collect())
}

/// Returns the location and the document of a part, whose declaration's `location` may be the part's own.
fn part_in(
    layout: &Layout,
    location: &Location,
    name: &ServiceName,
    document: &Node,
) -> Result<(Location, Node), Diagnostics> {
    let own = match &location.group {
        Some(_) if *name == location.name => location.clone(),
        Some(group) => group.part(layout, name.clone())?,
        None => location.part(layout, name.clone())?,
    };
    let document = of_part(layout, &own, document)?;
    Ok((own, document))
}

/// Reads the drop-ins and files of a service. The files are in `dir`; errors name them below `shown`.
///
/// # Errors
/// If a file cannot be read, or the files are too large.
pub(crate) fn load(
    layout: &Layout,
    written: Written,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Declared, Diagnostics> {
    let Written { location, document, group, foreign } = written;
    let mut drop_ins = Vec::new();
    for (name, drop_in) in location.drop_in_files().filter(|(name, _)| name.ends_with(".conf")) {
        drop_ins.push(DropIn { name: name.clone(), content: drop_in.read(layout)?.text.clone() });
    }
    let mut files = files(dir, shown)?;
    let is_foreign = |path: &Utf8Path| foreign.iter().any(|dir| path.starts_with(dir));
    files.retain(|file| !is_foreign(&file.path));
    Ok(Declared {
        scope: layout.scope,
        dir: shown.to_owned(),
        source: location.dir.join(DECLARATION),
        name: location.name,
        // The generator does not read the record of services without templates.
        variables: if variables::are_used(&document) { variables::read(dir, shown)? } else { BTreeMap::new() },
        document,
        group,
        drop_ins,
        files,
    })
}

/// Reads the document of one service: `service.toml` with drop-ins and defaults. The file is in `dir`; errors name it
/// below `shown`.
///
/// # Errors
/// If a file cannot be read or is not TOML, or if the declaration does not have the part.
pub(crate) fn document(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Node, Diagnostic> {
    match &location.group {
        None => over_defaults(location, merged(layout, location, dir, shown)?),
        Some(group) => of_part(layout, location, &merged(layout, group, dir, shown)?),
    }
}

/// Reads `service.toml` and merges the drop-ins of its location over it.
fn merged(layout: &Layout, location: &Location, dir: &Utf8Path, shown: &Utf8Path) -> Result<Node, Diagnostic> {
    let document = Node::parse(&read(&dir.join(DECLARATION), &shown.join(DECLARATION))?)?;
    with_drop_ins(layout, location, document)
}

/// Returns the document of a part, with the part's own drop-ins and the defaults.
fn of_part(layout: &Layout, location: &Location, group: &Node) -> Result<Node, Diagnostic> {
    let own = location.name.split_part().and_then(|(_, part)| part::of_part(group, part));
    let own = own.ok_or_else(|| {
        group.error(&path!["part"], format!("there is no part {}", location.name), "write it as a section [[part]]")
    })?;
    over_defaults(location, with_drop_ins(layout, location, own)?)
}

/// Merges a service's document over the defaults of the host.
fn over_defaults(location: &Location, document: Node) -> Result<Node, Diagnostic> {
    Ok(over(location.defaults()?.cloned(), document))
}

fn over(defaults: Option<Node>, mut document: Node) -> Node {
    if let Some(defaults) = defaults {
        document.lay_under(defaults);
    }
    document
}

/// Merges the drop-ins of a location over a document.
fn with_drop_ins(layout: &Layout, location: &Location, mut document: Node) -> Result<Node, Diagnostic> {
    for (_, drop_in) in location.drop_ins.iter().filter(|(name, _)| name.ends_with(".toml")) {
        document.merge(Node::parse(&drop_in.read(layout)?)?);
    }
    Ok(document)
}

/// Reads the document of a stored service: `service.toml` with drop-ins and defaults.
///
/// # Errors
/// If a file cannot be read or is not TOML.
pub(crate) fn stored_document(layout: &Layout, location: &Location) -> Result<Node, Diagnostic> {
    document(layout, location, &layout.at(&location.dir), &location.dir)
}

/// Returns an error with its position in a stored declaration, or the error of reading it; None if the declaration no
/// longer exists. Reads the declaration again, because models have no positions.
pub(crate) fn stored_error(
    layout: &Layout,
    name: &ServiceName,
    error: impl FnOnce(&Node) -> Diagnostic,
) -> Option<Diagnostics> {
    let error = |location: Location| Ok(Diagnostics::from(error(&stored_document(layout, &location)?)));
    match find_one(layout, name) {
        Ok(location) => Some(location.map(error)?.unwrap_or_else(|unreadable: Diagnostics| unreadable)),
        Err(unknown) => Some(unknown),
    }
}

/// Reads the names of a stored declaration's parts; none if it has no parts or is a part itself.
///
/// # Errors
/// If a file cannot be read or is not TOML, or if a part's name is missing, invalid or repeated.
pub(crate) fn parts(layout: &Layout, location: &Location) -> Result<Vec<ServiceName>, Diagnostics> {
    if location.group.is_some() {
        return Ok(Vec::new());
    }
    part::names(&merged(layout, location, &layout.at(&location.dir), &location.dir)?, &location.name)
}
