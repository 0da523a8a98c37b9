//! The generator's directories: first what runs gets its units back, then each declaration's are laid over them as soon
//! as it has compiled. No more than one declaration a thread is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile::host::{Compiled, Host};
use conductor::diagnostic::Diagnostics;
use conductor::layout::Layout;
use conductor::live::Live;
use conductor::model::Footprint;
use conductor::names::{GenerationId, ServiceName};
use conductor::parallel::in_parallel;
use conductor::target::Target;
use conductor::tree::{Entry, Tree};
use conductor::write;

/// Where units go, and which of them snapshots brought.
pub(crate) struct Output<'a> {
    layout: &'a Layout,
    target: &'a dyn Target,
    normal: &'a Utf8Path,
    /// Its units go before those in /run/systemd/system, where those of live deployments are.
    early: Option<&'a Utf8Path>,
    families: Families<Restored>,
}

/// Services by the part of their names before the first dot: only these can have units in common.
type Families<T> = BTreeMap<String, Vec<T>>;

fn family(name: &ServiceName) -> &str {
    name.as_str().split('.').next().unwrap_or_default()
}

/// A live service, with its units that were written.
struct Restored {
    live: Live,
    units: Vec<(Utf8PathBuf, Fingerprint)>,
    unreadable: Vec<Diagnostics>,
}

/// Of an entry's content, to compare with what is no longer in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint(u64);

impl Fingerprint {
    fn of(entry: &Entry) -> Self {
        let mut hasher = DefaultHasher::new();
        entry.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A service that compiled, and which units were written of it.
pub(crate) struct Laid {
    name: ServiceName,
    units: Vec<Utf8PathBuf>,
}

impl<'a> Output<'a> {
    /// Writes the units of everything that is live, as the snapshots have them: whatever happens to the generator after
    /// that, what runs keeps its units.
    ///
    /// # Errors
    /// The first unit that cannot be written.
    pub(crate) fn restore(
        layout: &'a Layout,
        target: &'a dyn Target,
        (normal, early): (&'a Utf8Path, Option<&'a Utf8Path>),
        live: &BTreeMap<ServiceName, Live>,
    ) -> io::Result<Self> {
        let mut families: Families<Live> = BTreeMap::new();
        for (name, live) in live {
            families.entry(family(name).to_owned()).or_default().push(live.clone());
        }
        let families: Vec<_> = families.into_iter().collect();
        let restored =
            in_parallel(&families, |(name, members)| Ok((name.clone(), restore_family(layout, normal, members)?)));
        Ok(Self { layout, target, normal, early, families: restored.into_iter().collect::<io::Result<_>>()? })
    }

    /// Returns the live services whose snapshots cannot be read, which have no units now.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = (ServiceName, Diagnostics)> {
        let restored = self.families.values().flatten();
        restored.flat_map(|it| it.unreadable.iter().map(|errors| (it.live.name.clone(), errors.clone())))
    }

    /// Writes the units of a declaration, over those of its services that are live.
    ///
    /// # Errors
    /// The first unit that cannot be written.
    pub(crate) fn lay(&self, services: Vec<Compiled>) -> io::Result<Vec<Laid>> {
        let mut laid: Vec<Laid> = Vec::with_capacity(services.len());
        for compiled in services {
            let name = compiled.service.name.clone();
            let mut units = Vec::new();
            for (path, entry) in compiled.into_units(self.layout, self.target).into_entries() {
                // Each part brings the units of its group.
                if !laid.iter().any(|part| part.units.contains(&path)) {
                    self.lay_entry(&name, &path, &entry).map_err(|error| write::named(&path, &error))?;
                }
                units.push(path);
            }
            laid.push(Laid { name, units });
        }
        Ok(laid)
    }

    fn lay_entry(&self, name: &ServiceName, path: &Utf8Path, entry: &Entry) -> io::Result<()> {
        let at = self.normal.join(path);
        let mut restored = self.relatives(name).flat_map(|it| &it.units);
        match restored.find(|(there, _)| there == path) {
            None => write::create_entry(&at, entry),
            Some((_, there)) if *there == Fingerprint::of(entry) => Ok(()),
            Some(_) => {
                if let Some(early) = self.early.filter(|_| is_of_deployments(path)) {
                    write::create_entry(&early.join(path), entry)?;
                }
                write::replace_entry(&at, entry)
            }
        }
    }

    /// Writes what is of no single service.
    ///
    /// # Errors
    /// The first file that cannot be written.
    pub(crate) fn add(&self, tree: &Tree) -> io::Result<()> {
        write::create(self.normal, tree)
    }

    /// Takes back what was laid for services that lost to others, and removes those units of live services that their
    /// declarations no longer have.
    ///
    /// # Errors
    /// What cannot be read, written or removed.
    pub(crate) fn settle(&self, host: &Host<Footprint>, laid: Vec<Laid>) -> io::Result<()> {
        let mut families: Families<Laid> = BTreeMap::new();
        for laid in laid {
            families.entry(family(&laid.name).to_owned()).or_default().push(laid);
        }
        for (name, laid) in &families {
            let live = self.families.get(name).map_or(&[][..], Vec::as_slice);
            let (stay, lost): (Vec<_>, Vec<_>) = laid.iter().partition(|it| host.services.contains_key(&it.name));
            let is_declared = |path: &Utf8PathBuf| stay.iter().any(|it| it.units.contains(path));
            // Parts that have all lost have the units of their group in common.
            let lost: BTreeSet<_> = lost.iter().flat_map(|it| &it.units).filter(|path| !is_declared(path)).collect();
            for path in lost {
                self.take_back(live, path).map_err(|error| write::named(path, &error))?;
            }
            let compiled = |restored: &&Restored| stay.iter().any(|it| it.name == restored.live.name);
            let (superseded, kept): (Vec<_>, Vec<_>) = live.iter().partition(compiled);
            let is_kept = |path: &Utf8PathBuf| kept.iter().any(|it| it.units.iter().any(|(there, _)| there == path));
            for Restored { live, units, .. } in superseded {
                for (path, _) in units.iter().filter(|(path, _)| !live.is_of_deployments(path)) {
                    if !is_declared(path) && !is_kept(path) {
                        fs::remove_file(self.normal.join(path)).map_err(|error| write::named(path, &error))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts back the unit that is live at a path, or leaves none there.
    fn take_back(&self, live: &[Restored], path: &Utf8Path) -> io::Result<()> {
        let at = self.normal.join(path);
        if let Some(early) = self.early.filter(|early| early.join(path).exists()) {
            fs::remove_file(early.join(path))?;
        }
        let Some(Restored { live, .. }) = live.iter().find(|it| it.units.iter().any(|(there, _)| there == path)) else {
            return fs::remove_file(&at);
        };
        let entry = live.generations.iter().find_map(|id| units(self.layout, live, id).ok()?.get(path).cloned());
        entry.map_or(Ok(()), |entry| write::replace_entry(&at, &entry))
    }

    /// Returns the live services that may have units in common with a service, those first whose units were written.
    fn relatives(&self, name: &ServiceName) -> impl Iterator<Item = &Restored> {
        // Mostly nothing is live at all, at boot, or everything is.
        let family = if self.families.is_empty() { None } else { self.families.get(family(name)) };
        family.into_iter().flatten()
    }
}

/// Writes the units of live services of a family. Where two have one, the last by name has it: it comes first.
fn restore_family(layout: &Layout, normal: &Utf8Path, members: &[Live]) -> io::Result<Vec<Restored>> {
    let mut family: Vec<Restored> = Vec::with_capacity(members.len());
    for live in members.iter().rev() {
        let mut restored = Restored { live: live.clone(), units: Vec::new(), unreadable: Vec::new() };
        for id in &live.generations {
            let units = match units(layout, live, id) {
                Ok(units) => units,
                Err(error) => {
                    restored.unreadable.push(live.unreadable(layout, id, &error));
                    continue;
                }
            };
            for (path, entry) in units.into_entries() {
                if !family.iter().any(|it| it.units.iter().any(|(there, _)| *there == path)) {
                    write::create_entry(&normal.join(&path), &entry).map_err(|error| write::named(&path, &error))?;
                }
                restored.units.push((path, Fingerprint::of(&entry)));
            }
        }
        family.push(restored);
    }
    Ok(family)
}

/// Reads the units of a live generation: all of the one that speaks for its service, else those of deployments.
fn units(layout: &Layout, live: &Live, id: &GenerationId) -> io::Result<Tree> {
    if id == live.current(layout) { live.units(layout, id) } else { live.deployment_units(layout, id) }
}

/// Whether a unit is a template: systemd has those of live deployments from /run/systemd/system.
fn is_of_deployments(path: &Utf8Path) -> bool {
    path.as_str().contains('@')
}
