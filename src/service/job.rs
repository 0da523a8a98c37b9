//! Jobs: commands that systemd starts by the clock.

pub(crate) mod by_hand;
pub(crate) mod timetable;

use std::fs::File;
use std::time::SystemTime;

use crate::atomic;
use crate::deployment::state;
use crate::error;
use crate::layout::Layout;
use crate::live::Target;
use crate::log::note;
use crate::model::{Job, Overlap, RunCommand, Service};
use crate::names::ServiceName;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::service::run::Generation;
use crate::service::store;
use crate::systemd::Manager;
use crate::target::systemd::job::DEFERS;

const TIMER: &str = ".timer";
const SERVICE: &str = ".service";

/// Starts the timers of a service that serves, and stops those of the units of jobs `before` that are no longer declared.
///
/// # Errors
/// If systemd refuses a job.
pub(super) fn schedule(manager: Manager, service: &Service, before: &[String]) -> error::Result<()> {
    let wanted: Vec<_> = service.jobs().map(|(job, ..)| service.name.job(job)).collect();
    let is_wanted = |unit: &String| {
        let stem = unit.strip_suffix(TIMER).or_else(|| unit.strip_suffix(SERVICE));
        stem.is_some_and(|stem| wanted.iter().any(|wanted| wanted == stem))
    };
    let gone: Vec<_> = before.iter().filter(|unit| !is_wanted(unit)).cloned().collect();
    manager.stop(&gone)?;
    manager.reset_failed(&gone);
    Ok(manager.start(&wanted.iter().map(|unit| format!("{unit}{TIMER}")).collect::<Vec<_>>())?)
}

/// Removes what the units of jobs leave when their service is removed: that they failed, when they last ran, and a file
/// that systemd 252 to 257 leaves.
pub(super) fn forget(machine: &Machine, units: &[String]) -> Result<()> {
    let layout = machine.layout;
    machine.manager.reset_failed(units);
    for unit in units {
        atomic::remove_file(&layout.at(&layout.timer_stamp(unit)))?;
        atomic::remove_file(&layout.at(&Layout::log_fields(unit)))?;
    }
    Ok(())
}

/// Runs a job, whose unit's process this is, and returns the exit code.
///
/// # Errors
/// Why it could not run.
pub(crate) fn run(machine: &Machine, name: &ServiceName, job: &str) -> Result<u8> {
    let (generation, held) = Generation::held(machine, name)?;
    let (command, of_job) = find(&generation, job)?;
    let ended = generation.run_job(machine, job, command);
    let let_go = let_go(machine, &generation, held);
    let unit = name.job(job);
    let is_stopped = machine.manager.is_to_stop(&format!("{unit}{SERVICE}"));
    let ended = match ended? {
        Some(code) => code,
        None if is_stopped => 0,
        None => 1,
    };
    let_go?;
    if !is_stopped && of_job.overlap == Overlap::Skip {
        skip_missed(machine, &format!("{unit}{TIMER}"), of_job);
    }
    Ok(ended)
}

fn find<'a>(generation: &'a Generation, job: &str) -> Result<(&'a RunCommand, &'a Job)> {
    let Generation { service, id, .. } = generation;
    let command = service.commands.get(job).and_then(|command| Some((command, command.job.as_ref()?)));
    command.ok_or_else(|| {
        let name = &service.name;
        Failure::Failed(format!("generation {id} of {name} has no job {job:?}: `conductor service reload {name}`"))
    })
}

/// Removes what only the job still needed. A rollout that is under way does that itself when it ends.
fn let_go(machine: &Machine, generation: &Generation, held: File) -> Result<()> {
    let Generation { service, id, .. } = generation;
    let (layout, name) = (machine.layout, &service.name);
    drop(held);
    let Some(_lock) = atomic::try_lock(&layout.at(&layout.lock(name)))? else { return Ok(()) };
    let serves = Target::read(layout, name)?.is_none_or(|target| target.generation == *id);
    if !serves && state::list(layout, name)?.iter().all(|one| one.generation != *id) {
        store::let_go(layout, name, id)?;
    }
    Ok(())
}

/// Makes a timer wait for its next time, whatever was due while its job ran.
fn skip_missed(machine: &Machine, timer: &str, job: &Job) {
    let stamp = machine.layout.at(&machine.layout.timer_stamp(timer));
    // From that file a persistent timer knows, when it starts, until when nothing was missed, systemd.timer(5).
    if job.persistent
        && let Err(error) =
            File::options().write(true).open(&stamp).and_then(|file| file.set_modified(SystemTime::now()))
    {
        note!("{stamp}: {error}");
    }
    // Older ones count from the time at which they last started the job, and would start it once more at once.
    if machine.systemd().is_some_and(|version| version < DEFERS)
        && let Err(error) = machine.manager.try_restart(timer)
    {
        note!("{error}");
    }
}
