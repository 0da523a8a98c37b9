//! The listener of a deployment, and the routes of the reverse proxy to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::declaration::{ListenKind, Tls};
use crate::names::ServiceName;

/// The callers that may wait while no deployment serves: `Backlog=`, of which the kernel takes no more than
/// `net.core.somaxconn`, listen(2).
pub(crate) const QUEUE_LENGTH: u32 = 16_384;

/// The listener of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    pub kind: ListenKind,
    /// The time without a connection after which a deployment stops; the next connection starts it.
    pub(crate) idle_timeout: Option<Duration>,
}

impl Listen {
    /// Returns whether the process has callers.
    pub(crate) fn has_callers(&self) -> bool {
        self.kind != ListenKind::None
    }

    /// Returns whether a bridge connects callers to the deployment: it takes no unix socket, or it does not run all the
    /// time.
    pub(crate) fn is_bridged(&self) -> bool {
        self.kind == ListenKind::Tcp || self.idle_timeout.is_some()
    }

    /// Returns whether the socket that callers reach is there before the deployment's process.
    pub(crate) fn has_socket(&self) -> bool {
        self.kind == ListenKind::Activation || self.is_bridged()
    }
}

/// An address at which callers reach a service without a reverse proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredPort", into = "StoredPort")]
pub(crate) struct Port {
    /// `5432`, `127.0.0.1:5432`, `/run/db.sock`, `vsock:2:5432`.
    pub(crate) listen: String,
    pub(crate) protocol: Protocol,
    /// The processes take the socket; None: a relay connects callers to the first slot.
    pub(crate) passed: Option<Passed>,
    /// Whether the relay announces callers' addresses.
    pub(crate) proxy_protocol: bool,
}

/// A port in a snapshot: a plain one is its address alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredPort {
    Plain(String),
    Other { listen: String, protocol: Protocol, passed: Option<Passed>, proxy_protocol: bool },
}

impl From<StoredPort> for Port {
    fn from(stored: StoredPort) -> Self {
        match stored {
            StoredPort::Plain(listen) => Self::plain(listen),
            StoredPort::Other { listen, protocol, passed, proxy_protocol } => {
                Self { listen, protocol, passed, proxy_protocol }
            }
        }
    }
}

impl From<Port> for StoredPort {
    fn from(port: Port) -> Self {
        if port.is_plain() {
            return Self::Plain(port.listen);
        }
        let Port { listen, protocol, passed, proxy_protocol } = port;
        Self::Other { listen, protocol, passed, proxy_protocol }
    }
}

impl Port {
    /// Returns the port at an address whose callers a relay connects.
    pub(crate) fn plain(listen: String) -> Self {
        Self { listen, protocol: Protocol::Stream, passed: None, proxy_protocol: false }
    }

    /// Returns whether processes see neither its socket nor its callers.
    pub(crate) fn is_plain(&self) -> bool {
        self.passed.is_none() && !self.proxy_protocol
    }

    /// Returns its units of a service, without their suffixes.
    pub(crate) fn unit(&self, service: &ServiceName) -> String {
        match self.passed {
            Some(_) => service.passed_port(&self.listen, self.protocol == Protocol::Datagram),
            None => service.port(&self.listen, self.proxy_protocol),
        }
    }
}

/// What callers of a port send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Stream,
    Datagram,
}

/// How a process takes the socket of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    /// Its name in `$LISTEN_FDNAMES`; None: that of its unit.
    pub(crate) name: Option<String>,
}

/// What the proxy sends to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// None: every host.
    pub(crate) host: Option<String>,
    /// A path prefix, on path boundaries; `/` is everything.
    pub(crate) path: String,
    pub(crate) tls: Tls,
}
