//! `conductor service _start|_stop|_reload|_cleanup SERVICEDIR`: what `NAME.service` runs.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use camino::Utf8Path;

use crate::compile::host::Compiled;
use crate::deployment::{queue, slot, state};
use crate::error::{Error, Result};
use crate::live::{self, Target};
use crate::log::note;
use crate::model::Model;
use crate::names::{Deployment, PROXY_UNIT, ServiceName};
use crate::service::action::Action;
use crate::service::canary;
use crate::service::event::Event;
use crate::service::machine::Machine;
use crate::service::plan::{Plan, Present};
use crate::service::record::Record;
use crate::service::rollout::canary::end_other;
use crate::service::rollout::{self, Rollout};
use crate::service::{change, notes, permit, ports, provenance, release, store};
use crate::source::search::{self, Location};
use crate::systemd::Listing;
use crate::{atomic, compile, write};

/// A service whose unit runs a hook.
pub(crate) struct Hook<'a> {
    machine: Machine<'a>,
    name: ServiceName,
}

impl<'a> Hook<'a> {
    /// Creates the hook of the service whose stored directory is `dir`.
    ///
    /// # Errors
    /// If the directory's name is not a service's.
    pub(crate) fn new(machine: Machine<'a>, dir: &Utf8Path) -> Result<Self> {
        let name = machine.layout.service_of(dir).map_err(|why| Error(format!("{dir}: {why}")))?;
        Ok(Self { machine, name })
    }

    fn lock(&self) -> Result<std::fs::File> {
        Ok(atomic::lock(&self.machine.layout.at(&self.machine.layout.lock(&self.name)))?)
    }

    /// `ExecStart=`: starts what is declared. Returns when every deployment serves.
    ///
    /// # Errors
    /// Why a deployment does not serve; `_cleanup` then stops what has started.
    pub(crate) fn start(&self) -> Result<()> {
        self.open_routes()?;
        self.converge(Verb::Start)
    }

    /// `ExecReload=`: replaces what runs by what is declared. Returns when every deployment serves.
    ///
    /// # Errors
    /// Why the declared generation does not serve; the old one then still serves.
    pub(crate) fn reload(&self) -> Result<()> {
        self.converge(Verb::Reload)
    }

    fn converge(&self, verb: Verb) -> Result<()> {
        let _lock = self.lock()?;
        notes::write_failure(self.machine.layout, &self.name, None)?;
        let outcome = self.parts().and_then(|parts| match parts.as_slice() {
            [] => {
                let _permit = permit::acquire(self.machine.layout);
                // Storing what is declared may change the model that the same generation has.
                let before = self.model();
                self.compile().and_then(|compiled| self.apply(verb, &compiled, before.as_ref()))
            }
            parts => self.apply_parts(verb, parts), // each acquires its own permit
        });
        if let Err(error) = &outcome
            && let Err(unnoted) = notes::write_failure(self.machine.layout, &self.name, Some(error))
        {
            self.machine.report(Event::Unnoted(unnoted));
        }
        match outcome {
            // With the start all would stop, the old generation too, which serves.
            Err(error) if verb == Verb::Start && self.has_aborted_canary() => {
                note!("{error}");
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn has_aborted_canary(&self) -> bool {
        let target = Target::read(self.machine.layout, &self.name).ok().flatten();
        target.and_then(|target| target.canary).is_some_and(|canary| canary.aborted.is_some())
    }

    fn location(&self) -> Result<Location> {
        search::find_one(self.machine.layout, &self.name)?
            .ok_or_else(|| Error(format!("{} is not declared", self.name)))
    }

    fn parts(&self) -> Result<Vec<ServiceName>> {
        Ok(search::parts(self.machine.layout, &self.location()?)?)
    }

    /// Applies the declaration of every part, and stops parts that are no longer declared. A part that its
    /// administrator stopped starts with all others, but a reload does not start it.
    fn apply_parts(&self, verb: Verb, parts: &[ServiceName]) -> Result<()> {
        let generated = self.machine.layout.at(self.machine.layout.generator());
        if parts.iter().any(|part| !generated.join(part.unit()).exists()) {
            self.machine.manager.daemon_reload()?;
        }
        let units: Vec<_> = parts.iter().map(ServiceName::unit).collect();
        let (mut start, mut reload) = (Vec::new(), Vec::new());
        for ((part, unit), state) in parts.iter().zip(&units).zip(self.machine.manager.states(&units)?) {
            match state.as_str() {
                "active" | "reloading" => reload.push(unit.clone()),
                _ if verb == Verb::Reload && live::is_stopped(self.machine.layout, part) => {}
                _ => start.push(unit.clone()),
            }
        }
        if verb == Verb::Start {
            reload.clear();
        }
        let applied = self.machine.manager.start(&start).and(self.machine.manager.reload(&reload));
        let gone = live::parts_of(self.machine.layout, &self.name)?;
        let gone: Vec<_> = gone.iter().filter(|part| !parts.contains(part)).map(ServiceName::unit).collect();
        self.machine.manager.stop(&gone)?;
        let failures =
            parts.iter().filter_map(|part| Some(format!("{part}: {}", notes::failure(self.machine.layout, part)?)));
        match failures.collect::<Vec<_>>() {
            failures if failures.is_empty() => Ok(applied?),
            failures => Err(Error(failures.join("\n\n"))),
        }
    }

    fn compile(&self) -> Result<Compiled> {
        let location = self.location()?;
        let layout = self.machine.layout;
        let compiled = compile::compile_located(layout, &location, &self.machine.target())?;
        store::store(layout, &self.machine.target(), &compiled, &layout.at(&location.dir))
            .map_err(|error| Error(format!("could not store generation {}: {error}", compiled.id)))?;
        Ok(compiled)
    }

    /// Returns the model of the generation that serves.
    fn model(&self) -> Option<Model> {
        let target = Target::read(self.machine.layout, &self.name).ok()??;
        live::model(self.machine.layout, &self.name, &target.generation).ok()
    }

    /// Rolls a service out from what serves to what was compiled. `before` is the model of what serves.
    fn apply(&self, verb: Verb, compiled: &Compiled, before: Option<&Model>) -> Result<()> {
        canary::resume(&self.machine, compiled)?;
        self.load_units(compiled)?;
        let aborted = self.end_other_canary(compiled)?;
        let there = state::list(self.machine.layout, &self.name)?;
        let listing = self.machine.manager.listing_of(&self.name)?;
        let live = live::of(self.machine.layout, &self.name)?;
        let deployments = listing.deployments(&self.name);
        let mut present = Present::read(self.machine.layout, &self.name, deployments, &there, live.as_ref())?;
        if verb == Verb::Start {
            // A step of a canary may take long, and is taken when the service has started.
            present.now = 0;
        }
        let plan = Plan::reload(compiled, &present);
        let variables = provenance::variables(self.machine.layout, &self.name)?;
        let from = present.target.as_ref().map(|target| target.generation.clone());
        let changes = before.map(|before| change::between(before, &compiled.model(), None)).unwrap_or_default();
        let actions = plan.actions.iter().copied().chain(aborted).collect();
        let record = Record::new(from, compiled.id.clone(), actions, &changes);
        let began = Instant::now();
        let rollout = self.rollout(compiled, variables, present.target, &listing);
        // A release that fails has touched nothing: it is an entry of the history as a rollout that fails is.
        let released = if plan.starts(&compiled.id) { release::before(&self.machine, compiled) } else { Ok(()) };
        let outcome = released.and_then(|()| rollout.run(&plan));
        if !record.actions.is_empty() {
            let failure = outcome.as_ref().err().map(ToString::to_string);
            let record = Record { took: began.elapsed(), gap: rollout.gap(), ..record };
            record.end(self.machine.layout, &self.name, failure)?;
        }
        let serving = Target::read(self.machine.layout, &self.name)?.map(|target| target.generation);
        if outcome.is_ok() && serving.as_ref() == Some(&compiled.id) {
            store::served(self.machine.layout, &self.name, &compiled.id)?;
            release::after(&self.machine, compiled);
        }
        self.remove_stale()?;
        let there = state::list(self.machine.layout, &self.name)?;
        // One without a program serves without deployments.
        let needed: Vec<_> = rollout::in_use(&there).into_iter().chain(serving).collect();
        store::remove_unneeded(self.machine.layout, &self.name, &needed)?;
        outcome
    }

    fn rollout<'b>(
        &'b self,
        compiled: &'b Compiled,
        variables: BTreeMap<String, String>,
        before: Option<Target>,
        listing: &Listing,
    ) -> Rollout<'b> {
        Rollout {
            machine: self.machine,
            compiled,
            variables,
            before,
            open_ports: listing.open_ports(&self.name),
            jobs: listing.jobs(&self.name),
            canaries: listing.canaries(&self.name),
            gap_began: OnceLock::new(),
        }
    }

    /// Aborts the canary of another generation than the declared one.
    fn end_other_canary(&self, compiled: &Compiled) -> Result<Option<Action>> {
        let target = Target::read(self.machine.layout, &self.name)?;
        let Some(other) = target.as_ref().and_then(|target| canary::other(target, &compiled.id)).cloned() else {
            return Ok(None);
        };
        let listing = self.machine.manager.listing_of(&self.name)?;
        end_other(&self.rollout(compiled, BTreeMap::new(), target, &listing), &other)?;
        Ok(other.aborted.is_none().then_some(Action::Abort))
    }

    /// Removes what is left of deployments of other generations than the one that serves and its canary, whose hooks could not
    /// do it: on a full disk, or killed.
    fn remove_stale(&self) -> Result<()> {
        let Machine { layout, manager, .. } = self.machine;
        let target = Target::read(layout, &self.name)?;
        let serves = |one: &Deployment| target.as_ref().is_some_and(|target| target.has(&one.generation));
        let mut stale = state::list(layout, &self.name)?;
        stale.retain(|one| !serves(one) && !state::is_resting(layout, one));
        let units: Vec<_> = stale.iter().map(Deployment::unit).collect();
        if units.is_empty() {
            return Ok(());
        }
        for (deployment, state) in stale.iter().zip(manager.states(&units)?) {
            if matches!(state.as_str(), "inactive" | "failed") {
                state::remove(layout, deployment)?;
            }
        }
        Ok(())
    }

    /// Reloads systemd after an edit that was not followed by a reload: its units or routes are not loaded yet.
    fn load_units(&self, compiled: &Compiled) -> Result<()> {
        let generated = self.machine.layout.at(self.machine.layout.generator());
        let units = compiled.units(self.machine.layout, &self.machine.target());
        let units_are_there = write::is_at(&generated, &units);
        let target = Target::read(self.machine.layout, &self.name)?;
        let other_routes = target.is_some_and(|target| target.digests.routes != compiled.digests.routes);
        if !units_are_there || other_routes {
            self.machine.manager.daemon_reload()?;
        }
        let template = generated.join(format!("{}.service", self.name.template(&compiled.id)));
        if !compiled.service.process.is_none() && !template.exists() {
            return Err(Error(format!("the generator did not write {template}; `conductor check` shows why")));
        }
        Ok(())
    }

    /// `ExecStop=`: stops every deployment and waits for them.
    ///
    /// # Errors
    /// If systemd refuses a job.
    pub(crate) fn stop(&self) -> Result<()> {
        notes::mark_stopped(self.machine.layout, &self.name)?;
        let parts = live::parts_of(self.machine.layout, &self.name)?;
        self.machine.manager.stop(&parts.iter().map(ServiceName::unit).collect::<Vec<_>>())?;
        self.stop_all()
    }

    fn stop_all(&self) -> Result<()> {
        let _permit = permit::acquire(self.machine.layout);
        let listing = self.machine.manager.listing_of(&self.name)?;
        self.machine.manager.stop(&[listing.jobs(&self.name), listing.canaries(&self.name)].concat())?;
        let there = listing.deployments(&self.name).iter();
        let mut running: Vec<Deployment> =
            there.filter(|(_, state)| state != "inactive").map(|(deployment, _)| deployment.clone()).collect();
        running.extend(state::resting(self.machine.layout, &self.name)?);
        let relays = ports::close(self.machine.manager, &self.name)?;
        let stopped = rollout::stop(&self.machine, &running);
        // Relays connect callers until the deployments have drained.
        self.machine.manager.stop(&relays)?;
        stopped
    }

    /// `ExecStopPost=`: also after a start that failed or a hook that was killed. Only the service's stored generations
    /// and its part of the proxy's configuration stay.
    ///
    /// # Errors
    /// What cannot be removed.
    pub(crate) fn cleanup(&self) -> Result<()> {
        let _lock = self.lock()?;
        // A stop in the middle of a start or a reload makes systemd kill that and run no ExecStop=.
        if !live::is_stopped(self.machine.layout, &self.name) && self.machine.manager.is_to_stop(&self.name.unit()) {
            notes::mark_stopped(self.machine.layout, &self.name)?;
        }
        let has_program = self.model().is_none_or(|model| !model.service.process.is_none());
        release::stop(&self.machine, &self.name)?;
        self.stop_all()?;
        self.remove_runtime_directory();
        for deployment in state::list(self.machine.layout, &self.name)? {
            state::remove(self.machine.layout, &deployment)?;
        }
        slot::clear(self.machine.layout, &self.name)?;
        queue::clear(self.machine.layout, &self.name)?;
        store::forget_all(self.machine.layout, &self.name)?;
        if has_program { Ok(()) } else { self.close_routes() }
    }

    /// Has the proxy answer 503 for a service without a program that its administrator stopped. Nothing waits for the proxy:
    /// its publication is ordered before the stop of this unit.
    fn close_routes(&self) -> Result<()> {
        let Machine { layout, manager, .. } = self.machine;
        // At shutdown nobody asks any more.
        if !live::is_stopped(layout, &self.name) || manager.is_to_stop(PROXY_UNIT) {
            return Ok(());
        }
        manager.daemon_reload()?;
        Ok(manager.ask_reload(PROXY_UNIT)?)
    }

    /// Forgets that its administrator stopped the service. The proxy's configuration of one without a program is compiled
    /// again: the rollout publishes it.
    fn open_routes(&self) -> Result<()> {
        let Machine { layout, manager, .. } = self.machine;
        let was_stopped = live::is_stopped(layout, &self.name);
        notes::clear_stopped(layout, &self.name)?;
        let has_program = |location| {
            let compiled = compile::compile_located(layout, &location, &self.machine.target());
            compiled.map_or(true, |compiled| !compiled.service.process.is_none())
        };
        if was_stopped && search::find_one(layout, &self.name)?.is_some_and(|location| !has_program(location)) {
            manager.daemon_reload()?;
        }
        Ok(())
    }
}

impl Hook<'_> {
    /// Removes the directory that deployments shared and none of them removed. One that stays is no failure: it is gone
    /// with the next boot.
    fn remove_runtime_directory(&self) {
        let Ok(Some(Target { generation, .. })) = Target::read(self.machine.layout, &self.name) else { return };
        let model = live::model(self.machine.layout, &self.name, &generation);
        if model.is_ok_and(|model| model.systemd.has_runtime_directory()) {
            let deployment = Deployment { service: self.name.clone(), generation, instance: 1 };
            if let Err(error) = self.machine.manager.clean_runtime(&deployment.unit()) {
                note!("{error}");
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Reload,
}
