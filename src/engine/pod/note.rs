//! What of a pod's file conductor does not use, or not as Kubernetes does.

use serde_json::Value;

use super::manifest::PodSpec;
use super::place::Place;
use super::yaml::Document;
use crate::diagnostic::Diagnostic;
use crate::model::Strategy;
use crate::path;

/// The pod that callers reach.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Its name in the file.
    pub(crate) pod: String,
    /// The port, for TCP.
    pub(crate) port: Option<u16>,
}

impl Reached {
    /// Notes that another pod, whose kind is at `at`, is not reached.
    pub(crate) fn note_of_another(&self, at: &Place) -> Diagnostic {
        let remedy = "write the pod that callers reach first, or declare this one in a [[part]] of its own";
        let port = self.port.map_or_else(String::new, |port| format!("port {port} of "));
        at.error(format!("routes and ports lead to {port}the first pod, {}, and not to this one", self.pod), remedy)
    }

    /// Notes ports of the pod that are not reached, and that none of them is, if the containers tell their ports.
    pub(crate) fn note_of_ports(&self, at: &Place, spec: &PodSpec) -> Vec<Diagnostic> {
        let Some(reached) = self.port else { return Vec::new() };
        let mut told = Vec::new();
        for (index, container) in spec.containers.iter().flatten().enumerate() {
            let of_container = container.name.as_deref().unwrap_or_default();
            for (which, port) in container.ports.iter().flatten().enumerate() {
                let at = at.join("containers").join(index).join("ports").join(which).join("containerPort");
                told.extend(port.container_port.map(|port| (port, of_container, at)));
            }
        }
        let leads = match told.iter().find(|(port, ..)| *port == reached) {
            Some((_, container, _)) => format!("routes and ports lead to port {reached}, of the container {container}"),
            None => format!("routes and ports lead to port {reached}, which no container of the file tells"),
        };
        let others = told.iter().filter(|(port, ..)| *port != reached);
        let note = |(port, container, at): &(u16, &str, Place)| {
            let message = format!("{leads}, and not to port {port} of {container}");
            at.error(
                message,
                format!("write port = {port} in [pod], or declare that container in a [[part]] of its own"),
            )
        };
        others.map(note).collect()
    }
}

/// Notes that a Deployment replaces its pods in another way than the service its deployments.
pub(crate) fn of_strategy(document: &Document, strategy: Strategy) -> Option<Diagnostic> {
    let at = path!["spec", "strategy", "type"];
    let recreates = document.get(&at).as_ref().and_then(Value::as_str) == Some("Recreate");
    (recreates && strategy != Strategy::Recreate).then(|| {
        let message = "the strategy is that of service.toml: old and new deployments run beside each other";
        document.error(&at, message, "write strategy = \"recreate\" in [deploy]")
    })
}

/// Takes fields out of a pod that have no effect, and notes them.
pub(crate) fn of_fields(at: &Place, spec: &mut PodSpec) -> Vec<Diagnostic> {
    let mut notes = Vec::new();
    if spec.rest.remove("imagePullSecrets").is_some() {
        let remedy = "log in as root: `podman login --authfile /root/.docker/config.json REGISTRY`";
        let message = "podman does not use imagePullSecrets";
        notes.push(at.join("imagePullSecrets").error(message, remedy));
    }
    for (index, container) in spec.containers.iter_mut().flatten().enumerate() {
        if container.rest.remove("lifecycle").is_some() {
            let message = "podman runs no hooks of a container";
            let remedy = "write post_start and pre_stop in [hooks] of service.toml";
            notes.push(at.join("containers").join(index).join("lifecycle").error(message, remedy));
        }
    }
    notes
}
