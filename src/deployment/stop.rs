//! `conductor deployment _stop|_drain|_remove DEPLOYMENTDIR`: the steps of a deployment's stop, `ExecStop=`.

use std::os::unix::process::CommandExt;
use std::process;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use crate::atomic;
use crate::deployment;
use crate::deployment::drain::{self, DrainError, Limits};
use crate::deployment::slot;
use crate::deployment::state::{self, State};
use crate::engine::pod;
use crate::engine::podman::arguments::{removal, stop_of_pods};
use crate::engine::podman::host;
use crate::error::{Error, Result};
use crate::layout::{Layout, Scope};
use crate::log::note;
use crate::model::Service;
use crate::names::Deployment;
use crate::systemd::{self, Manager};
use crate::timespan;

/// Leaves the mount namespace of the unit, in which the directory of the service's user is a mount: there it cannot be
/// removed, rmdir(2).
pub(crate) fn leave_namespace(layout: &Layout, deployment: &Deployment) {
    if layout.scope == Scope::System
        && let Err(error) = host::enter()
    {
        note!("{}: could not leave the mount namespace: {error}", deployment.unit());
    }
}

/// `ExecStop=`: releases the slots and waits until no request is in flight, and for connections whose callers have closed
/// them as long as `abandoned`. Requests in flight after `timeout` are logged and are no error: the process has to stop.
/// systemd passes the main process in `$MAINPID`, if it still runs.
///
/// # Errors
/// If the slots cannot be released.
pub(crate) fn stop(
    layout: &Layout,
    manager: Manager,
    deployment: &Deployment,
    timeout: Duration,
    abandoned: Duration,
    main_pid: Option<u32>,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    leave_namespace(layout, deployment);
    if main_pid.is_none() && !manager.is_to_stop(&deployment.unit()) {
        // The process has exited by itself: systemd restarts it, and callers wait as after a crash.
        return Ok(());
    }
    if is_idle(layout, manager, deployment) {
        // It keeps its slots: a connection to its socket starts it again.
        return Ok(state::set_state(layout, deployment, State::Resting)?);
    }
    let (network, checks) = state::read(layout, deployment).map(|runtime| (runtime.network, runtime.checks)).unzip();
    if let Err(error) = state::set_state(layout, deployment, State::Leaving) {
        // Without space for the record, its directory goes, so that it cannot hold slots. It has to drain all the same.
        note!("{}: {error}", deployment.unit());
        state::remove(layout, deployment)?;
    }
    if service_stops(layout, manager, deployment) {
        // The siblings stop, too: they would pass the slots on at once.
        slot::withdraw(layout, deployment)?;
    } else {
        slot::pass_on(layout, &deployment.service)?;
        if slot::held(layout, &deployment.service).iter().any(|(_, holder)| holder == deployment) {
            enqueue(layout, manager, deployment);
            slot::withdraw(layout, deployment)?;
        }
    }
    let limits = Limits { deadline, abandoned, checks: checks.unwrap_or_default() };
    wait_for_callers(layout, deployment, network.flatten().as_deref(), (timeout, &limits));
    Ok(())
}

/// Waits until no request is in flight, and logs if there may be some.
fn wait_for_callers(
    layout: &Layout,
    deployment: &Deployment,
    network: Option<&str>,
    (timeout, limits): (Duration, &Limits),
) {
    let bound = match deployment::model(layout, deployment) {
        Ok(model) => bound_name(layout, deployment, &model),
        Err(_) => Some(deployment.socket(layout)),
    };
    let Some(bound) = bound else { return };
    match drain::wait(&layout.at(&bound), network, limits) {
        Ok(left) if left.is_zero() => {}
        Ok(left) => {
            let since = timespan::format(limits.abandoned);
            note!("{}: not waiting for connections that callers closed {since} ago: {left}", deployment.unit());
        }
        Err(DrainError::TimedOut { left }) => {
            note!("{}: stopping although {left} after {timeout:?}", deployment.unit());
        }
        Err(DrainError::Unknown(error)) => {
            // Unknown is not zero: requests get all the time that they may take.
            let rest = limits.deadline.saturating_duration_since(Instant::now());
            note!("{}: requests in flight are unknown ({error}); waiting {rest:?}", deployment.unit());
            std::thread::sleep(rest);
        }
    }
}

/// Has callers wait for the next deployment if none is ready. Without a queue they are refused.
pub(crate) fn enqueue(layout: &Layout, manager: Manager, deployment: &Deployment) {
    if let Err(error) = slot::enqueue(layout, manager, &deployment.service, false) {
        note!("{}: callers do not wait until a deployment serves: {error}", deployment.unit());
    }
}

/// `ExecStop=`, as the service's user: becomes the declared drain hook, under timeout(1) with the time that requests in
/// flight have left of `timeout`.
///
/// # Errors
/// If no time is left, or timeout(1) cannot be run.
pub(crate) fn drain(layout: &Layout, deployment: &Deployment, timeout: Duration, command: &[String]) -> Result<()> {
    let left = timeout.saturating_sub(state::age(layout, deployment)); // since draining began
    let hook = command.join(" ");
    if left.is_zero() {
        return Err(Error(format!("{}: the drain hook ({hook}) is not run: {timeout:?} are over", deployment.unit())));
    }
    let limit = format!("{}s", left.as_secs_f64());
    let error = process::Command::new("timeout").args(["--verbose", "--kill-after=1s", &limit]).args(command).exec();
    Err(Error(format!("could not run timeout(1): {error}")))
}

/// Returns the name that bind(2) got for the socket that callers reach: the kernel lists sockets by it. None if there are
/// no callers.
pub(crate) fn bound_name(layout: &Layout, deployment: &Deployment, model: &Service) -> Option<Utf8PathBuf> {
    match &model.listen {
        listen if !listen.has_callers() => None,
        listen if !listen.has_socket() => Some(deployment.own_socket(layout)),
        _ => Some(deployment.socket(layout)),
    }
}

/// Returns whether a deployment stops because it was idle for long enough: its callers' socket stays active then.
fn is_idle(layout: &Layout, manager: Manager, deployment: &Deployment) -> bool {
    let model = deployment::model(layout, deployment);
    model.is_ok_and(|model| model.listen.idle_timeout.is_some())
        && state_and_job(manager, &deployment.socket_unit())
            .is_some_and(|(state, has_job)| state == "active" && !has_job)
}

/// Returns `ActiveState=` of a unit, and whether it has a job.
fn state_and_job(manager: Manager, unit: &str) -> Option<(systemd::State, bool)> {
    let mut properties = manager.show(unit, &["ActiveState", "Job"]).ok()?;
    let has_job = properties.get("Job").is_some_and(|job| !job.is_empty() && job != "0");
    Some((properties.remove("ActiveState")?, has_job))
}

/// Returns whether the service is being stopped, from systemd's job queue.
fn service_stops(layout: &Layout, manager: Manager, deployment: &Deployment) -> bool {
    if atomic::is_locked(&layout.at(&layout.lock(&deployment.service))) {
        // A rollout stops deployments one by one. To ask systemd would take longer than the rest of this hook.
        return false;
    }
    let unit = format!("{}.service", deployment.service);
    let Some((state, has_job)) = state_and_job(manager, &unit) else { return false };
    // While it is active its only jobs are to stop, to restart and to reload; a reload rolls from
    // `reloading`, and stops deployments one by one.
    state == "deactivating" || state == "active" && has_job || state == "inactive"
}

/// Makes podman stop and remove a deployment; an error is logged.
pub(crate) fn remove(layout: &Layout, deployment: &Deployment) {
    // Of another engine there is no record.
    let pods = pod::prepared(layout, deployment).map_or_else(|_| Vec::new(), |prepared| prepared.pods);
    ask_podman(deployment, stop_of_pods(&pods));
    remove_leftovers(layout, deployment);
}

/// Makes podman remove what is left of a deployment whose process has ended; an error is logged.
pub(crate) fn remove_leftovers(layout: &Layout, deployment: &Deployment) {
    let Ok(model) = deployment::model(layout, deployment) else { return };
    let dir = deployment.dir(layout);
    ask_podman(deployment, removal(&model.process.engine, &deployment.to_string(), dir.as_str()));
}

/// Runs podman, if it has anything to do.
fn ask_podman(deployment: &Deployment, arguments: Option<Vec<String>>) {
    if let Some(error) = arguments.and_then(|arguments| host::podman(&arguments).err()) {
        note!("{}: {error}", deployment.unit());
    }
}
