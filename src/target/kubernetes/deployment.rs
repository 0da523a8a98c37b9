//! The Deployment of a service, and the template of its pods.

use std::time::Duration;

use crate::diagnostic::Diagnostics;
use crate::model::{Command, Engine, Hook, Strategy};
use crate::target::kubernetes::names::SERVING;
use crate::target::kubernetes::probe::seconds;
use crate::target::kubernetes::volume::Mounted;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, list, map};
use crate::target::kubernetes::{container, drain, helper, pod, probe, security, volume};

/// The time that a node needs to pull images and mount volumes, beside that of hooks and health.
const SCHEDULING: Duration = Duration::from_secs(60);

/// Renders the Deployment. Neither routes nor the number of pods change its template: they roll nothing.
///
/// # Errors
/// What the pod's file or the helper program lacks.
pub(super) fn render(workload: &Workload) -> Result<Yaml, Diagnostics> {
    let service = workload.service;
    let annotations = map! { "kubernetes.io/description" => &service.description };
    let metadata = workload.kubernetes.metadata(&workload.name, workload.labels(), annotations);
    // The number of pods is the autoscaler's where there is one.
    let replicas = service.deploy.autoscale.is_none().then_some(service.concurrency);
    Ok(map! {
        "apiVersion" => "apps/v1",
        "kind" => "Deployment",
        "metadata" => metadata,
        "spec" => map! {
            "replicas" => replicas,
            "revisionHistoryLimit" => 5_u32,
            "minReadySeconds" => probe::min_ready_seconds(workload),
            "progressDeadlineSeconds" => seconds(progress_deadline(workload)),
            "strategy" => strategy(workload),
            "selector" => map! { "matchLabels" => workload.selector() },
            "template" => template(workload)?,
        },
    })
}

fn progress_deadline(workload: &Workload) -> Duration {
    let deploy = &workload.service.deploy;
    let hook = workload.service.hooks.pre_start.as_ref().map_or(Duration::ZERO, |hook| hook.timeout);
    deploy.health_timeout + hook + SCHEDULING
}

fn strategy(workload: &Workload) -> Yaml {
    let rolling = |surge: Yaml| {
        map! { "type" => "RollingUpdate", "rollingUpdate" => map! { "maxSurge" => surge, "maxUnavailable" => 0_u32 } }
    };
    match workload.service.deploy.strategy {
        Strategy::Rolling => rolling(workload.service.deploy.max_surge.into()),
        Strategy::BlueGreen | Strategy::Canary => rolling("100%".into()),
        Strategy::Recreate => map! { "type" => "Recreate" },
    }
}

/// Renders the template of the pods that serve.
fn template(workload: &Workload) -> Result<Yaml, Diagnostics> {
    let helper = helper::is_needed(workload.service).then(|| workload.kubernetes.helper.name()).transpose()?;
    let restarted = workload.service.deploy.restarted_at.as_ref();
    let metadata = map! {
        "labels" => workload.labels_of_pods(SERVING),
        "annotations" => map! { "kubectl.kubernetes.io/restartedAt" => restarted }.or_absent(),
    };
    let mounted = volume::of(workload, helper);
    let mut spec = match &workload.service.process.engine {
        Engine::Pod(declared) => pod::spec(workload, declared, &mounted)?,
        Engine::Exec { .. } | Engine::Container(_) => containers(workload, &mounted),
    };
    let spread = map! {
        "maxSkew" => 1_u32,
        "topologyKey" => "kubernetes.io/hostname",
        "whenUnsatisfiable" => "ScheduleAnyway",
        "labelSelector" => map! { "matchLabels" => spread_over(workload) },
    };
    let own = [
        ("serviceAccountName", Yaml::from(&workload.name)),
        ("automountServiceAccountToken", false.into()),
        ("enableServiceLinks", false.into()),
        // The first process of a container ignores signals that it does not handle, unless the pod has one of its own.
        ("shareProcessNamespace", true.into()),
        ("terminationGracePeriodSeconds", drain::grace_period(workload).into()),
        ("topologySpreadConstraints", list![spread]),
    ];
    own.into_iter().for_each(|(key, value)| spec.set(key, value));
    Ok(map! { "metadata" => metadata, "spec" => spec })
}

/// Returns the labels of the pods that are spread: those of a generation.
fn spread_over(workload: &Workload) -> Yaml {
    let mut labels = workload.selector();
    labels.set("conductor/generation", workload.id.as_str().into());
    labels
}

fn containers(workload: &Workload, mounted: &[Mounted]) -> Yaml {
    let before = workload
        .service
        .hooks
        .pre_start
        .as_ref()
        .map(|Hook { command, .. }| list![container::running(workload, "pre-start", command, mounted)]);
    let mut spec = map! {};
    if let Some(before) = before {
        spec.set("initContainers", before);
    }
    spec.set("containers", list![container::serving(workload, mounted)]);
    finish(workload, &mut spec, mounted);
    spec
}

/// Renders the spec of pods that run another command than the serving ones.
pub(super) fn other_pod(workload: &Workload, name: &str, command: &Command) -> Yaml {
    let mounted = volume::of(workload, None);
    let mut spec = map! {
        "restartPolicy" => "Never",
        "serviceAccountName" => &workload.name,
        "automountServiceAccountToken" => false,
        "enableServiceLinks" => false,
        "containers" => list![container::running(workload, name, command, &mounted)],
    };
    finish(workload, &mut spec, &mounted);
    spec
}

fn finish(workload: &Workload, spec: &mut Yaml, mounted: &[Mounted]) {
    let security = security::of_pod(workload);
    if security != Yaml::Absent {
        spec.set("securityContext", security);
    }
    let volumes: Vec<_> = mounted.iter().filter_map(|mounted| mounted.volume.clone()).collect();
    if !volumes.is_empty() {
        spec.set("volumes", Yaml::List(volumes));
    }
}
