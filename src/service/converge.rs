//! `conductor daemon-reload`: brings all services to what is declared.

use std::collections::{BTreeMap, BTreeSet};

use crate::atomic;
use crate::names::ServiceName;
use crate::service::action::Action;
use crate::service::event::Event;
use crate::service::failure::{Failure, Result};
use crate::service::lifecycle::report;
use crate::service::machine::Machine;
use crate::service::plan::{Job, Plan};
use crate::service::{lock, notes, remove};
use crate::source::search;

/// Carries out the plans of all services; removes what is stored of services that are no longer declared.
///
/// # Errors
/// Why services do not serve, one after the other; all others are converged nevertheless.
pub(crate) fn converge(machine: &Machine, plans: &BTreeMap<ServiceName, Plan>) -> Result<()> {
    let outcome = carry_out(machine, plans);
    for plan in plans.values().filter(|plan| plan.actions.contains(&Action::Forget)) {
        for name in [Some(&plan.name), plan.with.as_ref()].into_iter().flatten() {
            forget(machine, name)?;
            remove::release(machine, name)?;
        }
    }
    outcome
}

/// Forgets a service that was not declared, unless another command is just declaring it.
fn forget(machine: &Machine, name: &ServiceName) -> Result<()> {
    let layout = machine.layout;
    if atomic::is_locked(&layout.at(&layout.declaration_lock(name))) {
        return Ok(());
    }
    let _lock = lock::declaration(layout, name)?;
    if search::find_one(layout, name)?.is_none() {
        notes::forget(layout, name)?;
    }
    Ok(())
}

/// Runs all jobs of a kind at once: systemd runs them in parallel.
fn carry_out(machine: &Machine, plans: &BTreeMap<ServiceName, Plan>) -> Result<()> {
    let manager = machine.manager;
    let due = |job| plans.values().filter(move |plan| plan.job == job).map(|plan| &plan.name);
    let with = |job| plans.values().filter(move |plan| plan.job == job).filter_map(|plan| plan.with.as_ref());
    let units = |job| {
        let names: BTreeSet<_> = due(job).chain(with(job)).collect();
        names.into_iter().map(|name| name.unit()).collect::<Vec<_>>()
    };
    let gone: BTreeSet<_> = plans.values().flat_map(|plan| plan.slices.iter().cloned()).collect();
    let stopped = manager.stop(&units(Job::Stop));
    // Before the reload: a slice that has lost its file is not stopped when its last unit is.
    let stopped = stopped.and(manager.stop(&gone.into_iter().collect::<Vec<_>>()));
    if due(Job::Stop).next().is_some() {
        manager.daemon_reload()?;
    }
    for name in due(Job::Stop) {
        machine.report(Event::StoppedUndeclared { service: name.clone() });
    }
    let services: Vec<_> = due(Job::Start).chain(due(Job::Reload)).cloned().collect();
    let (started, reloaded) =
        machine.watch(&services, || (manager.start(&units(Job::Start)), manager.reload(&units(Job::Reload))));
    let mut failed = Vec::new();
    for name in &services {
        match notes::failure(machine.layout, name) {
            Some(why) => failed.push(format!("{name}: {why}")),
            None => report(machine, name)?,
        }
    }
    if !failed.is_empty() {
        return Err(Failure::Failed(failed.join("\n\n")));
    }
    stopped?;
    started?;
    Ok(reloaded?)
}
