//! The nodes of a cluster on which the conditions of a service hold.

use gix_glob::wildmatch;
use gix_glob::wildmatch::Mode;

use crate::model::{Service, Setting};

/// The condition that names hosts, `ConditionHost=` of systemd.unit(5).
pub(super) const HOST: &str = "host";

/// Returns whether the service may run on a node by the name of that node.
pub(super) fn hold(service: &Service, node: &str) -> bool {
    let of_host: Vec<_> = service.conditions.iter().filter(|condition| condition.key == HOST).collect();
    let (choices, all): (Vec<_>, Vec<_>) = of_host.into_iter().partition(|condition| condition.value.starts_with('|'));
    all.iter().all(|condition| holds(condition, node))
        // Of the conditions with a leading bar one is enough.
        && (choices.is_empty() || choices.iter().any(|condition| holds(condition, node)))
}

fn holds(condition: &Setting, node: &str) -> bool {
    let value = condition.value.trim_start_matches('|');
    let pattern = value.trim_start_matches('!');
    let matches = wildmatch(pattern.into(), node.into(), Mode::IGNORE_CASE);
    matches != value.starts_with('!')
}
