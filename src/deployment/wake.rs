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

use super::endpoint::Endpoint;
use super::runtime::{self, State};
use super::{Deployment, runtime::Runtime};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::systemd::Manager;

/// Between looks at what a deployment writes down.
const PAUSE: Duration = Duration::from_millis(1);
/// From then on looks are as rare as this, and systemd is asked each time.
const LONG: Duration = Duration::from_secs(1);
const RARELY: Duration = Duration::from_millis(100);

/// Becomes systemd-socket-proxyd(8) when the deployment is ready. One that cannot start stops its bridge.
///
/// # Errors
/// Why it did not.
pub fn relay(layout: &Layout, manager: Manager, deployment: &Deployment, command: &[String]) -> Result<Infallible> {
    wait(layout, manager, deployment);
    let listen = deployment.model(layout)?.listen;
    let endpoint = Endpoint::of(layout, deployment, &listen)?;
    let [program, options @ ..] = command else { return Err(Error("there is no command".to_owned())) };
    let error = Command::new(program).args(options).arg(endpoint.to_string()).exec();
    Err(Error(format!("{program} cannot be run: {error}")))
}

fn wait(layout: &Layout, manager: Manager, deployment: &Deployment) {
    let since = Instant::now();
    let mut stops = true;
    loop {
        let is_long = since.elapsed() > LONG;
        if stops || is_long {
            match state(manager, deployment).as_deref() {
                Some("active") => return,
                // What is written down may still be of the process that is about to end.
                Some("deactivating") => {}
                _ => stops = false,
            }
        }
        if !stops && runtime::read(layout, deployment).as_ref().is_some_and(serves) {
            return;
        }
        sleep(if is_long { RARELY } else { PAUSE });
    }
}

fn state(manager: Manager, deployment: &Deployment) -> Option<String> {
    manager.states(&[deployment.unit()]).ok()?.pop()
}

/// Whether it is ready, and has not been killed since.
fn serves(runtime: &Runtime) -> bool {
    let runs = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    runtime.state == State::Ready && runtime.main_pid.is_none_or(runs)
}
