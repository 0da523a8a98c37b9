//! `conductor deployment _stop|_drain|_remove DEPLOYMENTDIR`: the steps of a deployment's stop, `ExecStop=`.

use std::os::unix::process::CommandExt;
use std::process;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use crate::atomic;
use crate::deployment;
use crate::deployment::drain::{self, DrainError, Limits};
use crate::deployment::endpoint::Endpoint;
use crate::deployment::in_flight::InFlight;
use crate::deployment::state::{self, State};
use crate::deployment::{arrival, connections, passed, slot};
use crate::engine::pod;
use crate::engine::podman::arguments::{removal, stop_of_pods};
use crate::engine::podman::host;
use crate::engine::signal;
use crate::error::{Error, Result};
use crate::layout::{Layout, Scope};
use crate::log::note;
use crate::model::{Listener, Route, Service};
use crate::names::Deployment;
use crate::proxy::chosen::Chosen;
use crate::systemd::{self, Manager, has_job};
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

/// A part of `_stop`: a declared pre-drain hook runs between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Leaves the slots, and waits until the process has accepted all who have connected.
    Leave,
    /// Waits until no request is in flight.
    Drain,
    All,
}

/// How a deployment drains.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    /// The time that requests in flight have.
    pub(crate) timeout: Duration,
    /// The time for which a connection is waited for after its caller has closed it.
    pub(crate) abandoned: Duration,
    /// The signal that tells the process to close its connections.
    pub(crate) signal: Option<String>,
}

/// `ExecStop=`: releases the slots, tells the process to close its connections, and waits until no request is in flight.
/// Requests in flight after the time limit are logged and are no error: the process has to stop. systemd passes the main
/// process in `$MAINPID`, if it still runs.
///
/// # Errors
/// If the slots cannot be released.
pub(crate) fn stop(
    layout: &Layout,
    manager: Manager,
    deployment: &Deployment,
    part: Part,
    drain: &Drain,
    main_pid: Option<u32>,
) -> Result<()> {
    let start = Instant::now();
    leave_namespace(layout, deployment);
    let before = state::read(layout, deployment);
    let leaves = match part {
        // Without a record, for which there was no space, it has left all the same.
        Part::Drain => before.as_ref().is_none_or(|runtime| runtime.state == State::Leaving),
        Part::Leave | Part::All => leave(layout, manager, deployment, main_pid)?,
    };
    if !leaves {
        return Ok(());
    }
    let (network, checks) = before.map(|runtime| (runtime.network, runtime.checks)).unwrap_or_default();
    let (model, network) = (deployment::model(layout, deployment).ok(), network.as_deref());
    if let Some(model) = &model {
        start_bridges(layout, manager, deployment, model);
        retire_connections(layout, manager, model);
    }
    if part == Part::Leave || drain.signal.is_some() {
        // Without its model nothing tells what stands behind its socket.
        let listeners = model.iter().flat_map(|model| model.listen.all());
        listeners.for_each(|listener| await_arrival(layout, deployment, listener, network));
    }
    if part == Part::Leave {
        return Ok(());
    }
    if let (Some(signal), Some(model)) = (&drain.signal, &model) {
        tell(layout, manager, deployment, model, signal);
    }
    if part == Part::Drain {
        // Requests and the drain hook have their time from now on.
        if let Err(error) = state::set_state(layout, deployment, State::Leaving) {
            note!("{}: the drain hook has less time: {error}", deployment.unit());
        }
    }
    let limits = Limits { deadline: start + drain.timeout, abandoned: drain.abandoned, checks };
    let told = |outcome| tell_outcome(deployment, outcome, drain.timeout, &limits);
    for bound in bound_names(layout, deployment, model.as_ref()) {
        told(drain::wait(&layout.at(&bound), network, &limits));
    }
    // A process that nobody has told to stop accepting would go on: other deployments take callers of the same socket.
    let stops_accepting = part == Part::Drain || drain.signal.is_some();
    if let Some(model) = model.filter(|_| stops_accepting) {
        told(passed::wait(&model, &limits));
    }
    Ok(())
}

/// Lets the proxy close the connections that it keeps for further requests: the deployment has left its slots, and on those its
/// callers would come as before.
fn retire_connections(layout: &Layout, manager: Manager, model: &Service) {
    if !model.routes.iter().any(Route::keeps_connections) {
        return;
    }
    let driver = Chosen::of_host(layout).driver.filter(|driver| driver.retires_by_reload());
    if let Some(Err(error)) = driver.map(|driver| manager.ask_reload(driver.unit())) {
        note!("the proxy keeps its connections until they are idle: {error}");
    }
}

/// Releases the slots of a deployment that stops for good; returns false for one that does not.
fn leave(layout: &Layout, manager: Manager, deployment: &Deployment, main_pid: Option<u32>) -> Result<bool> {
    if main_pid.is_none() && !manager.is_to_stop(&deployment.unit()) {
        // The process has exited by itself: systemd restarts it, and callers wait as after a crash.
        return Ok(false);
    }
    if is_idle(layout, manager, deployment) {
        // It keeps its slots: a connection to its socket starts it again.
        state::set_state(layout, deployment, State::Resting)?;
        return Ok(false);
    }
    if let Err(error) = state::set_state(layout, deployment, State::Leaving) {
        // Without space for the record, its directory goes, so that it cannot hold slots. It has to drain all the same.
        note!("{}: {error}", deployment.unit());
        state::remove(layout, deployment)?;
    }
    if service_stops(layout, manager, deployment) {
        // The siblings stop, too: they would pass the slots on at once.
        slot::withdraw(layout, deployment)?;
        return Ok(true);
    }
    slot::pass_on(layout, &deployment.service)?;
    if slot::held(layout, &deployment.service).iter().any(|(_, holder)| holder == deployment) {
        enqueue(layout, manager, deployment);
        slot::withdraw(layout, deployment)?;
    }
    Ok(true)
}

/// Waits until the process has accepted all who have connected to a listener, and logs if it may not have.
fn await_arrival(layout: &Layout, deployment: &Deployment, listener: Listener, network: Option<&str>) {
    let bound = layout.at(&bound_name(layout, deployment, listener));
    let behind = listener.is_bridged.then(|| Endpoint::of(layout, deployment, listener).ok()).flatten();
    match arrival::wait(&bound, network, behind.as_ref()) {
        Ok(true) => {}
        Ok(false) => note!("{}: its process has not accepted all who have connected", deployment.unit()),
        Err(error) => note!("{}: whether callers wait to be accepted is unknown: {error}", deployment.unit()),
    }
}

/// Starts bridges whose first callers have come just now: systemd would start them when the deployment has stopped, which they
/// are ordered after, while the deployment waits for its callers.
fn start_bridges(layout: &Layout, manager: Manager, deployment: &Deployment, model: &Service) {
    for listener in model.listen.bridged() {
        let has_callers = connections::in_flight(&layout.at(&bound_name(layout, deployment, listener)));
        if has_callers.is_ok_and(|in_flight| in_flight.queued > 0)
            && let Err(error) = manager.ask_start_now(&deployment.bridge_unit(listener.name))
        {
            note!("{}: its first callers may wait: {error}", deployment.unit());
        }
    }
}

/// Sends the process the signal that it closes its connections on; an error is logged.
fn tell(layout: &Layout, manager: Manager, deployment: &Deployment, model: &Service, signal: &str) {
    let engine = &model.process.engine;
    let sent = match engine.is_privileged() {
        true => signal::send(layout, deployment, engine, signal).map_err(|error| error.to_string()),
        false => manager.signal_main(&deployment.unit(), signal).map_err(|error| error.to_string()),
    };
    if let Err(error) = sent {
        note!("{}: could not send {signal}: {error}", deployment.unit());
    }
}

/// Logs if requests may be in flight after a wait.
fn tell_outcome(
    deployment: &Deployment,
    outcome: std::result::Result<InFlight, DrainError>,
    timeout: Duration,
    limits: &Limits,
) {
    match outcome {
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

/// Returns the name that bind(2) got for the socket at which callers reach a listener: the kernel lists sockets by it.
pub(crate) fn bound_name(layout: &Layout, deployment: &Deployment, listener: Listener) -> Utf8PathBuf {
    match listener.has_socket() {
        true => deployment.socket(layout, listener.name),
        false => deployment.own_socket(layout, listener.name),
    }
}

/// Lists the names that bind(2) got for the sockets that callers reach; where the model is not known, that of a socket of
/// systemd's.
pub(crate) fn bound_names(layout: &Layout, deployment: &Deployment, model: Option<&Service>) -> Vec<Utf8PathBuf> {
    match model {
        Some(model) => model.listen.all().map(|listener| bound_name(layout, deployment, listener)).collect(),
        None => vec![deployment.socket(layout, None)],
    }
}

/// Returns whether a deployment stops because it was idle for long enough: its callers' socket stays active then.
fn is_idle(layout: &Layout, manager: Manager, deployment: &Deployment) -> bool {
    let model = deployment::model(layout, deployment);
    model.is_ok_and(|model| model.listen.idle_timeout.is_some())
        && state_and_job(manager, &deployment.socket_unit(None))
            .is_some_and(|(state, has_job)| state == "active" && !has_job)
}

/// Returns `ActiveState=` of a unit, and whether it has a job.
fn state_and_job(manager: Manager, unit: &str) -> Option<(systemd::State, bool)> {
    let mut properties = manager.show(unit, &["ActiveState", "Job"]).ok()?;
    let has_job = properties.get("Job").is_some_and(|job| has_job(job));
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
