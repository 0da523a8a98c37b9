//! A deployment's runtime data, in its DEPLOYMENTDIR.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::atomic;
use crate::layout::Layout;
use crate::model::ServiceName;

const RUNTIME: &str = "runtime.json";
const FAILURE: &str = "failure";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not healthy yet, or crashed and to be restarted.
    Starting,
    /// May hold slots.
    Ready,
    /// Stopping for good: takes no slot any more.
    Leaving,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    pub state: State,
    /// The unix socket on which it answers.
    pub endpoint: Utf8PathBuf,
    pub main_pid: Option<u32>,
    /// Seconds since 1970.
    pub started_at: u64,
}

impl Runtime {
    pub fn new(layout: &Layout, deployment: &Deployment, main_pid: Option<u32>) -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { state: State::Starting, endpoint: deployment.socket(layout), main_pid, started_at }
    }
}

/// Creates the DEPLOYMENTDIR with its link to the generation.
///
/// # Errors
/// What the file system refuses.
pub fn prepare(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
    let dir = layout.at(&deployment.dir(layout));
    fs::create_dir_all(&dir)?;
    let snapshot = layout.snapshot(&deployment.service, &deployment.generation);
    match std::os::unix::fs::symlink(&snapshot, dir.join("generation")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// # Errors
/// What the file system refuses.
pub fn write(layout: &Layout, deployment: &Deployment, runtime: &Runtime) -> io::Result<()> {
    let path = layout.at(&deployment.dir(layout)).join(RUNTIME);
    atomic::write(&path, &serde_json::to_vec(runtime)?)
}

/// None if the deployment has written nothing yet.
pub fn read(layout: &Layout, deployment: &Deployment) -> Option<Runtime> {
    let bytes = fs::read(layout.at(&deployment.dir(layout)).join(RUNTIME)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Sets the state, where there is runtime data.
///
/// # Errors
/// What the file system refuses.
pub fn set_state(layout: &Layout, deployment: &Deployment, state: State) -> io::Result<()> {
    match read(layout, deployment) {
        Some(runtime) => write(layout, deployment, &Runtime { state, ..runtime }),
        None => Ok(()),
    }
}

/// Leaves word for the rollout why a start failed.
///
/// # Errors
/// What the file system refuses.
pub fn write_failure(layout: &Layout, deployment: &Deployment, why: &str) -> io::Result<()> {
    atomic::write(&layout.at(&deployment.dir(layout)).join(FAILURE), why.as_bytes())
}

pub fn failure(layout: &Layout, deployment: &Deployment) -> Option<String> {
    fs::read_to_string(layout.at(&deployment.dir(layout)).join(FAILURE)).ok()
}

/// Removes the DEPLOYMENTDIR, and a file that systemd forgets: versions 252 to 257 write what
/// LogExtraFields= says to one name and unlink another. With every generation /run would fill.
///
/// # Errors
/// What the file system refuses.
pub fn remove(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
    let forgotten = format!("/run/systemd/units/log-extra-fields:{}", deployment.unit());
    let _ = fs::remove_file(layout.at(Utf8Path::new(&forgotten)));
    atomic::remove_dir(&layout.at(&deployment.dir(layout)))
}

/// All deployments of a service that have a directory, in order.
///
/// # Errors
/// A directory that cannot be listed.
pub fn list(layout: &Layout, name: &ServiceName) -> io::Result<Vec<Deployment>> {
    let dir = layout.at(&layout.deployments());
    let entries = match dir.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut deployments = Vec::new();
    for entry in entries {
        let deployment = Deployment::from_dir(Utf8Path::new(entry?.file_name()));
        deployments.extend(deployment.filter(|deployment| deployment.service == *name));
    }
    deployments.sort();
    Ok(deployments)
}
