//! The result of one check of the doctor.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Good,
    /// Services work without it.
    Note,
    Bad,
}

/// The result of one check, and what to do about it.
#[derive(Serialize)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) what: String,
    pub(super) remedy: Option<String>,
}

pub(super) fn good(what: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Good, what: what.into(), remedy: None }
}

pub(super) fn note(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Note, what: what.into(), remedy: Some(remedy.into()) }
}

pub(super) fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Bad, what: what.into(), remedy: Some(remedy.into()) }
}
