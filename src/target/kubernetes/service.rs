//! The Services of Kubernetes that lead callers to the pods.

use crate::model::route::{Answer, AppProtocol};
use crate::model::{Affinity, Service};
use crate::target::kubernetes::ports::{ServicePort, name_of};
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};

/// Renders the Service within the cluster, and one that callers outside reach, if there are such ports.
pub(super) fn render(workload: &Workload) -> Vec<Yaml> {
    let (public, inner): (Vec<_>, Vec<_>) = workload.ports.of_service.iter().partition(|port| port.is_public);
    let mut services = Vec::new();
    if !inner.is_empty() {
        services.push(object(workload, &workload.name, None, &inner));
    }
    if !public.is_empty() {
        services.push(object(workload, &public_name(workload), Some("LoadBalancer"), &public));
    }
    services
}

/// Returns the name of the Service that callers outside of the cluster reach.
fn public_name(workload: &Workload) -> String {
    format!("{}-ports", workload.name)
}

fn object(workload: &Workload, name: &str, kind: Option<&str>, ports: &[&ServicePort]) -> Yaml {
    let port = |port: &&ServicePort| {
        map! {
            "name" => &port.name,
            "port" => port.number,
            "targetPort" => &port.target,
            "protocol" => "TCP",
            "appProtocol" => is_h2c(workload.service, port).then_some("kubernetes.io/h2c"),
        }
    };
    map! {
        "apiVersion" => "v1",
        "kind" => "Service",
        "metadata" => workload.metadata(name),
        "spec" => map! {
            "type" => kind,
            "selector" => workload.selector(),
            "sessionAffinity" => is_by_source(workload.service).then_some("ClientIP"),
            "ports" => ports.iter().map(port).collect::<Vec<_>>(),
        },
    }
}

/// Returns whether a route leads requests to a port as HTTP/2 without TLS.
fn is_h2c(service: &Service, port: &ServicePort) -> bool {
    service.routes.iter().any(|route| match &route.answer {
        Answer::Service { listener, protocol: AppProtocol::H2c } => name_of(listener.as_ref()) == port.target,
        _ => false,
    })
}

fn is_by_source(service: &Service) -> bool {
    service.routes.iter().any(|route| route.handling.affinity == Some(Affinity::Source))
}
