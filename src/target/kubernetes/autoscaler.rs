//! `deploy.autoscale`: the number of pods by the time of the processor that they use.

use crate::model::Autoscale;
use crate::target::kubernetes::options::Version;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, list, map};

/// The version that has `autoscaling/v2`.
const STABLE: Version = Version(23);

/// Renders the HorizontalPodAutoscaler, if one is declared.
pub(super) fn render(workload: &Workload) -> Vec<Yaml> {
    let Some(Autoscale { max, cpu }) = workload.service.deploy.autoscale else { return Vec::new() };
    let is_stable = workload.kubernetes.version >= STABLE;
    let target = map! { "type" => "Utilization", "averageUtilization" => cpu };
    let metric = map! { "type" => "Resource", "resource" => map! { "name" => "cpu", "target" => target } };
    vec![map! {
        "apiVersion" => if is_stable { "autoscaling/v2" } else { "autoscaling/v1" },
        "kind" => "HorizontalPodAutoscaler",
        "metadata" => workload.metadata(&workload.name),
        "spec" => map! {
            "scaleTargetRef" => workload.reference(),
            "minReplicas" => workload.service.concurrency,
            "maxReplicas" => max,
            "targetCPUUtilizationPercentage" => (!is_stable).then_some(cpu),
            "metrics" => is_stable.then(|| list![metric]),
        },
    }]
}
