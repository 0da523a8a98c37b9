//! The last rollout of a service: when, from where to where, why, and how it ended.

use fs_err as fs;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::compile::host::Compiled;
use crate::layout::Layout;
use crate::model::Service;
use crate::names::{GenerationId, ServiceName};
use crate::service::change;
use crate::service::plan::{Action, Plan};

/// What `NAME.service` did when it last had something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Seconds since 1970 when it ended.
    pub at: u64,
    pub took: Duration,
    /// What served before; None if nothing did.
    pub from: Option<GenerationId>,
    pub to: GenerationId,
    pub actions: BTreeSet<Action>,
    /// The inputs that changed: keys, files, variables.
    pub why: Vec<String>,
    /// The first line of why it failed; None if it did not.
    pub failure: Option<String>,
}

impl Record {
    /// What is about to be done. `before` is the model of what served.
    pub fn begun(compiled: &Compiled, from: Option<GenerationId>, before: Option<&Service>, plan: &Plan) -> Self {
        let changes = before.map(|before| change::between(before, &compiled.service, None)).unwrap_or_default();
        Self {
            at: 0,
            took: Duration::ZERO,
            from,
            to: compiled.id.clone(),
            actions: plan.actions.clone(),
            why: changes.into_iter().map(|change| change.name).collect(),
            failure: None,
        }
    }

    /// Writes down that it ended.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn ended(self, layout: &Layout, name: &ServiceName, took: Duration, failure: Option<String>) -> io::Result<()> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let failure = failure.map(|why| why.lines().next().unwrap_or_default().to_owned());
        let path = layout.at(&layout.last(name));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        atomic::write(&path, &serde_json::to_vec(&Self { at, took, failure, ..self })?)
    }
}

/// The last one of a service, None if there was none since boot.
pub fn read(layout: &Layout, name: &ServiceName) -> Option<Record> {
    serde_json::from_slice(&fs::read(layout.at(&layout.last(name))).ok()?).ok()
}

/// # Errors
/// What the file system refuses.
pub fn forget(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    atomic::remove_file(&layout.at(&layout.last(name)))
}
