//! The replacement of a service's deployments, and the hooks around them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::declaration::Strategy;
use crate::model::command::Command;

/// The way in which new deployments replace old ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deploy {
    pub(crate) strategy: Strategy,
    /// The steps of a canary, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<Step>,
    /// New deployments that start at a time, with the rolling strategy.
    pub(crate) max_surge: u32,
    pub(crate) drain_timeout: Duration,
    /// The time for which a drain waits for a connection after its caller has closed it.
    #[serde(default = "abandoned_timeout")]
    pub(crate) abandoned_timeout: Duration,
    /// The signal that tells a process to close its connections, by a name of signal(7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) drain_signal: Option<String>,
    pub(crate) health_timeout: Duration,
    /// Part of the generation, so that the same configuration rolls: RFC 3339, UTC.
    pub(crate) restarted_at: Option<String>,
    /// How the number of deployments follows the load, between `concurrency` and a maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) autoscale: Option<Autoscale>,
}

/// Deployments that a target adds under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Autoscale {
    /// The largest number of deployments.
    pub(crate) max: u32,
    /// The part of the processor's time that each may have that it is to use, in percent.
    pub(crate) cpu: u32,
}

/// A step of a canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The slots that the new generation has.
    pub(crate) slots: u32,
    /// The time until the next step; None until somebody promotes it.
    pub(crate) pause: Option<Duration>,
}

/// Returns the default of `deploy.abandoned_timeout`.
pub(crate) fn abandoned_timeout() -> Duration {
    Duration::from_secs(5)
}

/// Commands that run once for a generation, and those around the process of each deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Before the first deployment of a generation starts.
    pub(crate) release: Option<Hook>,
    /// When a generation alone serves.
    pub(crate) post_release: Option<Hook>,
    /// Before each step of a canary is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<Hook>,
    pub pre_start: Option<Hook>,
    pub(crate) post_start: Option<Hook>,
    pub(crate) pre_stop: Option<Hook>,
    /// When a deployment has left its slots, before requests in flight are waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pre_drain: Option<Hook>,
    /// Has what requests in flight leave of `drain_timeout`.
    pub(crate) drain: Option<Command>,
    pub(crate) post_stop: Option<Hook>,
    /// Those that run in a container of the deployment, if it has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) inside: Vec<RunningHook>,
}

/// A hook that runs while a deployment's processes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunningHook {
    PostStart,
    PreStop,
    PreDrain,
    Drain,
}

impl RunningHook {
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("post_start", Self::PostStart),
        ("pre_stop", Self::PreStop),
        ("pre_drain", Self::PreDrain),
        ("drain", Self::Drain),
    ];
}

/// A command that is ended when its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub(crate) command: Command,
    pub(crate) timeout: Duration,
}
