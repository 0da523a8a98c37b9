//! How many pods of a service may be taken away at a time, such as when nodes are drained.

use crate::target::kubernetes::options::Version;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};

/// The version that has `policy/v1`.
const STABLE: Version = Version(21);

/// Renders the PodDisruptionBudget.
pub(super) fn render(workload: &Workload) -> Yaml {
    let api = if workload.kubernetes.version >= STABLE { "policy/v1" } else { "policy/v1beta1" };
    map! {
        "apiVersion" => api,
        "kind" => "PodDisruptionBudget",
        "metadata" => workload.metadata(&workload.name),
        "spec" => map! {
            "maxUnavailable" => 1_u32,
            "selector" => map! { "matchLabels" => workload.selector() },
        },
    }
}
