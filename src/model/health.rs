//! The health check of a deployment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::command::Command;
use crate::names::{LIVE_UNITS, ListenerName};
use crate::timespan;

/// The time for which the process of a worker has to run, unless another check is declared.
pub(crate) const START_TIME: Duration = Duration::from_secs(1);

/// A check, and how often it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    pub(crate) check: Check,
    /// The listener that is asked; None for that of `[listen]` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listener: Option<ListenerName>,
    /// The pause between two attempts.
    pub(crate) interval: Duration,
    /// The time limit of one attempt.
    pub(crate) timeout: Duration,
    /// The largest number of attempts, from 1; None for as many as the time allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retries: Option<u32>,
    /// What is asked as long as the deployment runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<Live>,
}

/// The check that a deployment which was ready lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// HTTP, TCP, a command, or `Notify`: the process reports to systemd's watchdog.
    pub(crate) check: Check,
    /// The listener that is asked; None for that of `[listen]` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listener: Option<ListenerName>,
    /// The time between two checks.
    pub(crate) interval: Duration,
    /// The time limit of one check.
    pub(crate) timeout: Duration,
    /// The number of checks that fail in a row before the deployment is restarted.
    pub(crate) failures: u32,
}

impl Live {
    /// Returns the timer that asks; None if systemd's watchdog waits for the process.
    pub(crate) fn timer(&self) -> Option<String> {
        (self.check != Check::Notify).then(|| format!("{LIVE_UNITS}{}.timer", timespan::format(self.interval)))
    }
}

/// The check that a deployment is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Check {
    /// A GET of `path` is answered with one of `status`; an empty list means 200 to 399.
    Http {
        path: String,
        status: Vec<u16>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// A regular expression that the answer's body matches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// Whether the request begins with a line of the PROXY protocol, as those of a port's callers.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        announced: bool,
    },
    /// The process accepts a connection.
    Tcp,
    /// The command, run as the service's user in its sandbox, exits with 0.
    Exec { command: Command },
    /// A command in a container of the deployment, podman-exec(1), exits with 0.
    Inside { container: String, command: Command },
    /// The readinessProbes of the pod's file pass; without one, the pod accepts a connection.
    Probes,
    /// The process sends READY=1, sd_notify(3).
    Notify,
    /// The main process has run for this time.
    Start { time: Duration },
}
