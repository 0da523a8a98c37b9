//! Connections to sockets that several deployments take, `[[port]] pass = true`: each deployment waits for its own.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::deployment::drain::{self, DrainError, Limits};
use crate::deployment::in_flight::{Connections, InFlight};
use crate::deployment::namespace::{self, HOST_NETWORK};
use crate::deployment::{listener, port};
use crate::model::{Port, Protocol, Service};

/// The time that a process has to close a socket on which it is to accept nobody. One that keeps it open may have stopped, too.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Waits until the processes of the calling hook's unit have no connection to the ports that are passed to them, and returns
/// how many are left whose callers have closed them. The process has been told to stop accepting.
///
/// # Errors
/// As [`drain::wait`].
pub(crate) fn wait(model: &Service, limits: &Limits) -> Result<InFlight, DrainError> {
    let ports: Vec<_> = model.passed_ports().filter_map(number).collect();
    if ports.is_empty() {
        return Ok(InFlight::default());
    }
    let began = Instant::now();
    drain::wait_by(limits, || {
        let (mut connections, listens) = connections(&ports)?;
        if listens && began.elapsed() < CLOSED_WITHIN {
            // It may accept one more.
            connections.with_caller.queued += 1;
        }
        Ok(connections)
    })
}

/// Returns the number of a port of TCP.
fn number(port: &Port) -> Option<u16> {
    let listen = &port.listen;
    let number = listen.parse().ok().or_else(|| Some(listen.parse::<SocketAddr>().ok()?.port()));
    number.filter(|_| port.protocol == Protocol::Stream)
}

fn connections(ports: &[u16]) -> io::Result<(Connections, bool)> {
    let mut own = BTreeSet::new();
    for pid in port::processes()? {
        own.extend(listener::sockets_of(pid)?.into_keys());
    }
    // systemd has opened the sockets.
    namespace::within(HOST_NETWORK, || listener::connections_of(&own, ports))
}
