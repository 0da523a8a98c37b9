//! The listeners of a deployment, and the ports that lead to them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::declaration::ListenKind;
use crate::names::{ListenerName, ServiceName};

/// The callers that may wait while no deployment serves: `Backlog=`, of which the kernel takes no more than
/// `net.core.somaxconn`, listen(2).
pub(crate) const QUEUE_LENGTH: u32 = 16_384;

/// The listener of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    pub kind: ListenKind,
    /// The time without a connection after which a deployment stops; the next connection starts it.
    pub(crate) idle_timeout: Option<Duration>,
    /// Further listeners, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) further: BTreeMap<ListenerName, Further>,
}

/// A further listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Further {
    pub(crate) kind: ListenKind,
    /// The port in the container or pod, for TCP.
    pub(crate) port: Option<u16>,
}

/// One of a deployment's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener<'a> {
    /// None: that of `[listen]` itself.
    pub(crate) name: Option<&'a ListenerName>,
    pub(crate) kind: ListenKind,
    /// Whether a bridge connects callers: the process takes no unix socket, or it does not run all the time.
    pub(crate) is_bridged: bool,
}

impl Listen {
    /// Returns whether the process has callers.
    pub(crate) fn has_callers(&self) -> bool {
        self.all().next().is_some()
    }

    /// Lists the listeners, that of `[listen]` first if there is one.
    pub(crate) fn all(&self) -> impl Iterator<Item = Listener<'_>> {
        let further = self.further.iter().map(|(name, Further { kind, port: _ })| Listener {
            name: Some(name),
            kind: *kind,
            is_bridged: *kind == ListenKind::Tcp,
        });
        self.main().into_iter().chain(further)
    }

    /// Returns the listener of `[listen]` itself; None if that is no listener.
    pub(crate) fn main(&self) -> Option<Listener<'_>> {
        let is_bridged = self.kind == ListenKind::Tcp || self.idle_timeout.is_some();
        (self.kind != ListenKind::None).then_some(Listener { name: None, kind: self.kind, is_bridged })
    }

    /// Finds a listener by its name.
    pub(crate) fn find(&self, name: Option<&ListenerName>) -> Option<Listener<'_>> {
        self.all().find(|listener| listener.name == name)
    }

    /// Lists the listeners whose callers a bridge connects.
    pub(crate) fn bridged(&self) -> impl Iterator<Item = Listener<'_>> {
        self.all().filter(|listener| listener.is_bridged)
    }

    /// Returns whether there is a listener of a kind.
    pub(crate) fn has(&self, kind: ListenKind) -> bool {
        self.all().any(|listener| listener.kind == kind)
    }

    /// Lists the names of the listeners, None for that of `[listen]` itself.
    pub(crate) fn names(&self) -> Vec<Option<ListenerName>> {
        self.all().map(|listener| listener.name.cloned()).collect()
    }
}

impl Listener<'_> {
    /// Returns whether the socket that callers reach is there before the deployment's process.
    pub(crate) fn has_socket(self) -> bool {
        self.kind == ListenKind::Activation || self.is_bridged
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
    /// The listener that the relay leads to; None for that of `[listen]` itself.
    pub(crate) listener: Option<ListenerName>,
}

/// A port in a snapshot: a plain one is its address alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredPort {
    Plain(String),
    Other {
        listen: String,
        protocol: Protocol,
        passed: Option<Passed>,
        proxy_protocol: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listener: Option<ListenerName>,
    },
}

impl From<StoredPort> for Port {
    fn from(stored: StoredPort) -> Self {
        match stored {
            StoredPort::Plain(listen) => Self::plain(listen),
            StoredPort::Other { listen, protocol, passed, proxy_protocol, listener } => {
                Self { listen, protocol, passed, proxy_protocol, listener }
            }
        }
    }
}

impl From<Port> for StoredPort {
    fn from(port: Port) -> Self {
        if port.is_plain() && port.listener.is_none() {
            return Self::Plain(port.listen);
        }
        let Port { listen, protocol, passed, proxy_protocol, listener } = port;
        Self::Other { listen, protocol, passed, proxy_protocol, listener }
    }
}

impl Port {
    /// Returns the port at an address whose callers a relay connects.
    pub(crate) fn plain(listen: String) -> Self {
        Self { listen, protocol: Protocol::Stream, passed: None, proxy_protocol: false, listener: None }
    }

    /// Returns whether processes see neither its socket nor its callers.
    pub(crate) fn is_plain(&self) -> bool {
        self.passed.is_none() && !self.proxy_protocol
    }

    /// Returns its units of a service, without their suffixes.
    pub(crate) fn unit(&self, service: &ServiceName) -> String {
        match self.passed {
            Some(_) => service.passed_port(&self.listen, self.protocol == Protocol::Datagram),
            None => service.port(&self.listen, self.proxy_protocol, self.listener.as_ref()),
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
