//! `conductor deployment _start|_stop|_cleanup DEPLOYMENTDIR`: what a deployment's unit runs around
//! its process.

use std::os::unix::process::CommandExt;
use std::process;
use std::time::{Duration, Instant};

use crate::atomic;
use crate::deployment::drain::{self, DrainError};
use crate::deployment::endpoint::Endpoint;
use crate::deployment::state::{self, Runtime, State};
use crate::deployment::{health, prepare, slot};
use crate::engine::podman::host;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::log::note;
use crate::model::{Check, ListenKind, Service};
use crate::names::Deployment;
use crate::systemd::{self, Manager};
use crate::target::systemd::podman;
use crate::target::systemd::units::{is_asked_for_address, start_limit};

/// A deployment that was ready for so long has served; what crashes sooner waits longer each time.
const SERVED: Duration = Duration::from_secs(1);

/// Which part of `_start` to do: a declared post-start hook runs between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Find out where podman's network put it: only root may ask.
    Address,
    Health,
    Slots,
    All,
}

/// `ExecStartPost=`: waits for health, then takes the slots. systemd says the main process in `$MAINPID`.
///
/// # Errors
/// If it is not healthy within `timeout`, with the check's last answer.
pub fn start(
    layout: &Layout,
    manager: Manager,
    deployment: &Deployment,
    part: Part,
    timeout: Duration,
    main_pid: Option<u32>,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let model = crate::deployment::model(layout, deployment)?;
    // Where a check is run by the service's user, the record is written before or after it: only root may.
    let records = match part {
        Part::Address | Part::All => true,
        Part::Slots => !is_asked_for_address(&model),
        Part::Health => false,
    };
    if records {
        let before = state::read(layout, deployment).and_then(|runtime| runtime.endpoint);
        let now = record(layout, deployment, &model, main_pid)?;
        if model.listen.is_bridged() && before.is_some_and(|before| Some(before) != now) {
            part_from_old(manager, deployment);
        }
    }
    if matches!(part, Part::Health | Part::All) {
        be_healthy(layout, deployment, &model, main_pid, deadline)?;
    }
    if matches!(part, Part::Slots | Part::All) {
        if model.listen.kind == ListenKind::Unix {
            prepare::open_to_proxy(layout, deployment, &model.listen)?;
        }
        state::set_ready(layout, deployment)?;
        slot::settle(layout, &deployment.service)?;
    }
    Ok(())
}

fn be_healthy(
    layout: &Layout,
    deployment: &Deployment,
    model: &Service,
    main_pid: Option<u32>,
    deadline: Instant,
) -> Result<()> {
    let endpoint = Endpoint::of(layout, deployment, &model.listen)?;
    health::wait(&model.health, endpoint, main_pid, deadline).map(drop).map_err(|failed| {
        let why = format!("{} is not healthy: {failed}", deployment.unit());
        // A health check that the service's user runs may not write here; the journal has it too.
        let _ = state::write_failure(layout, deployment, &why);
        Error(why)
    })
}

/// Stops a bridge that leads to where the process was before. `_cleanup` has done that, unless it was killed too. One
/// that waits for this start is left alone.
fn part_from_old(manager: Manager, deployment: &Deployment) {
    let bridge = deployment.bridge_unit();
    if manager.states(std::slice::from_ref(&bridge)).is_ok_and(|states| states.iter().any(|state| state == "active")) {
        manager.ask_stop(&bridge);
    }
}

/// Writes down that it starts; where it listens, if that is known.
fn record(layout: &Layout, deployment: &Deployment, model: &Service, main_pid: Option<u32>) -> Result<Option<String>> {
    state::prepare(layout, deployment)?;
    let of_podman = prepare::find_address(layout, deployment, model)?;
    let bound_itself = (model.listen.kind == ListenKind::Unix).then_some(main_pid).flatten();
    let network = of_podman.or_else(|| bound_itself.and_then(drain::network_of));
    let runtime = Runtime::new(layout, deployment, &model.listen, network, main_pid);
    state::write(layout, deployment, &runtime)?;
    Ok(runtime.endpoint)
}

/// `ExecStop=`: leaves the slots and waits until no request is in flight. What is in flight after
/// `timeout` is said, and no error: the process has to stop. systemd says the main process in `$MAINPID`, if it
/// is still there.
///
/// # Errors
/// If the slots cannot be left or the kernel does not say what is in flight.
pub fn stop(
    layout: &Layout,
    manager: Manager,
    deployment: &Deployment,
    timeout: Duration,
    main_pid: Option<u32>,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    if main_pid.is_none() && !manager.is_to_stop(&deployment.unit()) {
        // It has exited in good order, and nobody asked for that: it is restarted, and callers wait as after a crash.
        return Ok(());
    }
    if rests(layout, manager, deployment) {
        // Its slots stay: who connects to its socket wakes it up.
        return Ok(state::set_state(layout, deployment, State::Resting)?);
    }
    let network = state::read(layout, deployment).and_then(|runtime| runtime.network);
    if let Err(error) = state::set_state(layout, deployment, State::Leaving) {
        // Without space to say that it leaves, it is none that may hold slots. It has to drain all the same.
        note!("{}: {error}", deployment.unit());
        state::remove(layout, deployment)?;
    }
    if service_stops(layout, manager, deployment) {
        // The siblings are going too: handing slots to them would only move the callers about.
        slot::withdraw(layout, deployment)?;
    } else {
        slot::settle(layout, &deployment.service)?;
        if slot::held(layout, &deployment.service).iter().any(|(_, holder)| holder == deployment) {
            slot::withdraw(layout, deployment)?;
        }
    }
    match drain::wait(&layout.at(&deployment.socket(layout)), network.as_deref(), deadline) {
        Ok(()) => Ok(()),
        Err(DrainError::TimedOut { left }) => {
            note!("{}: stopping although {left} after {timeout:?}", deployment.unit());
            Ok(())
        }
        Err(DrainError::Unknown(error)) => {
            // Not knowing is not zero: requests get the time they are allowed.
            let rest = deadline.saturating_duration_since(Instant::now());
            note!("{}: requests in flight are unknown ({error}); waiting {rest:?}", deployment.unit());
            std::thread::sleep(rest);
            Ok(())
        }
    }
}

/// `ExecStop=`, as the service's user: becomes the declared drain hook, under timeout(1) with what the
/// requests in flight have left of `timeout`.
///
/// # Errors
/// If nothing is left, or timeout(1) cannot be run.
pub fn drain(layout: &Layout, deployment: &Deployment, timeout: Duration, command: &[String]) -> Result<()> {
    let left = timeout.saturating_sub(state::age(layout, deployment)); // since it is leaving
    let hook = command.join(" ");
    if left.is_zero() {
        return Err(Error(format!("{}: the drain hook ({hook}) is not run: {timeout:?} are over", deployment.unit())));
    }
    let limit = format!("{}s", left.as_secs_f64());
    let error = process::Command::new("timeout").args(["--verbose", "--kill-after=1s", &limit]).args(command).exec();
    Err(Error(format!("timeout(1) cannot be run: {error}")))
}

/// Whether a deployment stops because nobody was connected for long enough: its callers' socket stays then.
fn rests(layout: &Layout, manager: Manager, deployment: &Deployment) -> bool {
    let model = crate::deployment::model(layout, deployment);
    model.is_ok_and(|model| model.listen.idle_timeout.is_some())
        && state_and_job(manager, &deployment.socket_unit())
            .is_some_and(|(state, has_job)| state == "active" && !has_job)
}

/// `ActiveState=` of a unit, and whether something is being done to it.
fn state_and_job(manager: Manager, unit: &str) -> Option<(systemd::State, bool)> {
    let mut properties = manager.show(unit, &["ActiveState", "Job"]).ok()?;
    let has_job = properties.get("Job").is_some_and(|job| !job.is_empty() && job != "0");
    Some((properties.remove("ActiveState")?, has_job))
}

/// Whether the whole service is being stopped, by what systemd has in its queue.
fn service_stops(layout: &Layout, manager: Manager, deployment: &Deployment) -> bool {
    if atomic::is_locked(&layout.at(&layout.lock(&deployment.service))) {
        // A rollout is at work: it stops deployments one by one. Asking systemd would take longer
        // than all the rest of this hook.
        return false;
    }
    let unit = format!("{}.service", deployment.service);
    let Some((state, has_job)) = state_and_job(manager, &unit) else { return false };
    // While it is active its only jobs are to stop, to restart and to reload; a reload rolls from
    // `reloading`, and stops deployments one by one.
    state == "deactivating" || state == "active" && has_job || state == "inactive"
}

/// Where the process says itself that it is ready, systemd waits for it: nothing else tells why it was not.
fn tell_unready(layout: &Layout, deployment: &Deployment, result: &str) {
    let Ok(model) = crate::deployment::model(layout, deployment) else { return };
    let limit = start_limit(&model);
    let why = match (model.health.check, result) {
        (Check::Notify, "timeout") => format!("did not come within {limit:?}"),
        (Check::Notify, "protocol") => "did not come before the main process exited".to_owned(),
        _ => return,
    };
    let why = format!("{} is not healthy: READY=1 by sd_notify {why}", deployment.unit());
    // Only the rollout reads it; systemd has said the same.
    let _ = state::write_failure(layout, deployment, &why);
}

/// Has podman remove what is left of a deployment; what that says is in the journal.
pub fn remove_left(layout: &Layout, deployment: &Deployment) {
    let Ok(model) = crate::deployment::model(layout, deployment) else { return };
    let dir = deployment.dir(layout);
    if let Some(arguments) = podman::remove(&model.process.engine, &deployment.to_string(), dir.as_str())
        && let Err(error) = host::podman(&arguments)
    {
        note!("{}: {error}", deployment.unit());
    }
}

/// `ExecStopPost=`, with systemd's `$SERVICE_RESULT`: also after a crash. A deployment that stops for good
/// leaves nothing behind; one that crashed hands its slots to a ready sibling, if there is one, and is
/// restarted.
///
/// # Errors
/// What the file system refuses.
pub fn cleanup(layout: &Layout, manager: Manager, deployment: &Deployment, result: &str) -> Result<()> {
    let state = state::read(layout, deployment).map(|runtime| runtime.state);
    if state == Some(State::Resting) {
        return Ok(());
    }
    if crate::deployment::is_bridged(layout, deployment) {
        // It leads to where a process was that is gone; who connects from now on waits for the next.
        manager.ask_stop(&deployment.bridge_unit());
    }
    if state != Some(State::Leaving) || result != "success" {
        // What ExecStop= did not do, or did not get done.
        remove_left(layout, deployment);
    }
    if !matches!(state, Some(State::Ready | State::Leaving)) {
        tell_unready(layout, deployment, result);
    }
    if state == Some(State::Leaving) {
        slot::withdraw(layout, deployment)?;
        return Ok(state::remove(layout, deployment)?);
    }
    if state == Some(State::Ready) && state::age(layout, deployment) >= SERVED {
        // systemd counts a unit's restarts for ever, and from 254 on each waits longer than the last.
        // That is for processes that cannot run: one that had served starts over.
        manager.reset_failed(&[deployment.unit()]);
    }
    state::set_state(layout, deployment, State::Starting)?;
    Ok(slot::settle(layout, &deployment.service)?)
}
