//! Canaries: what is next for one, and the target that records it.
//!
//! The target in /run is what deployments and the generator read. It has a copy beside the service's stored generations, from
//! which a start goes on after a reboot.

use std::io;

use crate::atomic;
use crate::compile::host::Compiled;
use crate::deployment::slot;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::listing;
use crate::live::Target;
use crate::live::canary::{Canary, deployments};
use crate::log::note;
use crate::model::{Step, Strategy};
use crate::names::{GenerationId, ServiceName};
use crate::service::machine::Machine;
use crate::service::store;

/// What a reload does with a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Course {
    /// Its share stays.
    Stands,
    /// It gets the share of a step, which is the first if it has none.
    Step(Step),
    /// It gets all slots, and the old generation stops.
    Completes,
    /// It was aborted, and only the old generation runs.
    Aborted,
}

impl Course {
    /// Returns the course of the canary that a compiled service is or begins, at a time in seconds since 1970; None if it is
    /// none: nothing serves beside which it could be one, or it serves itself.
    pub(crate) fn of(compiled: &Compiled, target: Option<&Target>, now: u64) -> Option<Self> {
        let deploy = &compiled.service.deploy;
        let target = target.filter(|target| target.generation != compiled.id)?;
        if deploy.strategy != Strategy::Canary {
            return None;
        }
        let begins = Canary::new(compiled.id.clone(), now);
        let canary = own(target, &compiled.id).unwrap_or(&begins);
        Some(match canary.next(&deploy.steps) {
            _ if canary.aborted.is_some() => Self::Aborted,
            Some(step) if own(target, &compiled.id).is_none() => Self::Step(step.clone()),
            _ if !canary.is_due(now) => Self::Stands,
            Some(step) => Self::Step(step.clone()),
            None => Self::Completes,
        })
    }

    /// Returns the slots of the new generation after it.
    pub(crate) fn slots(&self, compiled: &Compiled, target: Option<&Target>) -> u32 {
        match self {
            Self::Stands => target.and_then(|target| own(target, &compiled.id)).map_or(0, |canary| canary.slots),
            Self::Step(step) => step.slots,
            Self::Completes => compiled.service.slots,
            Self::Aborted => 0,
        }
    }

    /// Returns how many deployments run of the old generation and of the new one, before the old one may stop. Scaling in the
    /// middle scales both.
    pub(crate) fn deployments(&self, compiled: &Compiled, target: &Target) -> (u32, u32) {
        let service = &compiled.service;
        let canary = own(target, &compiled.id);
        let is_scaled = canary.is_some() && target.digests.scale != compiled.digests.scale;
        let old = if is_scaled { service.concurrency } else { target.concurrency };
        let new = match self {
            Self::Stands => canary.map_or(0, |canary| deployments(service, canary.slots)),
            Self::Step(step) => deployments(service, step.slots),
            Self::Completes => service.concurrency,
            Self::Aborted => 0,
        };
        (old, new)
    }
}

/// Returns the canary of a generation.
pub(crate) fn own<'a>(target: &'a Target, id: &GenerationId) -> Option<&'a Canary> {
    target.canary.as_ref().filter(|canary| canary.generation == *id)
}

/// Returns the canary of another generation, which a reload aborts first.
pub(crate) fn other<'a>(target: &'a Target, id: &GenerationId) -> Option<&'a Canary> {
    target.canary.as_ref().filter(|canary| canary.generation != *id)
}

/// Writes the target of a service, and its copy as long as it has a canary. A power cut in between loses at most the last step.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn write(layout: &Layout, name: &ServiceName, target: &Target) -> io::Result<()> {
    let content = serde_json::to_vec(target)?;
    let copy = layout.at(&layout.stored_target(name));
    if target.canary.is_some() {
        atomic::write(&copy, &content)?;
    }
    let path = layout.at(&layout.target(name));
    // A file cannot take a directory's place, whoever put that there.
    if path.is_dir() {
        atomic::remove_dir(&path)?;
    }
    atomic::write(&path, &content)?;
    if target.canary.is_none() {
        atomic::remove_file(&copy)?;
    }
    Ok(())
}

/// Changes the target of a service that has one, and its slots with it.
///
/// # Errors
/// Those of `change`; if the service has no target, or the file system refuses an operation.
pub(crate) fn change(layout: &Layout, name: &ServiceName, change: impl FnOnce(Target) -> Result<Target>) -> Result<()> {
    slot::redirect(layout, name, |target| {
        let target = change(target.ok_or_else(|| Error(format!("{name} is not running")))?)?;
        write(layout, name, &target)?;
        Ok(target)
    })
}

/// Reads the copy of the target of a service with a canary; None if it has none of the declared generation.
pub(crate) fn stored(layout: &Layout, compiled: &Compiled) -> Option<Target> {
    let content = listing::read(&layout.at(&layout.stored_target(&compiled.service.name))).ok()??;
    let mut target = serde_json::from_slice::<Target>(&content).ok()?;
    // Whether the proxy has its routes is not known after a reboot.
    target.digests.routes.clear();
    let goes_on = own(&target, &compiled.id).is_some() && compiled.service.deploy.strategy == Strategy::Canary;
    goes_on.then_some(target)
}

/// Restores the target of a service with a canary that has none since a stop or a reboot, and the snapshot of the old
/// generation. A canary of another generation than the declared one, or without its old generation, is forgotten.
///
/// # Errors
/// If the file system or systemd refuses an operation.
pub(crate) fn resume(machine: &Machine, compiled: &Compiled) -> Result<()> {
    let (layout, name) = (machine.layout, &compiled.service.name);
    let copy = layout.at(&layout.stored_target(name));
    let is_there = Target::read(layout, name)?.is_some_and(|target| !target.is_recovered());
    if is_there || !listing::exists(&copy)? {
        return Ok(());
    }
    let restored =
        stored(layout, compiled).ok_or_else(|| "another generation is declared".to_owned()).and_then(|target| {
            let restored = store::restore_snapshot(layout, name, &target.generation);
            restored.map(|()| target).map_err(|error| error.to_string())
        });
    match restored {
        Ok(target) => {
            write(layout, name, &target)?;
            Ok(machine.manager.daemon_reload()?)
        }
        Err(why) => {
            note!("{name}: its canary does not go on: {why}");
            Ok(atomic::remove_file(&copy)?)
        }
    }
}
