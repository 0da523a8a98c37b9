//! Live generations: snapshots of what runs, in `/run`.
//!
//! A snapshot is written before a generation's first process starts and never changes. From it an
//! old deployment keeps its exact configuration whatever becomes of the declaration.

pub(crate) mod canary;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::generation::{Digests, FORMAT};
use crate::layout::Layout;
use crate::listing;
use crate::live::canary::Canary;
use crate::model::{Model, Service, Strategy};
use crate::names::{GenerationId, ListenerName, ServiceName};
use crate::parallel::in_parallel;
use crate::tree::{Entry, Tree};
use crate::write::named;

/// Below a snapshot: its rendered units, all in one file, since the generator reads those of every service.
pub(crate) const UNITS: &str = "units.json";
/// Below a snapshot: its resolved model.
pub(crate) const MODEL: &str = "model.json";

/// The target of a service: the state that a rollout establishes. Deployments read it to assign slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub(crate) generation: GenerationId,
    pub(crate) concurrency: u32,
    pub(crate) slots: u32,
    /// The listeners that slots lead to, None for that of `[listen]` itself.
    #[serde(default = "main_alone", skip_serializing_if = "is_main_alone")]
    pub(crate) listeners: Vec<Option<ListenerName>>,
    pub(crate) strategy: Strategy,
    /// The generation that may take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<Canary>,
    pub(crate) digests: Digests,
    /// The format of its units, `generation::FORMAT` of the conductor that rendered them.
    pub(crate) format: u32,
    /// The variables of `service declare`.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Target {
    /// Makes the target of a compiled service.
    pub fn new(service: &Service, digests: &Digests, variables: BTreeMap<String, String>) -> Self {
        Self {
            generation: digests.id(),
            concurrency: service.concurrency,
            slots: service.slots,
            listeners: service.listen.names(),
            strategy: service.deploy.strategy,
            canary: None,
            digests: digests.clone(),
            format: FORMAT,
            variables,
        }
    }

    /// Reads the target of a service; None if it has none. In place of a garbled one it is what runs, as the snapshot
    /// has it: the next reload of the service writes the file again.
    ///
    /// # Errors
    /// If neither the target nor a snapshot can be read.
    pub(crate) fn read(layout: &Layout, name: &ServiceName) -> io::Result<Option<Self>> {
        Self::stored(layout, name).or_else(|error| Self::recover(layout, name).map(Some).ok_or(error))
    }

    /// Returns the number of deployments that it has, those of a canary included.
    pub(crate) fn deployments(&self) -> u32 {
        self.concurrency + self.canary.as_ref().map_or(0, |canary| canary.concurrency)
    }

    /// Returns whether a generation serves, or is a canary beside the one that does.
    pub(crate) fn has(&self, id: &GenerationId) -> bool {
        self.generation == *id || self.canary.as_ref().is_some_and(|canary| canary.generation == *id)
    }

    /// Returns whether it is not what was stored: its digests equal none.
    pub(crate) fn is_recovered(&self) -> bool {
        self.digests == Digests::default()
    }

    fn recover(layout: &Layout, name: &ServiceName) -> Option<Self> {
        let live = of(layout, name).ok()??;
        let generation = live.generations.last()?.clone();
        let service = live.service(layout, &generation).ok()?;
        Some(Self {
            generation,
            concurrency: service.concurrency,
            slots: service.slots,
            listeners: service.listen.names(),
            strategy: service.deploy.strategy,
            canary: None,
            digests: Digests::default(),
            format: FORMAT,
            variables: BTreeMap::new(),
        })
    }

    fn stored(layout: &Layout, name: &ServiceName) -> io::Result<Option<Self>> {
        let path = layout.target(name);
        let parse = |content: Vec<u8>| serde_json::from_slice(&content).map_err(io::Error::from);
        let target = listing::read(&layout.at(&path)).and_then(|content| content.map(parse).transpose());
        target.map_err(|error| named(&path, &error))
    }
}

/// Returns whether an administrator stopped a service, so that only `start` starts it again.
pub(crate) fn is_stopped(layout: &Layout, name: &ServiceName) -> bool {
    layout.at(&layout.stopped_mark(name)).exists()
}

/// Returns the listeners of most services: that of `[listen]`, and no further one.
pub(crate) fn main_alone() -> Vec<Option<ListenerName>> {
    vec![None]
}

/// Returns whether listeners are those of most services.
pub(crate) fn is_main_alone(listeners: &[Option<ListenerName>]) -> bool {
    matches!(listeners, [None])
}

/// The generations of one service that have a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    pub name: ServiceName,
    /// By name.
    pub generations: Vec<GenerationId>,
}

/// Lists the services with a live generation.
///
/// # Errors
/// If a directory of snapshots cannot be listed.
pub fn all(layout: &Layout) -> io::Result<BTreeMap<ServiceName, Live>> {
    let mut all = BTreeMap::new();
    for name in names(layout)? {
        if let Some(live) = of(layout, &name)? {
            all.insert(name, live);
        }
    }
    Ok(all)
}

/// Lists the services that have a directory of snapshots.
fn names(layout: &Layout) -> io::Result<Vec<ServiceName>> {
    let dir = layout.live();
    let names = listing::names(&layout.at(&dir)).map_err(|error| named(&dir, &error))?;
    Ok(names.iter().filter_map(|name| ServiceName::new(name).ok()).collect())
}

/// Lists the services with a live generation, as far as directories can be listed: the generator must go on.
pub fn known(layout: &Layout) -> BTreeMap<ServiceName, Live> {
    let names = names(layout).unwrap_or_default();
    let live = in_parallel(&names, |name| of(layout, name).ok().flatten());
    live.into_iter().flatten().map(|live| (live.name.clone(), live)).collect()
}

/// Finds the live generations of a service; None if it has none.
///
/// # Errors
/// If the directory of its snapshots cannot be listed.
pub(crate) fn of(layout: &Layout, name: &ServiceName) -> io::Result<Option<Live>> {
    let dir = layout.live().join(name.as_str());
    let names = listing::names(&layout.at(&dir)).map_err(|error| named(&dir, &error))?;
    let generations: Vec<_> = names.iter().filter_map(|name| GenerationId::new(name)).collect();
    Ok((!generations.is_empty()).then(|| Live { name: name.clone(), generations }))
}

/// Lists the live parts of a group.
///
/// # Errors
/// If snapshots of services that may be parts cannot be read.
pub(crate) fn parts_of(layout: &Layout, group: &ServiceName) -> io::Result<Vec<ServiceName>> {
    let mut parts = Vec::new();
    for name in names(layout)?.into_iter().filter(|name| name.part_of(group).is_some()) {
        let Some(live) = of(layout, &name)? else { continue };
        if live.service(layout, live.current(layout))?.group.is_some_and(|of| of.name == *group) {
            parts.push(name);
        }
    }
    Ok(parts)
}

impl Live {
    /// The generation that speaks for the service: the target if it is live, else the last by name.
    pub fn current(&self, layout: &Layout) -> &GenerationId {
        if let [only] = &self.generations[..] {
            return only;
        }
        let target = Target::read(layout, &self.name).ok().flatten().map(|target| target.generation);
        let found = target.and_then(|target| self.generations.iter().find(|id| **id == target));
        found.unwrap_or_else(|| self.generations.last().expect("a live service has a generation"))
    }

    /// Reads the service that a live generation was compiled from.
    ///
    /// # Errors
    /// A snapshot that cannot be read.
    pub(crate) fn service(&self, layout: &Layout, id: &GenerationId) -> io::Result<Service> {
        service(layout, &self.name, id)
    }

    /// All units of a live generation, its `NAME.service` included.
    ///
    /// # Errors
    /// A snapshot that cannot be read.
    pub fn units(&self, layout: &Layout, id: &GenerationId) -> io::Result<Tree> {
        units(layout, &self.name, id)
    }

    /// The units of a live generation's deployments alone.
    ///
    /// # Errors
    /// A snapshot that cannot be read.
    pub fn deployment_units(&self, layout: &Layout, id: &GenerationId) -> io::Result<Tree> {
        let mut tree = self.units(layout, id)?;
        tree.retain(|path| self.name.is_of_deployments(id, path.as_str()));
        Ok(tree)
    }

    /// Whether a unit, or what lies below it, is of one of the generations' deployments.
    pub fn is_of_deployments(&self, path: &Utf8Path) -> bool {
        self.generations.iter().any(|id| self.name.is_of_deployments(id, path.as_str()))
    }

    /// Says that a snapshot cannot be read.
    pub fn unreadable(&self, layout: &Layout, id: &GenerationId, error: &io::Error) -> Diagnostics {
        let path = layout.snapshot(&self.name, id);
        let remedy = "restart the service: its running deployments have lost their configuration";
        Diagnostic::of_file(&path, format!("the snapshot cannot be read: {error}"), remedy).into()
    }
}

/// A unit in a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    File(String),
    Link(Utf8PathBuf),
}

/// Writes units as a snapshot has them: by path, `{"file": "…"}` or `{"link": "../web.service"}`.
///
/// # Errors
/// Units that are not text.
pub(crate) fn write_units(units: &Tree) -> io::Result<Vec<u8>> {
    let mut written = BTreeMap::new();
    for (path, entry) in units.iter() {
        let unit = match entry {
            Entry::File { content, mode: _ } => {
                Unit::File(String::from_utf8(content.clone()).map_err(io::Error::other)?)
            }
            Entry::Symlink { target } => Unit::Link(target.clone()),
        };
        written.insert(path, unit);
    }
    Ok(serde_json::to_vec(&written)?)
}

/// Reads the units of a live generation.
///
/// # Errors
/// A snapshot that is not there or cannot be read.
pub(crate) fn units(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<Tree> {
    let path = layout.at(&layout.snapshot(name, id)).join(UNITS);
    let written: BTreeMap<Utf8PathBuf, Unit> = serde_json::from_slice(&listing::content(&path)?)?;
    let mut units = Tree::default();
    for (path, unit) in written {
        match unit {
            Unit::File(content) => units.file(path, content),
            Unit::Link(target) => units.symlink(path, target),
        }
    }
    Ok(units)
}

/// Returns whether a live generation's snapshot looks as it was written: it may be read by hundreds at a time, so that
/// only both ends of its files are looked at.
pub(crate) fn is_intact(layout: &Layout, name: &ServiceName, id: &GenerationId) -> bool {
    let snapshot = layout.at(&layout.snapshot(name, id));
    [UNITS, MODEL].iter().all(|file| ends(&snapshot.join(file)).is_ok_and(|ends| ends == *b"{}"))
}

/// Reads the first and the last byte of a file.
fn ends(path: &Utf8Path) -> io::Result<[u8; 2]> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    let file = fs::File::open(path)?;
    let mut ends = [0; 2];
    file.read_exact_at(&mut ends[..1], 0)?;
    file.read_exact_at(&mut ends[1..], file.metadata()?.len().saturating_sub(1))?;
    Ok(ends)
}

/// Reads the service that a live generation was compiled from.
///
/// # Errors
/// A snapshot that is not there or cannot be read.
pub(crate) fn service(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<Service> {
    /// The rest of a snapshot's model is for single targets.
    #[derive(Deserialize)]
    struct Part {
        service: Service,
    }
    let Part { service } = read(layout, name, id)?;
    Ok(service)
}

/// Reads the model that a live generation was compiled from.
///
/// # Errors
/// A snapshot that is not there or cannot be read.
pub(crate) fn model(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<Model> {
    read(layout, name, id)
}

fn read<T: DeserializeOwned>(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<T> {
    let path: Utf8PathBuf = layout.at(&layout.snapshot(name, id)).join(MODEL);
    Ok(serde_json::from_slice(&listing::content(&path)?)?)
}
