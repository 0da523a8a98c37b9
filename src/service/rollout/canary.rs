//! The steps of a canary: each starts what it needs, verifies, and moves slots; the old generation is whole until the last.

use std::time::Duration;

use crate::compile::canary::timer;
use crate::compile::host::Compiled;
use crate::deployment::state::{self, State};
use crate::error::{Error, Result, cause};
use crate::generation::Digests;
use crate::live::canary::Canary;
use crate::live::{self, Target};
use crate::log::note;
use crate::model::{Live, Service};
use crate::names::{Deployment, GenerationId};
use crate::proxy::publish;
use crate::service::canary::{Course, change, own};
use crate::service::plan::Plan;
use crate::service::rollout::Rollout;
use crate::service::share::{Share, now};
use crate::service::{store, verify};
use crate::write::is_at;

const TIMER: &str = ".timer";
const SERVICE: &str = ".service";

impl Rollout<'_> {
    /// Carries out a plan with a canary beside the generation that served `before`.
    ///
    /// # Errors
    /// Why it failed. A canary that did not come up, or was not verified, is aborted then.
    pub(super) fn run_canary(&self, plan: &Plan, course: &Course, before: &Target) -> Result<()> {
        let Compiled { service, digests, id, .. } = self.compiled;
        let (layout, manager) = (self.machine.layout, self.machine.manager);
        self.take(plan, course, before)?;
        if *course == Course::Completes {
            self.open(service, id, &self.open_ports, &self.jobs)?;
        } else {
            // Ports and jobs are those of the old generation, and only of units that are declared still.
            let old = live::service(layout, &service.name, &before.generation)?;
            self.open(&shared(old, service), &before.generation, &[], &[])?;
            manager.start(&Vec::from_iter(service.health.live.as_ref().and_then(Live::timer)))?;
        }
        if plan.republishes() {
            publish::republish(manager)?;
            change(layout, &service.name, |target| {
                Ok(Target { digests: Digests { routes: digests.routes.clone(), ..target.digests.clone() }, ..target })
            })?;
        }
        let target = Target::read(layout, &service.name)?;
        self.arm(target.as_ref())?;
        let share = target.and_then(|target| Share::of(layout, &service.name, &target));
        let share = share.map_or_else(|| "serves".to_owned(), |share| format!("is a canary: {share}"));
        Self::show_status(&format!("generation {id} {share}"));
        Ok(())
    }

    /// Starts the old deployments that are missing, then the new ones; gives these the slots of a step, and stops the rest.
    fn take(&self, plan: &Plan, course: &Course, before: &Target) -> Result<()> {
        let Compiled { service, id, .. } = self.compiled;
        let layout = self.machine.layout;
        let (fresh, old): (Vec<_>, Vec<_>) = plan.start.iter().cloned().partition(|one| one.generation == *id);
        if own(before, id).is_none() {
            store::keep_snapshot(layout, &service.name, &before.generation)?;
        }
        let (of_old, of_new) = course.deployments(self.compiled, before);
        change(layout, &service.name, |target| {
            let canary = own(&target, id).cloned().unwrap_or_else(|| Canary::new(id.clone(), now()));
            // Somebody may have aborted it since this was planned.
            let concurrency = if canary.aborted.is_some() { 0 } else { of_new };
            let declared = self.target_of(plan);
            Ok(Target {
                generation: before.generation.clone(),
                concurrency: of_old,
                canary: Some(Canary { concurrency, ..canary }),
                digests: Digests { generation: before.digests.generation.clone(), ..declared.digests },
                format: before.format,
                variables: before.variables.clone(),
                ..declared
            })
        })?;
        self.start(&old)?;
        let advanced = self.start(&fresh).and_then(|()| self.advance(plan, course, before));
        if let Err(error) = advanced {
            return Err(self.abort(&before.generation, error));
        }
        self.settle_slots()?;
        self.retire(&plan.stop)
    }

    /// Gives a canary the slots of its next step, once that is verified.
    fn advance(&self, plan: &Plan, course: &Course, before: &Target) -> Result<()> {
        let Compiled { service, id, .. } = self.compiled;
        let step = match course {
            Course::Stands | Course::Aborted => return Ok(()),
            Course::Step(step) => Some(step),
            Course::Completes => None,
        };
        let slots = step.map_or(service.slots, |step| step.slots);
        if service.hooks.verify.is_some() {
            Self::show_status(&format!("verifying generation {id} before it gets {slots} of {} slots", service.slots));
            verify::run(&self.machine, self.compiled, before, slots)?;
        }
        change(self.machine.layout, &service.name, |target| {
            let canary = own(&target, id).cloned().unwrap_or_else(|| Canary::new(id.clone(), now()));
            if let Some(why) = canary.aborted {
                return Err(Error(why));
            }
            let due = |pause: Duration| now() + pause.as_secs().max(1);
            Ok(match step {
                None => self.target_of(plan),
                Some(step) => {
                    let canary = Canary { slots, due: step.pause.map(due), ..canary };
                    Target { canary: Some(canary), ..target }
                }
            })
        })
    }

    /// Takes the slots of a canary away, then stops it: the old generation serves alone.
    fn abort(&self, old: &GenerationId, error: Error) -> Error {
        let Compiled { service, id, .. } = self.compiled;
        let layout = self.machine.layout;
        Self::show_status(&format!("generation {id} failed: generation {old} gets its slots back"));
        let why = cause(&error.0).to_owned();
        let aborted = change(layout, &service.name, |mut target| {
            if let Some(canary) = target.canary.as_mut().filter(|canary| canary.aborted.is_none()) {
                canary.abort(&why);
            }
            Ok(target)
        });
        let stopped = aborted.and_then(|()| {
            let mut fresh = state::list(layout, &service.name)?;
            fresh.retain(|one| one.generation == *id);
            // systemd stops one that is not active yet without its ExecStop=.
            self.drain(&fresh, State::Ready);
            self.stop(&fresh)?;
            self.arm(None)
        });
        match stopped {
            Ok(()) => Error(format!("aborted the canary of generation {id}: generation {old} serves alone\n{error}")),
            Err(second) => Error(format!("{error}\naborting the canary failed as well: {second}")),
        }
    }

    /// Starts the timer of a canary's next step, and stops those of other steps.
    ///
    /// # Errors
    /// If systemd refuses a job.
    pub(super) fn arm(&self, target: Option<&Target>) -> Result<()> {
        let (layout, manager) = (self.machine.layout, self.machine.manager);
        let name = &self.compiled.service.name;
        let units = target.map(|target| timer(layout, name, target)).transpose()?.unwrap_or_default();
        let is_wanted = |unit: &String| units.get(unit.as_str().into()).is_some();
        let gone: Vec<_> = self.canaries.iter().filter(|unit| !is_wanted(unit)).cloned().collect();
        let (timers, services): (Vec<_>, Vec<_>) = gone.into_iter().partition(|unit| unit.ends_with(TIMER));
        // One of these services may wait for this very reload.
        manager.stop(&timers)?;
        manager.reset_failed(&services);
        let due = target.and_then(|target| target.canary.as_ref()?.due);
        let Some((unit, due)) = units.iter().find_map(|(path, _)| path.as_str().strip_suffix(TIMER)).zip(due) else {
            return Ok(());
        };
        let unit_of = |suffix: &str| format!("{unit}{suffix}");
        if !is_at(&layout.at(layout.generator()), &units) {
            // A canary that is tried again may have had a timer of this name, with another time.
            manager.stop(&[unit_of(TIMER)])?;
            manager.daemon_reload()?;
        }
        manager.start(&[unit_of(TIMER)])?;
        // A timer does not elapse for a time that was over when it started.
        if now() >= due {
            manager.ask_start_now(&unit_of(SERVICE))?;
        }
        Ok(())
    }
}

/// Returns the old generation's service with only those ports and jobs that the declared one has, too: others have no units.
fn shared(mut old: Service, declared: &Service) -> Service {
    let name = &declared.name;
    old.ports.retain(|port| declared.ports.iter().any(|there| there.unit(name) == port.unit(name)));
    old.commands.retain(|command, _| declared.commands.get(command).is_some_and(|there| there.job.is_some()));
    old
}

/// Aborts the canary of another generation than the compiled one, and stops it: the slots go back first.
///
/// # Errors
/// If the file system refuses an operation, or systemd a job.
pub(crate) fn end_other(rollout: &Rollout, other: &Canary) -> Result<()> {
    let (layout, name) = (rollout.machine.layout, &rollout.compiled.service.name);
    change(layout, name, |target| Ok(Target { canary: None, ..target }))?;
    let mut there: Vec<Deployment> = state::list(layout, name)?;
    there.retain(|one| one.generation == other.generation);
    rollout.retire(&there)?;
    note!("{name}: aborted the canary of generation {}: another one is declared", other.generation);
    rollout.arm(None)
}
