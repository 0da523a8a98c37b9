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
use crate::systemd::{Manager, has_job};

/// The pause between two looks at a deployment's runtime data.
const PAUSE: Duration = Duration::from_millis(1);
/// The time between the first and the second query of the unit's state, within which most deployments are ready.
const SECOND_QUERY: Duration = Duration::from_millis(200);
/// The time between two later queries.
const NEXT_QUERY: Duration = Duration::from_millis(40);
/// Properties of the unit, org.freedesktop.systemd1(5).
const PROPERTIES: [&str; 4] = ["ActiveState", "SubState", "Job", "InvocationID"];

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
    let address = if adds_address { Some(endpoint::address(layout, deployment, None)?.to_string()) } else { None };
    let [program, options @ ..] = command else { return Err(Error("there is no command".to_owned())) };
    let error = Command::new(program).args(options).args(address).exec();
    Err(Error(format!("{program} cannot be run: {error}")))
}

/// Waits until the deployment is ready, or until its start has failed: clients are refused then.
fn wait(layout: &Layout, manager: Manager, deployment: &Deployment) {
    let (mut first, mut until_query) = (None, SECOND_QUERY);
    loop {
        let shown = manager.show(&deployment.unit(), &PROPERTIES).unwrap_or_default();
        let property = |name: &str| shown.get(name).map_or("", String::as_str);
        // The job that starts it is there before the bridge.
        let has_job = has_job(property("Job"));
        let invocation = first.get_or_insert_with(|| property("InvocationID").to_owned());
        match property("ActiveState") {
            "active" | "inactive" | "failed" if !has_job => return,
            // Its runtime data is that of the process before.
            "active" | "inactive" | "failed" | "deactivating" => {
                sleep(PAUSE);
                continue;
            }
            // The process before may have crashed; this start, too, has an ID of its own.
            "activating"
                if property("SubState").starts_with("auto-restart") && *invocation != property("InvocationID") =>
            {
                return;
            }
            _ => {}
        }
        let queried = Instant::now();
        while queried.elapsed() < until_query {
            if state::read(layout, deployment).as_ref().is_some_and(serves) {
                return;
            }
            sleep(PAUSE);
        }
        until_query = NEXT_QUERY;
    }
}

/// Returns whether a deployment is ready and its main process still exists.
fn serves(runtime: &Runtime) -> bool {
    let runs = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    runtime.state == State::Ready && runtime.main_pid.is_none_or(runs)
}
