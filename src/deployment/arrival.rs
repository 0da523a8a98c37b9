//! The arrival of callers: those who have connected wait in queues of the kernel's until the process accepts them.
//!
//! A process that is told to close its connections may close its listener, too, and with it the connections in its queue.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::deployment::connections::Watched;
use crate::deployment::endpoint::Endpoint;
use crate::deployment::in_flight::InFlight;
use crate::deployment::listener;
use crate::deployment::namespace::{self, HOST_NETWORK};

/// The pause between two counts.
const PAUSE: Duration = Duration::from_millis(2);
/// The pause between the two counts by which all must have been accepted.
const CONFIRM: Duration = Duration::from_millis(3);
/// The time in which a process accepts all callers, unless it serves one after the other.
const WITHIN: Duration = Duration::from_secs(5);

/// Waits until the process has accepted all who have connected to the unix socket at `socket`; returns whether it has.
/// `network` is the network namespace of the listener, if that is not the host's; `behind` is where the process listens, if
/// a bridge connects its callers.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn wait(socket: &Utf8Path, network: Option<&str>, behind: Option<&Endpoint>) -> io::Result<bool> {
    let deadline = Instant::now() + WITHIN;
    let watched = Watched::open(socket, network.filter(|_| behind.is_none()))?;
    let mut was_over = false;
    loop {
        let outer = watched.connections()?;
        let inner = behind.map(|endpoint| of_process(endpoint, network)).transpose()?.flatten();
        let is_through = |inner: InFlight| inner.queued == 0 && inner.established >= outer.with_caller.established;
        let is_over = outer.with_caller.queued == 0 && inner.is_none_or(is_through);
        if is_over && was_over || Instant::now() > deadline {
            return Ok(is_over);
        }
        sleep(if is_over { CONFIRM } else { PAUSE });
        was_over = is_over;
    }
}

/// Counts the connections between a bridge and the process.
fn of_process(endpoint: &Endpoint, network: Option<&str>) -> io::Result<Option<InFlight>> {
    match endpoint {
        Endpoint::Unix(path) => Ok(Some(Watched::open(path, network)?.connections()?.all())),
        Endpoint::Tcp(address) => {
            namespace::within(network.unwrap_or(HOST_NETWORK), || listener::connections_to(address.port())).map(Some)
        }
        Endpoint::Nowhere => Ok(None),
    }
}
