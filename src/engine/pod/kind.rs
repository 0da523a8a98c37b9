//! Objects of Kubernetes that conductor does not run, and what to write instead.

use super::place::Place;
use super::yaml::Document;
use crate::diagnostic::Diagnostic;
use crate::directive::closest;
use crate::path;

/// Kinds that are pods or make some, which conductor runs.
pub(crate) const WORKLOADS: &[&str] = &["Pod", "Deployment", "DaemonSet", "Job"];

/// The other kinds that have a meaning for a pod.
const CONFIGURATION: &[&str] = &["ConfigMap", "Secret", "PersistentVolumeClaim"];

/// Kinds that make pods which conductor does not run: without these a part of the application would be missing.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "StatefulSet",
        "write kind: Deployment, a PersistentVolumeClaim for each of volumeClaimTemplates, and strategy = \"recreate\" in \
         [deploy]",
    ),
    ("CronJob", "take it out: a systemd timer whose service runs `podman run --rm IMAGE COMMAND` does the same"),
    ("ReplicaSet", "write kind: Deployment"),
    ("ReplicationController", "write kind: Deployment"),
    ("PodTemplate", "write kind: Pod"),
];

/// Kinds that a cluster needs and this host does not.
const NOT_USED: &[(&str, &str)] = &[
    ("Service", "write [[route]] for HTTP or [[port]] for TCP in service.toml, and its targetPort as port in [pod]"),
    ("Ingress", "write [[route]] with host and path in service.toml"),
    ("IngressClass", "write [[route]] with host and path in service.toml"),
    ("HTTPRoute", "write [[route]] with host and path in service.toml"),
    ("GRPCRoute", "write [[route]] with host and path in service.toml"),
    ("TCPRoute", "write [[port]] in service.toml"),
    ("Gateway", "write [[route]] with host and path in service.toml"),
    ("HorizontalPodAutoscaler", "write concurrency in service.toml"),
    ("PodDisruptionBudget", "write max_surge in [deploy]: a rollout starts new deployments before it stops old ones"),
    ("NetworkPolicy", "write network in [pod]: pods of other networks do not reach it"),
    ("LimitRange", "write [resources] in service.toml"),
    ("ResourceQuota", "write [resources] in service.toml"),
    ("PersistentVolume", "write a PersistentVolumeClaim, which podman keeps as a volume of its name, or hostPath"),
    ("StorageClass", "write a PersistentVolumeClaim, which podman keeps as a volume of its name, or hostPath"),
];

/// Returns whether a document of this kind is for the pods of its file, and none itself.
pub(crate) fn is_configuration(kind: &str) -> bool {
    CONFIGURATION.contains(&kind)
}

/// Returns what becomes of a document that is no workload and no configuration: a note, that it is not used.
///
/// # Errors
/// If a part of the application would not run, or the kind is missing or misspelt.
pub(crate) fn note(document: &Document, kind: &str) -> Result<Diagnostic, Diagnostic> {
    let at = Place::new(document, path!["kind"]);
    if kind.is_empty() {
        return Err(at.error("the document has no kind", "write kind: Pod, or take the document out"));
    }
    if let Some((_, remedy)) = NOT_RUN.iter().find(|(name, _)| *name == kind) {
        return Err(at.error(format!("conductor runs no {kind}"), *remedy));
    }
    if let Some((_, remedy)) = NOT_USED.iter().find(|(name, _)| *name == kind) {
        return Ok(at.error(format!("the {kind} is not used"), *remedy));
    }
    match closest(kind, WORKLOADS.iter().chain(CONFIGURATION).copied()) {
        Some(near) => Err(at.error(format!("there is no kind {kind}"), format!("did you mean {near}?"))),
        None => Ok(at.error(format!("the {kind} is not used"), "take it out: it is for a cluster of Kubernetes alone")),
    }
}
