//! `conductor deployment _relay DEPLOYMENTDIR -- COMMAND…`: the bridge of a deployment that stops while it is idle.
//!
//! A client's connection starts the bridge and the deployment. To start the bridge after the deployment would take a
//! third of the time that the client waits, because the bridge has another user and system call filter. So both start
//! at the same time, and the bridge waits here for the deployment.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::deployment::endpoint;
use crate::deployment::state::{self, Runtime, State};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::names::Deployment;
use crate::systemd::Manager;

/// The pause between two looks at a deployment's runtime data.
const PAUSE: Duration = Duration::from_millis(1);
/// The time until the first query of the unit's state: systemd restarts a unit after 100 ms or more, `RestartSec=`.
const FIRST_QUERY: Duration = Duration::from_millis(200);
/// The time between two queries of the unit's state.
const NEXT_QUERY: Duration = Duration::from_millis(40);
/// The time within which systemd begins the start of a queued job.
const START_BEGINS: Duration = Duration::from_millis(500);

/// Waits until the deployment is ready and becomes `command`, systemd-socket-proxyd(8); with `adds_address` the address
/// of a deployment on TCP, which is known only now, is its last argument. It has the bridge's user, who reads nothing of
/// the generation.
///
/// # Errors
/// If the address is unknown or the command cannot be run.
pub(crate) fn relay(
    layout: &Layout,
    manager: Manager,
    deployment: &Deployment,
    adds_address: bool,
    command: &[String],
) -> Result<Infallible> {
    wait(layout, manager, deployment);
    let address = if adds_address { Some(endpoint::address(layout, deployment)?.to_string()) } else { None };
    let [program, options @ ..] = command else { return Err(Error("there is no command".to_owned())) };
    let error = Command::new(program).args(options).args(address).exec();
    Err(Error(format!("{program} cannot be run: {error}")))
}

/// Waits until the deployment is ready, or until its start has failed: clients are refused then.
fn wait(layout: &Layout, manager: Manager, deployment: &Deployment) {
    let since = Instant::now();
    // While the unit deactivates, its runtime data is that of the process that stops.
    while let Some(state) = state(manager, deployment) {
        match state.as_str() {
            "active" => return,
            "deactivating" => sleep(PAUSE),
            _ => break,
        }
    }
    let (mut has_begun, mut queried) = (false, since);
    while !state::read(layout, deployment).as_ref().is_some_and(serves) {
        if queried.elapsed() > if queried == since { FIRST_QUERY } else { NEXT_QUERY } {
            queried = Instant::now();
            let detail = manager.property(&deployment.unit(), "SubState").unwrap_or_default();
            let has_failed = ["failed", "dead", "auto-restart", "auto-restart-queued"].contains(&detail.as_str());
            if detail == "running" || has_failed && (has_begun || since.elapsed() > START_BEGINS) {
                return;
            }
            has_begun |= !has_failed && !detail.is_empty();
        }
        sleep(PAUSE);
    }
}

/// Returns `ActiveState=` of the deployment's unit.
fn state(manager: Manager, deployment: &Deployment) -> Option<String> {
    manager.states(&[deployment.unit()]).ok()?.pop()
}

/// Returns whether a deployment is ready and its main process still exists.
fn serves(runtime: &Runtime) -> bool {
    let runs = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    runtime.state == State::Ready && runtime.main_pid.is_none_or(runs)
}
