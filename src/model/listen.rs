//! The listener of a deployment, and the routes of the reverse proxy to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::declaration::{ListenKind, Tls};

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

/// What the proxy sends to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// None: every host.
    pub(crate) host: Option<String>,
    /// A path prefix, on path boundaries; `/` is everything.
    pub(crate) path: String,
    pub(crate) tls: Tls,
}
