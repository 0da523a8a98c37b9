//! Jobs: commands that run by the clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::declaration::Overlap;

/// When and how a command runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Calendar expressions, systemd.time(7).
    pub(crate) schedule: Vec<String>,
    /// It starts with the service if it was due while that was stopped.
    pub(crate) persistent: bool,
    pub(crate) overlap: Overlap,
    pub(crate) randomized_delay: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    /// Units that start when it fails.
    pub(crate) on_failure: Vec<String>,
}
