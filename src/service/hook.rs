//! `conductor service _start|_stop|_reload|_cleanup SERVICEDIR`: what `NAME.service` runs.

use fs_err as fs;
use std::collections::BTreeSet;
use std::io;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};

use crate::compile::host::Compiled;
use crate::deployment::{slot, state};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::live::{self, Target};
use crate::log::note;
use crate::model::Service;
use crate::names::{Deployment, ServiceName};
use crate::service::plan::{Plan, Present};
use crate::service::record::{self, Record};
use crate::service::rollout::{self, Rollout};
use crate::service::{permit, ports, provenance, store};
use crate::source::search::{self, Location};
use crate::systemd::Manager;
use crate::tree::Entry;
use crate::{atomic, compile};

/// A service and the means to bring it somewhere.
pub struct Hook<'a> {
    layout: &'a Layout,
    manager: Manager,
    name: ServiceName,
}

impl<'a> Hook<'a> {
    /// For the service whose stored directory is `dir`.
    ///
    /// # Errors
    /// If the directory's name is no service's.
    pub fn new(layout: &'a Layout, manager: Manager, dir: &Utf8Path) -> Result<Self> {
        let name = layout.service_of(dir).map_err(|why| Error(format!("{dir}: {why}")))?;
        Ok(Self { layout, manager, name })
    }

    fn lock(&self) -> Result<std::fs::File> {
        Ok(atomic::lock(&self.layout.at(&self.layout.lock(&self.name)))?)
    }

    /// `ExecStart=`: brings the service to what is declared. Returns when every deployment serves.
    ///
    /// # Errors
    /// Why it does not; `_cleanup` then stops what has started.
    pub fn start(&self) -> Result<()> {
        clear_stopped(self.layout, &self.name)?;
        self.converge(Verb::Start)
    }

    /// `ExecReload=`: the same, with a running generation to replace and to go back to.
    ///
    /// # Errors
    /// Why the declared generation does not serve; the old one then does.
    pub fn reload(&self) -> Result<()> {
        self.converge(Verb::Reload)
    }

    fn converge(&self, verb: Verb) -> Result<()> {
        let _lock = self.lock()?;
        note_failure(self.layout, &self.name, None)?;
        let outcome = self.parts().and_then(|parts| match parts.as_slice() {
            [] => {
                let _turn = permit::wait(self.layout);
                // Storing what is declared may change the model that the same generation has.
                let before = self.model();
                self.compile().and_then(|compiled| self.bring_to(&compiled, before.as_ref()))
            }
            parts => self.bring_parts(verb, parts), // each waits for its own turn
        });
        if let Err(error) = &outcome
            && let Err(unnoted) = note_failure(self.layout, &self.name, Some(error))
        {
            note!("{unnoted}");
        }
        outcome
    }

    fn location(&self) -> Result<Location> {
        search::find_one(self.layout, &self.name).ok_or_else(|| Error(format!("{} is not declared", self.name)))
    }

    fn parts(&self) -> Result<Vec<ServiceName>> {
        Ok(search::parts(self.layout, &self.location()?)?)
    }

    /// Brings every part to what is declared, and stops those that are not declared any more. One that its
    /// administrator stopped starts with all others, but does not come back by a reload.
    fn bring_parts(&self, verb: Verb, parts: &[ServiceName]) -> Result<()> {
        let generated = self.layout.at(self.layout.generator());
        if parts.iter().any(|part| !generated.join(part.unit()).exists()) {
            self.manager.daemon_reload()?;
        }
        let units: Vec<_> = parts.iter().map(ServiceName::unit).collect();
        let (mut start, mut reload) = (Vec::new(), Vec::new());
        for ((part, unit), state) in parts.iter().zip(&units).zip(self.manager.states(&units)?) {
            match state.as_str() {
                "active" | "reloading" => reload.push(unit.clone()),
                _ if verb == Verb::Reload && is_stopped(self.layout, part) => {}
                _ => start.push(unit.clone()),
            }
        }
        if verb == Verb::Start {
            reload.clear();
        }
        let dependency = self.manager.start(&start).and(self.manager.reload(&reload));
        let gone: Vec<_> = live::parts_of(self.layout, &self.name);
        let gone: Vec<_> = gone.iter().filter(|part| !parts.contains(part)).map(ServiceName::unit).collect();
        self.manager.stop(&gone)?;
        let failures = parts.iter().filter_map(|part| Some(format!("{part}: {}", failure(self.layout, part)?)));
        match failures.collect::<Vec<_>>() {
            failures if failures.is_empty() => Ok(dependency?),
            failures => Err(Error(failures.join("\n\n"))),
        }
    }

    fn compile(&self) -> Result<Compiled> {
        let location = self.location()?;
        let systemd = crate::directive::systemd_version(self.layout.root().as_std_path());
        let compiled = compile::compile_located(self.layout, &location, systemd)?;
        store::store(self.layout, &compiled, &self.layout.at(&location.dir))
            .map_err(|error| Error(format!("the generation {} cannot be stored: {error}", compiled.id)))?;
        Ok(compiled)
    }

    /// What the service was brought to.
    fn model(&self) -> Option<Service> {
        let target = Target::read(self.layout, &self.name).ok()??;
        live::model(self.layout, &self.name, &target.generation).ok()
    }

    fn bring_to(&self, compiled: &Compiled, before: Option<&Service>) -> Result<()> {
        self.load_units(compiled)?;
        let present = Present::read(self.layout, &self.name, &self.manager.deployments(&self.name)?)?;
        let plan = Plan::reload(compiled, &present);
        let variables = provenance::variables(self.layout, &self.name);
        let from = present.target.as_ref().map(|target| target.generation.clone());
        let last = Record::begun(compiled, from, before, &plan);
        let began = Instant::now();
        let (layout, manager, before) = (self.layout, self.manager, present.target);
        let outcome = Rollout { layout, manager, compiled, variables, before }.run(&plan);
        if !plan.actions.is_empty() {
            let failure = outcome.as_ref().err().map(ToString::to_string);
            last.ended(self.layout, &self.name, began.elapsed(), failure)?;
        }
        if outcome.is_ok() {
            store::served(self.layout, &self.name, &compiled.id)?;
        }
        let there = state::list(self.layout, &self.name)?;
        let needed = rollout::in_use(&there);
        store::forget(self.layout, &self.name, &needed)?;
        store::collect(self.layout, &self.name, &needed)?;
        outcome
    }

    /// An edit that nobody told systemd of: its units are not there yet, or its routes.
    fn load_units(&self, compiled: &Compiled) -> Result<()> {
        let generated = self.layout.at(self.layout.generator());
        let is_there = |path: &Utf8Path, entry: &Entry| match entry {
            Entry::File { content, mode: _ } => {
                fs::read(generated.join(path)).is_ok_and(|there| there[..] == content[..])
            }
            Entry::Symlink { target } => generated.join(path).read_link_utf8().is_ok_and(|there| there == *target),
        };
        let units_are_there = compiled.units.iter().all(|(path, entry)| is_there(path, entry));
        let target = Target::read(self.layout, &self.name)?;
        let other_routes = target.is_some_and(|target| target.digests.routes != compiled.digests.routes);
        if !units_are_there || other_routes {
            self.manager.daemon_reload()?;
        }
        let template = generated.join(format!("{}.service", self.name.template(&compiled.id)));
        if !template.exists() {
            return Err(Error(format!("the generator did not write {template}; `conductor check` says why")));
        }
        Ok(())
    }

    /// `ExecStop=`: stops every deployment and waits for them.
    ///
    /// # Errors
    /// What systemd refuses.
    pub fn stop(&self) -> Result<()> {
        self.mark_stopped()?;
        let parts = live::parts_of(self.layout, &self.name);
        self.manager.stop(&parts.iter().map(ServiceName::unit).collect::<Vec<_>>())?;
        self.stop_all()
    }

    fn mark_stopped(&self) -> Result<()> {
        let mark = self.layout.at(&stopped_mark(self.layout, &self.name));
        if let Some(parent) = mark.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(atomic::write(&mark, b"")?)
    }

    fn stop_all(&self) -> Result<()> {
        let _turn = permit::wait(self.layout);
        let there = self.manager.deployments(&self.name)?;
        let mut running: Vec<Deployment> =
            there.into_iter().filter(|(_, state)| state != "inactive").map(|(deployment, _)| deployment).collect();
        running.extend(state::resting(self.layout, &self.name)?);
        let relays = ports::close(self.manager, &self.name)?;
        let stopped = rollout::stop(self.layout, self.manager, &running);
        // Callers are connected over these until the deployments have drained.
        self.manager.stop(&relays)?;
        stopped
    }

    /// `ExecStopPost=`: also after a start that failed or a hook that was killed. Nothing of the
    /// service is left but its kept files and its place in the proxy's configuration.
    ///
    /// # Errors
    /// What cannot be removed.
    pub fn cleanup(&self) -> Result<()> {
        let _lock = self.lock()?;
        // Stopped in the middle of a start or a reload, systemd kills that and runs no ExecStop=.
        if !is_stopped(self.layout, &self.name) && self.manager.is_to_stop(&self.name.unit()) {
            self.mark_stopped()?;
        }
        self.stop_all()?;
        for deployment in state::list(self.layout, &self.name)? {
            state::remove(self.layout, &deployment)?;
        }
        slot::clear(self.layout, &self.name)?;
        Ok(store::forget_all(self.layout, &self.name)?)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Reload,
}

/// Why the last start or reload of a service failed, None if it did not.
pub fn failure(layout: &Layout, name: &ServiceName) -> Option<String> {
    fs::read_to_string(layout.at(&failure_note(layout, name))).ok()
}

/// Whether somebody stopped the service, so that nothing but they starts it again.
pub fn is_stopped(layout: &Layout, name: &ServiceName) -> bool {
    layout.at(&stopped_mark(layout, name)).exists()
}

fn stopped_mark(layout: &Layout, name: &ServiceName) -> Utf8PathBuf {
    layout.stopped().join(name.as_str())
}

fn failure_note(layout: &Layout, name: &ServiceName) -> Utf8PathBuf {
    layout.failures().join(name.as_str())
}

fn clear_stopped(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    atomic::remove_file(&layout.at(&stopped_mark(layout, name)))
}

fn note_failure(layout: &Layout, name: &ServiceName, error: Option<&Error>) -> io::Result<()> {
    let path = layout.at(&failure_note(layout, name));
    let Some(error) = error else { return atomic::remove_file(&path) };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    atomic::write(&path, error.to_string().as_bytes())
}

/// Services of which something is left, be they declared or not.
///
/// # Errors
/// A directory that cannot be listed.
pub fn remembered(layout: &Layout) -> io::Result<BTreeSet<ServiceName>> {
    let mut names = BTreeSet::new();
    for dir in [layout.stopped(), layout.failures(), layout.all_kept()] {
        for entry in atomic::entries(&layout.at(&dir))? {
            names.extend(ServiceName::new(entry.file_name()).ok());
        }
    }
    Ok(names)
}

/// Forgets all traces of a service that is stopped and not declared any more.
///
/// # Errors
/// What cannot be removed.
pub fn forget(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    clear_stopped(layout, name)?;
    note_failure(layout, name, None)?;
    record::forget(layout, name)?;
    for lock in [layout.lock(name), layout.slots_lock(name)].map(|lock| layout.at(&lock)) {
        let _held = atomic::lock(&lock)?;
        atomic::remove_file(&lock)?;
    }
    atomic::remove_dir(&layout.at(&layout.kept(name)))
}
