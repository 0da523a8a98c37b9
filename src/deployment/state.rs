//! A deployment's runtime data, in its DEPLOYMENTDIR.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::deployment::endpoint::Endpoint;
use crate::deployment::exit_status::ExitStatus;
use crate::layout::Layout;
use crate::live::{is_main_alone, main_alone};
use crate::model::Listen;
use crate::names::{Deployment, ListenerName, ServiceName};
use crate::systemd::Listing;
use crate::write::named;

const RUNTIME: &str = "runtime.json";
const FAILURE: &str = "failure";

/// The state of a deployment, as its hooks record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Not healthy yet, or crashed and to be restarted.
    Starting,
    /// Healthy: may hold slots.
    Ready,
    /// Stopped while it is idle, until a connection starts it: keeps its slots.
    Resting,
    /// Stopping for good: takes no slots.
    Leaving,
}

/// The runtime data of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runtime {
    pub(crate) state: State,
    /// Where it listens: the path of a unix socket, or an address with a port.
    pub(crate) endpoint: Option<String>,
    /// Its listeners, None for that of `[listen]` itself.
    #[serde(default = "main_alone", skip_serializing_if = "is_main_alone")]
    pub(crate) listeners: Vec<Option<ListenerName>>,
    /// The network namespace in which it listens, if that is not the host's.
    pub(crate) network: Option<String>,
    pub(crate) main_pid: Option<u32>,
    /// When it started, in seconds since 1970.
    pub(crate) started_at: u64,
    /// The time from its process's start until it was ready.
    pub(crate) took: Option<Duration>,
    /// The inodes of connections that health checks have closed and the process has not: a drain does not wait for them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) checks: BTreeSet<u32>,
}

/// Why a start of a deployment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// None if no hook knows: a process that systemd runs failed.
    pub(crate) why: Option<String>,
    pub(crate) kind: FailureKind,
    /// The start that failed, `InvocationID=`.
    pub(crate) invocation: Option<String>,
    /// How the main process ended, if that is why the start failed.
    pub(crate) exit: Option<ExitStatus>,
}

/// The kind of a failed start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailureKind {
    /// Another process listened on its port: with the next start it has another port.
    LostPort,
    /// Its main process ended, or did not begin.
    Ended,
    /// Its process ran and was not ready.
    Unready,
}

impl Failure {
    /// Creates the failure of the start whose hook the caller is.
    pub(crate) fn of_this_start(kind: FailureKind, why: Option<String>) -> Self {
        Self { why, kind, invocation: invocation(), exit: None }
    }

    /// Returns whether the start failed whose hook the caller is.
    pub(crate) fn is_of_this_start(&self) -> bool {
        self.invocation == invocation()
    }

    /// Describes what the hooks know.
    pub(crate) fn text(&self) -> String {
        match (&self.why, &self.exit) {
            (Some(why), Some(exit)) => format!("{why}; it {exit}"),
            (Some(why), None) => why.clone(),
            (None, Some(exit)) => format!("its process {exit}"),
            (None, None) => "its start failed".to_owned(),
        }
    }

    pub(crate) fn lost_port(&self) -> bool {
        self.kind == FailureKind::LostPort
    }
}

/// Returns the ID of the unit's start whose hook the caller is, systemd.exec(5).
fn invocation() -> Option<String> {
    std::env::var("INVOCATION_ID").ok()
}

impl Runtime {
    pub(crate) fn new(
        layout: &Layout,
        deployment: &Deployment,
        listen: &Listen,
        network: Option<String>,
        main_pid: Option<u32>,
    ) -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let endpoint = listen.all().next().and_then(|listener| Endpoint::of(layout, deployment, listener).ok());
        Self {
            state: State::Starting,
            endpoint: endpoint.map(|endpoint| endpoint.to_string()),
            listeners: listen.names(),
            network,
            main_pid,
            started_at,
            took: None,
            checks: BTreeSet::new(),
        }
    }
}

/// Creates the DEPLOYMENTDIR with its link to the generation.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn prepare(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
    let dir = layout.at(&deployment.dir(layout));
    fs::create_dir_all(&dir)?;
    atomic::sweep(&dir)?;
    let snapshot = layout.snapshot(&deployment.service, &deployment.generation);
    match std::os::unix::fs::symlink(&snapshot, dir.join("generation")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Writes the runtime data of a deployment, which bridges read, too.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn write(layout: &Layout, deployment: &Deployment, runtime: &Runtime) -> io::Result<()> {
    let path = layout.at(&deployment.dir(layout)).join(RUNTIME);
    atomic::write_for_group(&path, &serde_json::to_vec(runtime)?)
}

/// Reads the runtime data of a deployment; None if it has none yet.
pub(crate) fn read(layout: &Layout, deployment: &Deployment) -> Option<Runtime> {
    let bytes = fs::read(layout.at(&deployment.dir(layout)).join(RUNTIME)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Returns how long a deployment has been in its state.
pub(crate) fn age(layout: &Layout, deployment: &Deployment) -> Duration {
    let written = fs::metadata(layout.at(&deployment.dir(layout)).join(RUNTIME)).and_then(|file| file.modified());
    written.ok().and_then(|since| since.elapsed().ok()).unwrap_or_default()
}

/// Sets the state of a deployment that has runtime data.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn set_state(layout: &Layout, deployment: &Deployment, state: State) -> io::Result<()> {
    match read(layout, deployment) {
        Some(runtime) => write(layout, deployment, &Runtime { state, ..runtime }),
        None => Ok(()),
    }
}

/// Records that a deployment is ready, how long that took, and the connections that its health checks have left.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn set_ready(layout: &Layout, deployment: &Deployment, checks: BTreeSet<u32>) -> io::Result<()> {
    let Some(runtime) = read(layout, deployment) else { return Ok(()) };
    forget_failure(layout, deployment)?;
    let took = runtime.main_pid.and_then(process_age);
    write(layout, deployment, &Runtime { state: State::Ready, took, checks, ..runtime })
}

/// Returns how long a process has been running, proc(5).
fn process_age(pid: u32) -> Option<Duration> {
    // `starttime` counts in these ticks on every kernel.
    const USER_HZ: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything.
    let starttime: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(uptime - starttime / USER_HZ).ok()
}

/// Notes why a start failed, for the rollout.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn write_failure(layout: &Layout, deployment: &Deployment, failure: &Failure) -> io::Result<()> {
    atomic::write(&layout.at(&deployment.dir(layout)).join(FAILURE), &serde_json::to_vec(failure)?)
}

/// Removes the note why an earlier start failed.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn forget_failure(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
    atomic::remove_file(&layout.at(&deployment.dir(layout)).join(FAILURE))
}

/// Reads why a start failed; None if it did not.
pub(crate) fn failure(layout: &Layout, deployment: &Deployment) -> Option<Failure> {
    serde_json::from_slice(&fs::read(layout.at(&deployment.dir(layout)).join(FAILURE)).ok()?).ok()
}

/// Removes the DEPLOYMENTDIR and the files of the pod's volumes, and a file that systemd 252 to 257 leaves: they write
/// LogExtraFields= to one name and unlink another. It would fill /run, generation by generation.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn remove(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
    let _ = fs::remove_file(layout.at(&Layout::log_fields(&deployment.unit())));
    atomic::remove_dir(&layout.on_host(&layout.volumes(deployment)))?;
    atomic::remove_dir(&layout.at(&deployment.dir(layout)))
}

/// Lists the deployments that have a directory, by service and in order.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn all(layout: &Layout) -> io::Result<BTreeMap<ServiceName, Vec<Deployment>>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let dir = layout.deployments();
    for entry in atomic::entries(&layout.at(&dir)).map_err(|error| named(&dir, &error))? {
        if let Some(deployment) = Deployment::from_dir(Utf8Path::new(entry.file_name())) {
            all.entry(deployment.service.clone()).or_default().push(deployment);
        }
    }
    all.values_mut().for_each(|deployments| deployments.sort());
    Ok(all)
}

/// Lists the deployments of one service that have a directory, in order. For several services, `all` reads the directory
/// once.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn list(layout: &Layout, name: &ServiceName) -> io::Result<Vec<Deployment>> {
    Ok(all(layout)?.remove(name).unwrap_or_default())
}

/// Tells whether a deployment is stopped while it is idle.
pub(crate) fn is_resting(layout: &Layout, deployment: &Deployment) -> bool {
    read(layout, deployment).is_some_and(|runtime| runtime.state == State::Resting)
}

/// Counts those of some deployments that serve: ready ones that systemd runs, if it was asked, and those that rest until
/// somebody connects.
pub(crate) fn count_ready(layout: &Layout, deployments: &[Deployment], listing: Option<&Listing>) -> usize {
    let runs = |deployment: &Deployment| listing.is_none_or(|listing| listing.is_active(deployment));
    let serves = |deployment: &&Deployment| {
        read(layout, deployment).is_some_and(|runtime| match runtime.state {
            State::Resting => true,
            State::Ready => runs(deployment),
            _ => false,
        })
    };
    deployments.iter().filter(serves).count()
}

/// Lists the deployments of a service that are stopped while they are idle.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn resting(layout: &Layout, name: &ServiceName) -> io::Result<Vec<Deployment>> {
    let mut deployments = list(layout, name)?;
    deployments.retain(|deployment| is_resting(layout, deployment));
    Ok(deployments)
}

/// Lists the deployments of a service that may hold slots.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn ready(layout: &Layout, name: &ServiceName) -> io::Result<Vec<Deployment>> {
    Ok(ready_with_listeners(layout, name)?.into_iter().map(|(deployment, _)| deployment).collect())
}

/// Lists the deployments of a service that may hold slots, each with its listeners.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn ready_with_listeners(
    layout: &Layout,
    name: &ServiceName,
) -> io::Result<Vec<(Deployment, Vec<Option<ListenerName>>)>> {
    let with_listeners = |deployment: Deployment| {
        let runtime = read(layout, &deployment)?;
        matches!(runtime.state, State::Ready | State::Resting).then_some((deployment, runtime.listeners))
    };
    Ok(list(layout, name)?.into_iter().filter_map(with_listeners).collect())
}
