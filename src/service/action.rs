//! The actions of a plan.

use serde::{Deserialize, Serialize};

/// A step of bringing a service to what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Missing deployments start.
    Start,
    /// Surplus deployments stop and nothing replaces them.
    Stop,
    /// Another generation takes over from the running one.
    Roll,
    /// A canary takes its next step.
    Promote,
    /// A canary gives its slots back and stops.
    Abort,
    /// The proxy's configuration changes.
    Republish,
    /// The number of deployments changes.
    Rescale,
    /// Limits and timeouts change; nothing starts or stops.
    Refresh,
    /// Files of a service that is no longer declared are removed.
    Forget,
}

impl Action {
    /// Returns the action's name in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Roll => "roll",
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::Republish => "republish",
            Self::Rescale => "rescale",
            Self::Refresh => "refresh",
            Self::Forget => "forget",
        }
    }
}
