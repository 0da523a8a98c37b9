//! Starting, stopping and reloading services: systemd's jobs, with the reason when they fail.

use crate::compile;
use crate::deployment::state;
use crate::live::{self, Target};
use crate::names::ServiceName;
use crate::service::event::Event;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::service::parts::members;
use crate::service::pins::Pins;
use crate::service::share::Share;
use crate::service::{condition, lock, notes, record};
use crate::source::search;
use crate::systemd::{self, Manager};

/// The number of lines that are quoted from a service's journal if the cause of a failure is unknown.
const QUOTED_LINES: u32 = 5;

/// Starts a service and waits until it serves.
///
/// # Errors
/// If it is not declared, or why it does not start.
pub(crate) fn start(machine: &Machine, name: &ServiceName) -> Result<()> {
    let _lock = lock::declared(machine, name)?;
    if machine.manager.property(&name.unit(), "LoadState")? == "not-found" {
        machine.manager.daemon_reload()?;
    }
    run_job(machine, name, |manager, units| manager.start(units))?;
    for service in members(machine.layout, name)? {
        if is_degraded(machine, &service)? {
            run_job(machine, &service, |manager, units| manager.reload(units))?;
        }
    }
    // The unit of all parts may run while a part was stopped alone.
    for part in members(machine.layout, name)?.iter().filter(|part| *part != name) {
        machine.manager.start(&[part.unit()]).map_err(|error| reason(machine, part, &error))?;
    }
    report(machine, name)
}

/// Returns whether a service is active of which not all deployments serve: somebody has stopped one, or systemd has
/// together with a unit that it requires. To start a unit that is active does nothing.
fn is_degraded(machine: &Machine, name: &ServiceName) -> Result<bool> {
    let layout = machine.layout;
    let Some(target) = Target::read(layout, name)? else { return Ok(false) };
    let listing = machine.manager.listing_of(name)?;
    Ok(state::count_ready(layout, &state::list(layout, name)?, Some(&listing)) < target.deployments() as usize)
}

/// Stops a service and waits until its last request is answered. Returns whether it ran.
///
/// # Errors
/// If it is neither declared nor running.
pub(crate) fn stop(machine: &Machine, name: &ServiceName) -> Result<bool> {
    if live::of(machine.layout, name)?.is_none() && live::parts_of(machine.layout, name)?.is_empty() {
        machine.location(name)?;
    }
    let ran = machine.manager.property(&name.unit(), "ActiveState")? != "inactive";
    machine.manager.stop(&[name.unit()])?;
    Ok(ran)
}

/// Applies the declaration of a service, with the newest images where it asks for them.
///
/// # Errors
/// If it is not declared, or why what is declared does not serve.
pub(crate) fn reload(machine: &Machine, name: &ServiceName) -> Result<()> {
    // Without the lock this could start a service again that another command is just removing.
    let (_lock, location) = lock::declared(machine, name)?;
    let layout = machine.layout;
    let dir = layout.at(&location.dir);
    // A declaration that does not compile makes the reload fail with its errors.
    let services = compile::compile_all(layout, &location, &dir, &location.dir, &machine.target());
    let pins = Pins::update(machine, &services.unwrap_or_default())?;
    if let Err(failure) = apply(machine, name) {
        pins.undo(layout)?;
        return Err(failure);
    }
    report(machine, name)
}

/// Starts a service, or reloads it if it runs, and waits.
///
/// # Errors
/// Why what is declared does not serve.
pub(crate) fn apply(machine: &Machine, name: &ServiceName) -> Result<()> {
    match machine.manager.property(&name.unit(), "ActiveState")?.as_str() {
        "active" | "reloading" => run_job(machine, name, |manager, units| manager.reload(units)),
        _ => run_job(machine, name, |manager, units| manager.start(units)),
    }
}

/// Applies a declaration that has just changed to a service that runs; one that is stopped stays stopped. If that
/// fails, `undo` restores the declaration and the service follows it.
///
/// # Errors
/// Why the change could not be applied.
pub(crate) fn apply_change(machine: &Machine, name: &ServiceName, undo: impl FnOnce() -> Result<()>) -> Result<()> {
    let Err(failure) = apply_if_running(machine, name) else { return Ok(()) };
    let undone = undo().and_then(|()| {
        machine.manager.daemon_reload()?;
        machine.report(Event::Restored { service: name.clone() });
        // Somebody may have stopped the service meanwhile: it stays stopped then.
        if should_run(machine, name)? { apply(machine, name) } else { Ok(()) }
    });
    if let Err(second) = undone {
        machine.report(Event::NotUndone(second));
    }
    Err(failure)
}

fn apply_if_running(machine: &Machine, name: &ServiceName) -> Result<()> {
    machine.manager.daemon_reload()?;
    if !should_run(machine, name)? {
        machine.report(Event::NotRunning { service: name.clone() });
        return Ok(());
    }
    apply(machine, name)?;
    report(machine, name)
}

/// Returns whether a service runs, or would run if it could.
fn should_run(machine: &Machine, name: &ServiceName) -> Result<bool> {
    let state = machine.manager.property(&name.unit(), "ActiveState")?;
    let is_off = matches!(state.as_str(), "inactive" | "deactivating")
        || machine.manager.is_to_stop(&name.unit())
        || live::is_stopped(machine.layout, name);
    Ok(!is_off && search::find_one(machine.layout, name)?.is_some())
}

/// Runs a job of a service and waits, with its progress.
///
/// # Errors
/// Why it failed.
pub(crate) fn run_job(
    machine: &Machine,
    name: &ServiceName,
    job: impl FnOnce(Manager, &[String]) -> Result<(), systemd::Error>,
) -> Result<()> {
    let services = members(machine.layout, name)?;
    let last = |service: &ServiceName| record::read(machine.layout, service);
    let before: Vec<_> = services.iter().map(last).collect();
    let outcome = machine.watch(&services, || job(machine.manager, &[name.unit()]));
    for (service, before) in services.into_iter().zip(before) {
        if let Some(gap) = last(&service).filter(|now| Some(now) != before.as_ref()).and_then(|record| record.gap) {
            machine.report(Event::Gap { service, gap });
        }
    }
    outcome.map_err(|error| reason(machine, name, &error))
}

/// Returns the cause of a failed job: the note of the service's hook, or systemd's error and the journal.
fn reason(machine: &Machine, name: &ServiceName, error: &systemd::Error) -> Failure {
    let journal = || {
        let log = machine.manager.journal(&name.unit(), QUOTED_LINES);
        let quoted: String = log.lines().map(|line| format!("\n  | {line}")).collect();
        format!("the last log lines of {}:{quoted}\n{error}", name.unit())
    };
    Failure::Failed(notes::failure(machine.layout, name).unwrap_or_else(journal))
}

/// Reports what serves now, for each part if the service has some.
///
/// # Errors
/// If the note cannot be read.
pub(crate) fn report(machine: &Machine, name: &ServiceName) -> Result<()> {
    members(machine.layout, name)?.into_iter().try_for_each(|member| report_member(machine, member))
}

fn report_member(machine: &Machine, service: ServiceName) -> Result<()> {
    let layout = machine.layout;
    if let Some(target) = Target::read(layout, &service)? {
        let share = Share::of(layout, &service, &target);
        let Target { generation, concurrency, .. } = target;
        let listing = machine.manager.listing_of(&service)?;
        let mut serving = state::list(layout, &service)?;
        serving.retain(|one| one.generation == generation);
        let ready = state::count_ready(layout, &serving, Some(&listing));
        machine.report(Event::Serving { service: service.clone(), generation, ready, concurrency });
        if let Some(share) = share {
            machine.report(Event::Canary { service, share });
        }
    } else if let Some(location) = search::find_one(layout, &service)? {
        let compiled = compile::compile_located(layout, &location, &machine.target())?;
        if let Some(unmet) = condition::unmet(layout.scope, &compiled.service) {
            machine.report(Event::HeldBack { service, unmet });
        }
    }
    Ok(())
}
