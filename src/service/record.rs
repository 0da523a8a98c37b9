//! The record of a service's last rollout: when, from and to which generation, why, and how it ended.

use fs_err as fs;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::cause;
use crate::layout::Layout;
use crate::names::{GenerationId, ServiceName};
use crate::service::action::Action;
use crate::service::change::Change;

/// The last rollout of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When it ended, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) took: Duration,
    /// How long no deployment served, with the recreate strategy.
    pub(crate) gap: Option<Duration>,
    /// The generation that served before; None if none did.
    pub(crate) from: Option<GenerationId>,
    pub(crate) to: GenerationId,
    pub(crate) actions: BTreeSet<Action>,
    /// Names of the inputs that changed: keys, files, variables.
    pub(crate) why: Vec<String>,
    /// The first line of why it failed; None if it did not.
    pub(crate) failure: Option<String>,
    /// All rollouts of the service since boot, this one included, and those of them that failed.
    #[serde(default)]
    pub(crate) rollouts: u64,
    #[serde(default)]
    pub(crate) failed: u64,
}

impl Record {
    /// Creates the record of a rollout that is about to begin.
    pub(crate) fn new(
        from: Option<GenerationId>,
        to: GenerationId,
        actions: BTreeSet<Action>,
        changes: &[Change],
    ) -> Self {
        let why = changes.iter().map(|change| change.name.clone()).collect();
        Self { at: 0, took: Duration::ZERO, gap: None, from, to, actions, why, failure: None, rollouts: 0, failed: 0 }
    }

    /// Writes the record of a rollout that has ended.
    ///
    /// # Errors
    /// If the file system refuses an operation.
    pub(crate) fn end(self, layout: &Layout, name: &ServiceName, failure: Option<String>) -> io::Result<()> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let failure = failure.map(|why| cause(&why).to_owned());
        let before = read(layout, name).map_or((0, 0), |before| (before.rollouts, before.failed));
        let (rollouts, failed) = (before.0 + 1, before.1 + u64::from(failure.is_some()));
        let path = layout.at(&layout.record(name));
        if let Some(parent) = path.parent() {
            atomic::private_dir(parent)?;
        }
        atomic::write(&path, &serde_json::to_vec(&Self { at, failure, rollouts, failed, ..self })?)
    }
}

/// Reads the record of a service's last rollout; None if there was none since boot.
pub(crate) fn read(layout: &Layout, name: &ServiceName) -> Option<Record> {
    serde_json::from_slice(&fs::read(layout.at(&layout.record(name))).ok()?).ok()
}

/// Removes the record of a service's last rollout.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn forget(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    atomic::remove_file(&layout.at(&layout.record(name)))
}
