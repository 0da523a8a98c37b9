//! The container that holds a pod's namespaces. Its monitor is the main process of the deployment's unit: podman ends
//! it when the last container of the pod has ended.
//!
//! podman calls the runtime for this container first. Conductor is called in place of the runtime, so that it finds the
//! monitor without asking podman, and writes its PID file, `PIDFile=`, and the pod's network for the hooks.

use fs_err as fs;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::atomic;
use crate::engine::podman::run::podman;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::names::{Deployment, PID_FILE};

/// The name of the record in the DEPLOYMENTDIR.
const RECORD: &str = "infra.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Infra {
    pub(crate) id: String,
    /// The path of the network namespace that podman has made for the pod.
    pub(crate) namespace: String,
}

/// Removes the records of a deployment's previous pod, before the next one starts.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn forget(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
    let dir = layout.at(&deployment.dir(layout));
    atomic::remove_file(&dir.join(PID_FILE))?;
    atomic::remove_file(&dir.join(RECORD))
}

/// Records the first container of a unit's pod, when podman calls the runtime to create it. Its monitor is the caller.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn note(unit: &str, id: &str, config: &Value) -> Result<()> {
    let layout = &Layout::system(Utf8Path::new("/"));
    let Some(deployment) = unit.rsplit('/').next().and_then(Deployment::from_unit) else { return Ok(()) };
    let dir = layout.at(&deployment.dir(layout));
    let Some(namespace) = network_of(config).filter(|_| !dir.join(PID_FILE).exists()) else { return Ok(()) };
    write(&dir, &Infra { id: id.to_owned(), namespace: namespace.to_owned() }, parent_id())
}

/// Asks podman for the container after the start of a pod whose runtime conductor does not wrap, and records it.
///
/// # Errors
/// If podman fails, or the file system refuses an operation.
pub(crate) fn ask(dir: &Utf8Path) -> Result<()> {
    let name = dir.file_name().unwrap_or_default();
    let id = podman(&["pod", "inspect", "--format", "{{.InfraContainerID}}", name])?;
    let output =
        podman(&["container", "inspect", "--format", "{{.State.ConmonPid}} {{.NetworkSettings.SandboxKey}}", &id])?;
    let unclear = || Error(format!("podman reports no monitor of {name}: {output:?}"));
    let (monitor, namespace) = output.split_once(' ').ok_or_else(unclear)?;
    let monitor = monitor.parse().map_err(|_| unclear())?;
    write(dir, &Infra { id, namespace: namespace.to_owned() }, monitor)
}

/// Writes the records, the PID file last: a process that finds it finds the others.
fn write(dir: &Utf8Path, infra: &Infra, monitor: u32) -> Result<()> {
    atomic::write(&dir.join(RECORD), &serde_json::to_vec(infra).map_err(io::Error::from)?)?;
    Ok(atomic::write(&dir.join(PID_FILE), format!("{monitor}\n").as_bytes())?)
}

/// Reads the record; None for a pod that has not started.
pub(crate) fn read(layout: &Layout, deployment: &Deployment) -> Option<Infra> {
    let path: Utf8PathBuf = layout.at(&deployment.dir(layout)).join(RECORD);
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Returns the path of the network namespace that podman made for a pod; None for the pod's other containers, which
/// enter the namespace of a process.
fn network_of(config: &Value) -> Option<&str> {
    let namespaces = config["linux"]["namespaces"].as_array()?;
    let network = namespaces.iter().find(|namespace| namespace["type"] == "network")?;
    network["path"].as_str().filter(|path| !path.starts_with("/proc/"))
}

/// Returns the only address of a network namespace; None if it has another number of addresses, which only podman can
/// tell apart.
///
/// # Errors
/// If the namespace cannot be entered.
pub(crate) fn only_address(namespace: &str) -> io::Result<Option<Ipv4Addr>> {
    let namespace = File::open(namespace)?;
    // A thread of its own enters the namespace: the caller stays in its own.
    let inside = thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        fs::read_to_string("/proc/thread-self/net/fib_trie")
    });
    let routes = inside.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))?;
    Ok(match local_addresses(&routes).as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

/// Lists the addresses of the namespace, without those of the loopback.
fn local_addresses(routes: &str) -> Vec<Ipv4Addr> {
    let mut addresses = Vec::new();
    let mut last = None;
    for line in routes.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            addresses.extend(last.filter(|address| !address.is_loopback()));
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let routes = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.88.0.0/16 2 0 2\n\
                      \x20       |-- 10.88.0.0\n           /16 link UNICAST\n        |-- 10.88.0.7\n           /32 host LOCAL\n\
                      \x20    |-- 10.88.255.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n\
                      Local:\n  |-- 10.88.0.7\n     /32 host LOCAL\n";
        assert_eq!(local_addresses(routes), [Ipv4Addr::new(10, 88, 0, 7)]);
        assert!(local_addresses("").is_empty());
    }

    #[test]
    fn the_first_container_has_a_network_of_its_own() {
        let with = |network: Value| serde_json::json!({ "linux": { "namespaces": [{ "type": "pid" }, network] } });
        let own = with(serde_json::json!({ "type": "network", "path": "/run/netns/netns-1" }));
        assert_eq!(network_of(&own), Some("/run/netns/netns-1"));
        assert_eq!(network_of(&with(serde_json::json!({ "type": "network", "path": "/proc/7/ns/net" }))), None);
        assert_eq!(network_of(&with(serde_json::json!({ "type": "network" }))), None);
    }
}
