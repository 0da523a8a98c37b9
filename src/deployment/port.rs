//! The port of a command that listens on TCP: which one it gets, and who else holds it.
//!
//! Linux cannot hold a port for another user before that user's process binds it. So a process gets another port with each
//! start, which nobody can predict, and a deployment is not ready while somebody else listens there. From then on systemd
//! holds the process's own socket: nobody can bind the port when the process crashes, while the bridge still leads to it.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::net::sockopt::socket_reuseport;

use crate::accounts;
use crate::deployment::endpoint;
use crate::deployment::listener;
use crate::engine::podman::runtime;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::model::{ListenKind, Listener, Protocol, Service};
use crate::names::Deployment;
use crate::names::listener::variable;
use crate::systemd::notify;

/// The range of ports for processes: below that of outgoing connections, `ip_local_port_range` of ip(7), so that no
/// connection takes a port that was chosen.
const PORTS: Range<u16> = 20_000..32_000;
/// Ports that are tried. If all are in use, somebody holds most of the range.
const TRIES: usize = 16;

/// Another process that listens on a deployment's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    address: SocketAddr,
    user: String,
    /// Its number and the name of its program, if the caller may see it.
    process: Option<(u32, String)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the user {} ", self.user)?;
        if let Some((pid, program)) = &self.process {
            write!(out, "({program}, process {pid}) ")?;
        }
        write!(out, "listens on its port {}", self.address)
    }
}

impl Holder {
    fn new(listener: listener::Listener) -> io::Result<Self> {
        let user = accounts::user(&listener.user.to_string())?.map_or(listener.user.to_string(), |user| user.name);
        Ok(Self { address: listener.address, user, process: listener::process(&listener) })
    }
}

/// Chooses a free port that is not `taken`: at random out of a range, or out of the kernel's if somebody holds the range.
///
/// # Errors
/// If no port is free, with the user who listens on most of them.
pub(crate) fn choose(taken: &[u16]) -> Result<u16> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr().map(|address| address.port());
    let random = || PORTS.start + (RandomState::new().hash_one(()) % PORTS.len() as u64) as u16;
    let tried = (0..TRIES).map(|_| random()).chain([0; TRIES]);
    let free = tried.filter_map(|port| bind(port).ok()).find(|port: &u16| !taken.contains(port));
    free.map_or_else(|| Err(none_is_free()?), Ok)
}

fn none_is_free() -> io::Result<Error> {
    let mut counts = BTreeMap::<u32, usize>::new();
    for listener in listener::all(Protocol::Stream)? {
        *counts.entry(listener.user).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    let Some((user, count)) = most else { return Ok(Error("no TCP port is free".to_owned())) };
    let name = accounts::user(&user.to_string())?.map_or(user.to_string(), |user| user.name);
    Ok(Error(format!("no TCP port is free: the user {name} listens on {count}")))
}

/// Finds a process outside of a deployment's unit that listens on a port of the deployment; the caller is a hook of the unit.
///
/// # Errors
/// If the ports are unknown, or the kernel's lists cannot be read.
pub(crate) fn holder(layout: &Layout, deployment: &Deployment, model: &Service) -> io::Result<Option<Holder>> {
    let addresses = addresses(layout, deployment, model)?;
    if addresses.is_empty() {
        return Ok(None);
    }
    let processes = processes()?;
    for address in addresses {
        if let Some(stranger) = listener::stranger(address, &processes)? {
            return Holder::new(stranger).map(Some);
        }
    }
    Ok(None)
}

/// Says at which other addresses the processes of a deployment's unit listen; None if they listen at no other. The caller
/// is a hook of the unit.
///
/// # Errors
/// If the kernel's lists cannot be read.
pub(crate) fn elsewhere(layout: &Layout, deployment: &Deployment, model: &Service) -> io::Result<Option<String>> {
    if model.process.engine.has_own_network() {
        return Ok(None);
    }
    let own = addresses(layout, deployment, model)?;
    let mut found = Vec::new();
    for pid in processes()? {
        found.extend(listener::of_process(pid)?);
    }
    found.sort();
    found.dedup();
    if found.is_empty() || found.iter().any(|one| own.iter().any(|own| own.port() == one.port())) {
        return Ok(None);
    }
    let found: Vec<_> = found.iter().map(SocketAddr::to_string).collect();
    let wanted: Vec<_> = model.listen.all().map(told).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!("it listens on {}, and not on {}", found.join(" and "), wanted.join(" and "))))
}

/// Says where a process has to listen for callers of a listener.
pub(crate) fn told(listener: Listener) -> String {
    match (listener.kind, listener.name) {
        (ListenKind::Unix, name) => format!("${}", variable("CONDUCTOR_SOCKET", name)),
        (ListenKind::Tcp, name) => format!("${}", variable("PORT", name)),
        (ListenKind::Activation | ListenKind::None, None) => "the socket that systemd passes".to_owned(),
        (ListenKind::Activation | ListenKind::None, Some(name)) => format!("the socket {name} that systemd passes"),
    }
}

/// Makes systemd hold the sockets on which a deployment's main process listens, sd_pid_notify_with_fds(3); the caller is a
/// hook of the unit. Other processes may end before the unit does, and are not to find their ports in use when they start
/// again; nor is one that lets several sockets share a port.
///
/// # Errors
/// If the kernel does not give the socket, or systemd does not take it.
pub(crate) fn hold(layout: &Layout, deployment: &Deployment, model: &Service, main_pid: u32) -> io::Result<()> {
    for address in addresses(layout, deployment, model)? {
        if let Some(socket) = listener::socket(address, main_pid)?
            && !socket_reuseport(&socket)?
        {
            notify::send("FDSTORE=1\nFDNAME=conductor-port", Some(socket.as_fd()))?;
        }
    }
    Ok(())
}

/// Makes systemd close the sockets that it holds: it would pass them on to the next process.
///
/// # Errors
/// If systemd does not take the message.
pub(crate) fn release() -> io::Result<()> {
    notify::send("FDSTOREREMOVE=1\nFDNAME=conductor-port", None)
}

/// Lists the addresses of the ports that a deployment's process binds.
fn addresses(layout: &Layout, deployment: &Deployment, model: &Service) -> io::Result<Vec<SocketAddr>> {
    if !model.binds_port() {
        return Ok(Vec::new());
    }
    let on_tcp = model.listen.all().filter(|listener| listener.kind == ListenKind::Tcp);
    on_tcp.map(|listener| endpoint::address(layout, deployment, listener.name)).collect()
}

/// Lists the processes of the unit that this process is in.
///
/// # Errors
/// If the unit or its control group cannot be read.
pub(super) fn processes() -> io::Result<Vec<u32>> {
    let group = runtime::unit_group()?.map(|group| runtime::group_dir(&group));
    Ok(group.map(|group| listener::processes(&group)).transpose()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_is_another_free_port() {
        let first = choose(&[]).expect("a free port");
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).expect("it is free");
        let others: Vec<_> = (0..4).map(|_| choose(&[]).expect("a free port")).collect();
        assert!(!others.contains(&first) && others.iter().any(|port| *port != others[0]), "{first} {others:?}");
        let all: Vec<_> = PORTS.collect();
        assert!(!PORTS.contains(&choose(&all).expect("one of the kernel's")));
    }

    #[test]
    fn a_holder_is_named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let found = listener::stranger(address, &[]).expect("the kernel's list").expect("this process");
        let holder = Holder::new(found).expect("an answer");
        assert_eq!(holder.process.as_ref().map(|(pid, _)| *pid), Some(std::process::id()));
        let told = holder.to_string();
        assert!(
            told.contains(&format!("process {})", std::process::id())) && told.contains(&address.to_string()),
            "{told}"
        );
    }
}
