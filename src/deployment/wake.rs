//! `conductor deployment _relay DEPLOYMENTDIR -- COMMAND…`: the bridge of a deployment that rests when nobody calls.
//!
//! The first caller starts both. systemd would start the bridge only when the deployment is up: a process of another user,
//! with its own filters, takes a third of all the time that the caller waits. So it starts beside the deployment and waits here.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::deployment;
use crate::deployment::endpoint::Endpoint;
use crate::deployment::state::{self, Runtime, State};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::names::Deployment;
use crate::systemd::Manager;

/// Between looks at what a deployment writes down.
const PAUSE: Duration = Duration::from_millis(1);
/// Until systemd is asked what keeps the deployment, and between further questions: it restarts one after 100 ms at the
/// earliest.
const SOON: Duration = Duration::from_millis(200);
const BETWEEN: Duration = Duration::from_millis(40);
/// By then a start that was asked for has begun.
const LATE: Duration = Duration::from_millis(500);

/// Becomes systemd-socket-proxyd(8) when the deployment is ready.
///
/// # Errors
/// Why it did not.
pub(crate) fn relay(
    layout: &Layout,
    manager: Manager,
    deployment: &Deployment,
    command: &[String],
) -> Result<Infallible> {
    wait(layout, manager, deployment);
    let listen = deployment::model(layout, deployment)?.listen;
    let endpoint = Endpoint::of(layout, deployment, &listen)?;
    let [program, options @ ..] = command else { return Err(Error("there is no command".to_owned())) };
    let error = Command::new(program).args(options).arg(endpoint.to_string()).exec();
    Err(Error(format!("{program} cannot be run: {error}")))
}

/// Returns also when a start has failed: then callers are refused.
fn wait(layout: &Layout, manager: Manager, deployment: &Deployment) {
    let since = Instant::now();
    // What is written down may still be of the process that is about to end.
    while let Some(state) = state(manager, deployment) {
        match state.as_str() {
            "active" => return,
            "deactivating" => sleep(PAUSE),
            _ => break,
        }
    }
    let (mut starts, mut asked) = (false, since);
    while !state::read(layout, deployment).as_ref().is_some_and(serves) {
        if asked.elapsed() > if asked == since { SOON } else { BETWEEN } {
            asked = Instant::now();
            let detail = manager.property(&deployment.unit(), "SubState").unwrap_or_default();
            let has_failed = ["failed", "dead", "auto-restart", "auto-restart-queued"].contains(&detail.as_str());
            if detail == "running" || has_failed && (starts || since.elapsed() > LATE) {
                return;
            }
            starts |= !has_failed && !detail.is_empty();
        }
        sleep(PAUSE);
    }
}

/// `ActiveState=`
fn state(manager: Manager, deployment: &Deployment) -> Option<String> {
    manager.states(&[deployment.unit()]).ok()?.pop()
}

/// Whether it is ready, and has not been killed since.
fn serves(runtime: &Runtime) -> bool {
    let runs = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    runtime.state == State::Ready && runtime.main_pid.is_none_or(runs)
}
