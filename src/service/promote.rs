//! Commands to a canary: take the next step, give the slots back.

use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::live::Target;
use crate::live::canary::Canary;
use crate::log::note;
use crate::names::{GenerationId, ServiceName};
use crate::service::canary::change;
use crate::service::failure::{Failure, Result};
use crate::service::lifecycle::{report, run_job};
use crate::service::lock;
use crate::service::machine::Machine;
use crate::service::notes;
use crate::service::run::{end_hooks, hook_unit};
use crate::service::share::{Share, now};

/// The time between two looks at a service that starts.
const PAUSE: Duration = Duration::from_millis(200);
/// Why an administrator's command aborted a canary.
const BY_HAND: &str = "by `conductor service abort`";

/// Takes the next step of a canary now, or with `skips_steps` the last one, and waits. One that was aborted begins again.
///
/// # Errors
/// If the service has no canary or does not run, or why the step failed.
pub(crate) fn promote(machine: &Machine, name: &ServiceName, skips_steps: bool) -> Result<()> {
    let (_lock, _) = lock::declared(machine, name)?;
    order(machine, name, |canary| canary.promote(now(), skips_steps))?;
    run_job(machine, name, |manager, units| manager.reload(units))?;
    // Somebody aborts it meanwhile by another reload, which ends well.
    match Share::read(machine.layout, name)?.and_then(|share| share.aborted) {
        Some(why) => Err(Failure::Failed(format!("the canary was aborted: {why}"))),
        None => report(machine, name),
    }
}

/// Makes a canary that was aborted begin again with the next reload.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn retry(machine: &Machine, name: &ServiceName, id: &GenerationId) -> Result<()> {
    let canary = Target::read(machine.layout, name)?.and_then(|target| target.canary);
    match canary.filter(|canary| canary.generation == *id && canary.aborted.is_some()) {
        Some(_) => order(machine, name, |canary| canary.promote(now(), false)).map(drop),
        None => Ok(()),
    }
}

/// Gives the slots of a canary back at once, then stops it. It waits for no other command.
///
/// # Errors
/// If the service has no canary or does not run, or systemd refuses a job.
pub(crate) fn abort(machine: &Machine, name: &ServiceName) -> Result<()> {
    machine.location(name)?;
    let id = order(machine, name, |canary| {
        if canary.aborted.is_none() {
            canary.abort(BY_HAND);
        }
    })?;
    // A step that is being taken fails then.
    end_hooks(machine, &[hook_unit(name, "verify", &id)])?;
    // What stops it is a reload: one that ends another reload first is no failure of this.
    run_job(machine, name, |manager, units| manager.reload(units))?;
    report(machine, name)
}

/// Takes a step that is due, whose unit's process this is. Returns the exit code: 75 if it was interrupted, sysexits(3head).
///
/// # Errors
/// Why the step failed.
pub(crate) fn step(machine: &Machine, name: &ServiceName) -> Result<u8> {
    if Share::read(machine.layout, name)?.is_none() {
        return Ok(0);
    }
    // A start does not take steps, and asks for this.
    while machine.manager.property(&name.unit(), "ActiveState")? == "activating" {
        thread::sleep(PAUSE);
    }
    let Err(error) = machine.manager.reload(&[name.unit()]) else { return Ok(0) };
    match notes::failure(machine.layout, name) {
        Some(why) => Err(Failure::Failed(why)),
        // The reload was killed before it could say why.
        None => {
            note!("{name}: {error}");
            Ok(75)
        }
    }
}

/// Changes a service's canary, and its slots with it. Returns its generation.
fn order(machine: &Machine, name: &ServiceName, order: impl FnOnce(&mut Canary)) -> Result<GenerationId> {
    let mut id = None;
    change(machine.layout, name, |mut target| {
        let canary = target.canary.as_mut().ok_or_else(|| Error(format!("{name}: no canary is under way")))?;
        order(canary);
        id = Some(canary.generation.clone());
        Ok(target)
    })?;
    id.ok_or_else(|| Failure::Failed(format!("{name}: no canary is under way")))
}
