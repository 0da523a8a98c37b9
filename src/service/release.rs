//! `hooks.release` and `hooks.post_release`: commands that run once for a generation.

use crate::compile::host::Compiled;
use crate::error::{Error, Result};
use crate::live;
use crate::log::note;
use crate::model::{Hook, Service};
use crate::names::ServiceName;
use crate::service::machine::Machine;
use crate::service::run::{Generation, end_hooks, hook_unit};
use crate::service::store::{self, POST_RELEASED, RELEASED};

/// Runs `hooks.release` of a generation whose first deployment is about to start, unless it has run before: not again
/// after a crash, a reboot or a rollback.
///
/// # Errors
/// If it fails; nothing was started or stopped then.
pub(crate) fn before(machine: &Machine, compiled: &Compiled) -> Result<()> {
    once(machine, compiled, "release", compiled.service.hooks.release.as_ref(), RELEASED)
}

/// Runs `hooks.post_release` of a generation that alone serves, unless it has run before. The generation serves, whatever
/// it does: a failure is logged.
pub(crate) fn after(machine: &Machine, compiled: &Compiled) {
    let hook = compiled.service.hooks.post_release.as_ref();
    if let Err(error) = once(machine, compiled, "post_release", hook, POST_RELEASED) {
        note!("{error}");
    }
}

/// Stops the hooks of a service's live generations, which a killed rollout has left.
///
/// # Errors
/// If systemd refuses a job.
pub(crate) fn stop(machine: &Machine, name: &ServiceName) -> Result<()> {
    let generations = live::of(machine.layout, name)?.map(|live| live.generations).unwrap_or_default();
    for id in &generations {
        let Ok(Service { hooks, .. }) = live::service(machine.layout, name, id) else { continue };
        let all = [("release", hooks.release), ("post_release", hooks.post_release), ("verify", hooks.verify)];
        let declared = all.into_iter().filter(|(_, hook)| hook.is_some());
        let units: Vec<_> = declared.map(|(hook, _)| hook_unit(name, hook, id)).collect();
        end_hooks(machine, &units).map_err(|failure| Error(failure.into_text()))?;
    }
    Ok(())
}

fn once(machine: &Machine, compiled: &Compiled, name: &str, hook: Option<&Hook>, note: &str) -> Result<()> {
    let Some(hook) = hook else { return Ok(()) };
    let (layout, service, id) = (machine.layout, &compiled.service.name, &compiled.id);
    if store::has_note(layout, service, id, note)? {
        return Ok(());
    }
    let ran = Generation::of(machine, compiled).run_hook(machine, name, hook, &[]);
    ran.map_err(|failure| Error(failure.into_text()))?;
    Ok(store::note(layout, service, id, note)?)
}
