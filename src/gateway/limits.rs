//! Limits and intervals of the gateway's HTTP servers.

use std::time::Duration;

/// A client must send a request's header within this time, the first one of a connection as well as later ones.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that hyper buffers of a connection at most.
pub(crate) const BUFFER_SIZE: usize = 64 << 10;
/// The server looks for idle workers, and whether it is idle itself, once in this time.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The pause before another accept(2) when the process has no file descriptors or memory left for a connection.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// The rest of a refused body is read for this time.
pub(crate) const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
