//! What a function does now, as systemd knows it.

use std::fmt;

use serde::Serialize;

use crate::names::FunctionId;
use crate::systemd::Manager;

/// What a function does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Its gateway runs.
    Running,
    /// Its gateway starts; callers wait for it.
    Starting,
    /// Its gateway could not start, or has failed; the next request starts it again.
    Failing,
    /// It waits for a request, without a process.
    Idle,
    /// It has no socket: callers get 503.
    Stopped,
    /// systemd does not answer.
    Unknown,
}

impl State {
    fn of(service: &str, socket: &str) -> Self {
        match (service, socket) {
            ("active" | "deactivating" | "reloading", _) => Self::Running,
            ("activating", _) => Self::Starting,
            ("failed", _) | (_, "failed") => Self::Failing,
            (_, "active") => Self::Idle,
            _ => Self::Stopped,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Failing => "failing",
            Self::Idle => "idle",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        })
    }
}

/// Returns the state of each function, in their order.
pub(crate) fn states(manager: Manager, ids: &[FunctionId]) -> Vec<State> {
    let units = |kind: &str| ids.iter().map(|id| format!("{}.{kind}", id.unit())).collect::<Vec<_>>();
    let (Ok(services), Ok(sockets)) = (manager.states(&units("service")), manager.states(&units("socket"))) else {
        return vec![State::Unknown; ids.len()];
    };
    services.iter().zip(&sockets).map(|(service, socket)| State::of(service, socket)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_apart() {
        for (service, socket, state) in [
            ("active", "active", State::Running),
            ("activating", "active", State::Starting),
            ("failed", "active", State::Failing),
            ("failed", "failed", State::Failing),
            ("inactive", "failed", State::Failing),
            ("inactive", "active", State::Idle),
            ("inactive", "inactive", State::Stopped),
        ] {
            assert_eq!(State::of(service, socket), state, "{service} {socket}");
        }
    }
}
