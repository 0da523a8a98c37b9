//! Whether a deployment that was ready lives: what its checks have found.

use fs_err as fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::layout::Layout;
use crate::names::Deployment;

const FILE: &str = "live.json";

/// The live checks of one process that have failed in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Missed {
    /// When the process started, in seconds since 1970: another one begins anew.
    started_at: u64,
    pub(crate) failures: u32,
    /// What the last check found.
    pub(crate) answer: String,
}

impl Missed {
    /// Reads the checks of a deployment that have failed in a row; None if the last one passed.
    pub(crate) fn of(layout: &Layout, deployment: &Deployment, started_at: u64) -> Option<Self> {
        let content = fs::read(layout.at(&deployment.dir(layout)).join(FILE)).ok()?;
        serde_json::from_slice(&content).ok().filter(|missed: &Self| missed.started_at == started_at)
    }

    /// Records a check that failed.
    ///
    /// # Errors
    /// If the file system refuses it.
    pub(crate) fn add(layout: &Layout, deployment: &Deployment, started_at: u64, answer: String) -> io::Result<Self> {
        let failures = Self::of(layout, deployment, started_at).map_or(0, |before| before.failures) + 1;
        let missed = Self { started_at, failures, answer };
        atomic::write(&layout.at(&deployment.dir(layout)).join(FILE), &serde_json::to_vec(&missed)?)?;
        Ok(missed)
    }

    /// Records a check that passed.
    ///
    /// # Errors
    /// If the file system refuses it.
    pub(crate) fn forget(layout: &Layout, deployment: &Deployment) -> io::Result<()> {
        atomic::remove_file(&layout.at(&deployment.dir(layout)).join(FILE))
    }
}
