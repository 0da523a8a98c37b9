//! What a command needs on the host that listens on TCP: a port.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::error::{Error, Result};

/// Ports that are chosen for processes: below those that Linux gives to outgoing connections
/// (`ip_local_port_range`, ip(7)), so that none of these takes one in between.
const PORTS: Range<u16> = 20_000..32_000;

/// Chooses a port that nobody listens on and that is not `taken`: the one `before`, if it can be.
///
/// # Errors
/// If no port is free.
pub(crate) fn choose_port(before: Option<u16>, taken: &[u16]) -> Result<u16> {
    let is_free = |port: &u16| !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let free = before.into_iter().chain(PORTS).find(is_free);
    free.ok_or_else(|| Error(format!("no port from {} to {} is free", PORTS.start, PORTS.end - 1)))
}
