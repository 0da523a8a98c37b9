//! The port of a command that listens on TCP.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use crate::error::{Error, Result};

/// The range of ports for processes: below that of outgoing connections, `ip_local_port_range` of ip(7), so that no
/// connection takes a port that was chosen.
const PORTS: Range<u16> = 20_000..32_000;

/// Chooses a free port that is not `taken`: the port `before`, if it is free, or one that nobody can predict.
///
/// # Errors
/// If no port is free.
pub(crate) fn choose_port(before: Option<u16>, taken: &[u16]) -> Result<u16> {
    let is_free = |port: &u16| !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let start = PORTS.start + (RandomState::new().hash_one(()) % PORTS.len() as u64) as u16;
    let free = before.into_iter().chain(start..PORTS.end).chain(PORTS.start..start).find(is_free);
    free.ok_or_else(|| Error(format!("no port from {} to {} is free", PORTS.start, PORTS.end - 1)))
}
