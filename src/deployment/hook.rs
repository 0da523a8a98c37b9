//! `conductor deployment _start|_check|_cleanup DEPLOYMENTDIR`: the hooks that a deployment's unit runs after its process has
//! started, and after it has ended.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::deployment;
use crate::deployment::connections;
use crate::deployment::endpoint::Endpoint;
use crate::deployment::exit_status::ExitStatus;
use crate::deployment::health::{self, Cause, Failed};
use crate::deployment::state::{self, Failure, FailureKind, Runtime, State};
use crate::deployment::stop::{bound_name, enqueue, leave_namespace, remove_leftovers};
use crate::deployment::{namespace, port, prepare, queue, slot};
use crate::engine::network;
use crate::engine::pod;
use crate::engine::pod::probe::Readiness;
use crate::error::{Error, Result};
use crate::layout::{Layout, Scope};
use crate::live;
use crate::log::note;
use crate::model::{Check, Engine, Health, ListenKind, Listener, START_TIME, Service};
use crate::names::Deployment;
use crate::systemd::Manager;

/// A deployment that was ready for this long has served; one that crashes sooner waits longer each time.
const SERVED: Duration = Duration::from_secs(1);

/// A part of `_start`: a declared post-start hook runs between health and slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Finds the address that podman's network gave it, which only root may do.
    Address,
    Health,
    Slots,
    All,
}

/// `ExecStartPost=`: waits until the deployment is healthy, then takes its slots. systemd passes the main process in
/// `$MAINPID`.
///
/// # Errors
/// If the deployment is not healthy within `timeout`, with the check's last answer.
pub(crate) fn start(
    layout: &Layout,
    manager: Manager,
    deployment: &Deployment,
    part: Part,
    timeout: Duration,
    main_pid: Option<u32>,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let model = deployment::model(layout, deployment)?;
    // Where the service's user runs the check, another part writes the record.
    let records = match part {
        Part::Address | Part::All => true,
        Part::Slots => !model.is_asked_for_address(),
        Part::Health => false,
    };
    if records {
        let before = state::read(layout, deployment).map(|runtime| runtime.state);
        record(layout, deployment, &model, main_pid)?;
        if matches!(before, Some(State::Ready | State::Leaving)) {
            stop_old_bridges(manager, deployment, &model);
        }
    }
    if matches!(part, Part::Health | Part::All) {
        wait_until_healthy(layout, deployment, &model, main_pid, deadline)?;
    }
    if matches!(part, Part::Slots | Part::All) {
        wait_until_bound(layout, deployment, &model, main_pid, deadline)?;
        if let Some(holder) = port::holder(layout, deployment, &model)? {
            return Err(noted(layout, deployment, lost_port(deployment, &holder.to_string())));
        }
        hold_ports(layout, deployment, &model, main_pid);
        for listener in model.listen.all().filter(|listener| listener.kind == ListenKind::Unix) {
            let opened = prepare::open_to_callers(layout, deployment, listener);
            opened.map_err(|error| noted(layout, deployment, unready(error.to_string())))?;
        }
        state::set_ready(layout, deployment, left_by_checks(layout, deployment, &model))?;
        queue::tell_if_full(layout, &deployment.service);
        slot::settle(layout, &deployment.service)?;
        if let Err(error) = queue::close(layout, manager, &deployment.service) {
            note!("{}: could not close the queue of its callers: {error}", deployment.unit());
        }
    }
    Ok(())
}

/// Lists the connections that nobody but the health checks can have made, which have closed them; what the kernel does not
/// tell is left out.
fn left_by_checks(layout: &Layout, deployment: &Deployment, model: &Service) -> BTreeSet<u32> {
    // Behind a bridge they connect to the process itself.
    let direct = model.listen.all().filter(|listener| !listener.is_bridged && is_asked(model, *listener));
    let bound = direct.map(|listener| layout.at(&bound_name(layout, deployment, listener)));
    bound.flat_map(|bound| connections::list(&bound).map(|found| found.abandoned).unwrap_or_default()).collect()
}

/// Returns whether a check has connected to a listener.
fn is_asked(model: &Service, listener: Listener) -> bool {
    let is_of_check = !matches!(model.health.check, Check::Notify | Check::Start { .. });
    is_bound_late(model, listener) || is_of_check && listener.name == model.health.listener.as_ref()
}

/// Returns whether a deployment with further listeners is not ready before the process has bound this one, which its check does
/// not ask.
fn is_bound_late(model: &Service, listener: Listener) -> bool {
    let is_of_check = matches!(model.health.check, Check::Http { .. } | Check::Tcp);
    let is_asked_by_check = is_of_check && listener.name == model.health.listener.as_ref();
    let has_others = listener.name.is_some() || model.health.listener.is_some();
    has_others && listener.kind != ListenKind::Activation && !is_asked_by_check
}

/// `ExecStartPost=`, as the service's user: waits until the declared command finds the deployment healthy. That user reads
/// nothing of the generation, so that all of the check is given.
///
/// # Errors
/// If the deployment is not healthy within `timeout`, with the check's last answer.
pub(crate) fn check(deployment: &Deployment, health: &Health, timeout: Duration, main_pid: Option<u32>) -> Result<()> {
    // A port that somebody else holds shows when it is looked at for the last time.
    let outcome = health::wait(health, Endpoint::Nowhere, main_pid, Instant::now() + timeout, &|| None);
    outcome.map(drop).map_err(|failed| Error(format!("{} is not healthy: {failed}", deployment.unit())))
}

fn wait_until_healthy(
    layout: &Layout,
    deployment: &Deployment,
    model: &Service,
    main_pid: Option<u32>,
    deadline: Instant,
) -> Result<()> {
    for (health, endpoint) in checks(layout, deployment, model)? {
        wait_for(layout, deployment, model, (&health, endpoint), main_pid, deadline)?;
    }
    Ok(())
}

/// Waits until the process has bound the further listeners that its check does not ask: callers of theirs come as soon as it is
/// ready.
fn wait_until_bound(
    layout: &Layout,
    deployment: &Deployment,
    model: &Service,
    main_pid: Option<u32>,
    deadline: Instant,
) -> Result<()> {
    let check = Health { check: Check::Tcp, retries: None, ..model.health.clone() };
    for listener in model.listen.all().filter(|listener| is_bound_late(model, *listener)) {
        let endpoint = Endpoint::of(layout, deployment, listener)?;
        let holder = || holder(layout, deployment, model);
        let Err(failed) = health::wait(&check, endpoint, main_pid, deadline, &holder) else { continue };
        let failure = failure_of(deployment, &failed);
        let told = port::told(listener);
        let why = failure.why.map(|why| format!("{why}; its process has to listen on {told}"));
        return Err(noted(layout, deployment, Failure { why, ..failure }));
    }
    Ok(())
}

/// Says who else listens on a port of a deployment. An error shows when the ports are looked at for the last time.
fn holder(layout: &Layout, deployment: &Deployment, model: &Service) -> Option<String> {
    port::holder(layout, deployment, model).ok().flatten().map(|holder| holder.to_string())
}

/// Returns the container in which checks and hooks of a running deployment run.
///
/// # Errors
/// If its model or the record of its pod cannot be read.
pub(crate) fn container(layout: &Layout, deployment: &Deployment) -> Result<String> {
    match deployment::model(layout, deployment)?.process.engine {
        Engine::Pod(_) => Ok(pod::prepared(layout, deployment)?.container),
        Engine::Exec { .. } | Engine::Container(_) => Ok(deployment.to_string()),
    }
}

/// Lists the checks that a deployment has to pass: those of its pod's file, if its declaration has none.
fn checks(layout: &Layout, deployment: &Deployment, model: &Service) -> Result<Vec<(Health, Endpoint)>> {
    let own = Endpoint::asked(layout, deployment, &model.listen, model.health.listener.as_ref())?;
    let probes = match model.health.check {
        Check::Probes => pod::prepared(layout, deployment)?.probes,
        _ => Vec::new(),
    };
    if probes.is_empty() {
        let check = match &model.health.check {
            Check::Probes if !model.listen.has_callers() => Check::Start { time: START_TIME },
            check => check.clone(),
        };
        return Ok(vec![(Health { check, ..model.health.clone() }, own)]);
    }
    let with_endpoint = |probe: Readiness| {
        let Some(port) = probe.port else { return Ok((probe.health, own.clone())) };
        let network = match probe.pod == deployment.to_string() {
            true => network::find(layout, deployment, &model.process.engine)?,
            false => network::of_pod(&probe.pod)?,
        };
        let unknown = || Error(format!("{}: podman gave it no address to ask for its health", probe.pod));
        let address = network.address.ok_or_else(unknown)?;
        Ok((probe.health, Endpoint::Tcp(SocketAddr::from((address, port)))))
    };
    probes.into_iter().map(with_endpoint).collect()
}

fn wait_for(
    layout: &Layout,
    deployment: &Deployment,
    model: &Service,
    (health, endpoint): (&Health, Endpoint),
    main_pid: Option<u32>,
    deadline: Instant,
) -> Result<()> {
    let holder = || holder(layout, deployment, model);
    let Err(failed) = health::wait(health, endpoint, main_pid, deadline, &holder) else { return Ok(()) };
    let failure = failure_of(deployment, &failed);
    let is_late = matches!(failed.cause, Cause::TimedOut | Cause::OutOfRetries);
    // What the kernel does not tell is left out.
    let elsewhere = if is_late { port::elsewhere(layout, deployment, model).ok().flatten() } else { None };
    let why = failure.why.map(|why| elsewhere.map_or(why.clone(), |told| format!("{why}; {told}")));
    Err(noted(layout, deployment, Failure { why, ..failure }))
}

/// `ExecStartPost=`, as root: waits until the declared command finds the deployment healthy, in its container.
///
/// # Errors
/// If the deployment is not healthy within `timeout`, with the check's last answer.
pub(crate) fn check_inside(
    layout: &Layout,
    deployment: &Deployment,
    health: &Health,
    timeout: Duration,
    main_pid: Option<u32>,
) -> Result<()> {
    let outcome = health::wait(health, Endpoint::Nowhere, main_pid, Instant::now() + timeout, &|| None);
    outcome.map(drop).map_err(|failed| noted(layout, deployment, failure_of(deployment, &failed)))
}

/// Returns the failure of a start whose health check did not pass.
fn failure_of(deployment: &Deployment, failed: &Failed) -> Failure {
    let unhealthy = format!("{} is not healthy: {failed}", deployment.unit());
    match failed.cause {
        Cause::Taken => lost_port(deployment, &failed.to_string()),
        Cause::ProcessExited => Failure::of_this_start(FailureKind::Ended, Some(unhealthy)),
        Cause::NotCarriedOut | Cause::TimedOut | Cause::OutOfRetries => unready(unhealthy),
    }
}

/// Returns why a deployment is not ready, for a reason of its own.
fn unready(why: String) -> Failure {
    Failure::of_this_start(FailureKind::Unready, Some(why))
}

/// Returns why a deployment is not ready: any local user can bind its port before its process does.
fn lost_port(deployment: &Deployment, holder: &str) -> Failure {
    let why = format!("{} is not ready: {holder}", deployment.unit());
    Failure::of_this_start(FailureKind::LostPort, Some(why))
}

/// Returns a failure as an error, and notes it for the rollout.
fn noted(layout: &Layout, deployment: &Deployment, failure: Failure) -> Error {
    // The journal has it too.
    let _ = state::write_failure(layout, deployment, &failure);
    Error(failure.why.unwrap_or_default())
}

/// Stops bridges that lead to the addresses of the process before: `_cleanup`, which does that, was killed, too. Otherwise a
/// bridge waits for this start.
fn stop_old_bridges(manager: Manager, deployment: &Deployment, model: &Service) {
    let bridges = deployment::bridges(deployment, Some(model));
    let states = manager.states(&bridges).unwrap_or_default();
    for (bridge, _) in bridges.iter().zip(states).filter(|(_, state)| state == "active") {
        manager.ask_stop(bridge);
    }
}

/// Makes systemd hold the ports of a deployment that serves. Where it cannot, the deployment serves all the same.
fn hold_ports(layout: &Layout, deployment: &Deployment, model: &Service, main_pid: Option<u32>) {
    let Some(main_pid) = main_pid.filter(|_| layout.scope == Scope::System) else { return };
    if let Err(error) = port::hold(layout, deployment, model, main_pid) {
        note!("{}: its ports are not held while it restarts: {error}", deployment.unit());
    }
}

/// Records that a deployment starts, and where it listens, if that is known.
fn record(layout: &Layout, deployment: &Deployment, model: &Service, main_pid: Option<u32>) -> Result<()> {
    state::prepare(layout, deployment)?;
    let of_podman = prepare::find_address(layout, deployment, model)?;
    let bound_itself = model.listen.has(ListenKind::Unix).then_some(main_pid).flatten();
    let network = of_podman.or_else(|| bound_itself.and_then(namespace::network_of));
    let runtime = Runtime::new(layout, deployment, &model.listen, network, main_pid);
    Ok(state::write(layout, deployment, &runtime)?)
}

/// Notes why a deployment was not ready, unless another hook knew: its process reports that itself, so that systemd ran no
/// check, or it ended. And that somebody has its port: a process that cannot bind it may exit before any check.
fn note_unready(layout: &Layout, deployment: &Deployment, result: &str) {
    let Ok(model) = deployment::model(layout, deployment) else { return };
    let known = state::failure(layout, deployment).filter(Failure::is_of_this_start);
    let is_lost = known.as_ref().is_some_and(Failure::lost_port);
    if let Some(holder) = port::holder(layout, deployment, &model).ok().flatten().filter(|_| !is_lost) {
        note!("{}", noted(layout, deployment, lost_port(deployment, &holder.to_string())));
        return;
    }
    let exit = ExitStatus::from_environment();
    // One that somebody stops meanwhile is killed.
    let has_exited = exit.as_ref().is_some_and(|exit| exit.code == "exited");
    let mut failure = match known {
        Some(known) => known,
        None if result == "success" && !has_exited => return,
        None => of_result(deployment, &model, result),
    };
    if failure.kind == FailureKind::Ended {
        failure.exit = exit;
    }
    // Only the rollout reads this note; systemd has logged the same.
    let _ = state::write_failure(layout, deployment, &failure);
}

/// Returns the failure of a start of which systemd alone knows, by `$SERVICE_RESULT` of systemd.exec(5).
fn of_result(deployment: &Deployment, model: &Service, result: &str) -> Failure {
    let limit = model.start_limit();
    let why = |what: String| Some(format!("{} is not healthy: READY=1 by sd_notify {what}", deployment.unit()));
    match (&model.health.check, result) {
        (Check::Notify, "timeout") => {
            Failure::of_this_start(FailureKind::Unready, why(format!("did not come within {limit:?}")))
        }
        (Check::Notify, "protocol") => {
            Failure::of_this_start(FailureKind::Ended, why("did not come before the main process exited".to_owned()))
        }
        _ => Failure::of_this_start(FailureKind::Ended, None),
    }
}

/// Returns whether the declaration limits how often the deployment may start.
fn has_start_limit(layout: &Layout, deployment: &Deployment) -> bool {
    let model = live::model(layout, &deployment.service, &deployment.generation);
    model.is_ok_and(|model| model.systemd.has_start_limit())
}

/// Stops the bridges, which lead to a process that is gone: new connections wait for the next one. Only after that may others
/// bind the ports that they lead to.
fn leave_bridges(layout: &Layout, manager: Manager, deployment: &Deployment) {
    let model = deployment::model(layout, deployment).ok();
    let bridges = deployment::bridges(deployment, model.as_ref());
    if !model.is_some_and(|model| model.binds_port()) {
        bridges.iter().for_each(|bridge| manager.ask_stop(bridge));
        return;
    }
    let stopped = manager.stop(&bridges).map_err(|error| error.to_string());
    if let Err(error) = stopped.and_then(|()| port::release().map_err(|error| error.to_string())) {
        note!("{}: {error}", deployment.unit());
    }
}

/// `ExecStopPost=`, with systemd's `$SERVICE_RESULT`: also after a crash. Removes everything of a deployment that stops
/// for good; gives the slots of one that crashed to a ready sibling, if there is one, until systemd restarts it.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn cleanup(layout: &Layout, manager: Manager, deployment: &Deployment, result: &str) -> Result<()> {
    leave_namespace(layout, deployment);
    let state = state::read(layout, deployment).map(|runtime| runtime.state);
    if state == Some(State::Resting) {
        return Ok(());
    }
    leave_bridges(layout, manager, deployment);
    if state != Some(State::Leaving) || result != "success" {
        // ExecStop= did not run or did not finish.
        remove_leftovers(layout, deployment);
    }
    if !matches!(state, Some(State::Ready | State::Leaving)) {
        note_unready(layout, deployment, result);
    }
    if state == Some(State::Leaving) {
        slot::withdraw(layout, deployment)?;
        return Ok(state::remove(layout, deployment)?);
    }
    if state == Some(State::Ready) && state::age(layout, deployment) >= SERVED && !has_start_limit(layout, deployment) {
        // systemd never resets a unit's count of restarts, and from 254 on each waits longer than the last. That is for
        // processes that cannot run: for one that had served the count starts again.
        manager.reset_failed(&[deployment.unit()]);
    }
    state::set_state(layout, deployment, State::Starting)?;
    if state == Some(State::Ready)
        && deployment::model(layout, deployment).is_ok_and(|model| !model.listen.all().all(Listener::has_socket))
    {
        // A socket of its own is gone with its process; in one of systemd's its callers wait.
        enqueue(layout, manager, deployment);
    }
    Ok(slot::pass_on(layout, &deployment.service)?)
}
