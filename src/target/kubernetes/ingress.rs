//! Routes as an Ingress.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Route;
use crate::model::route::{Answer, Security};
use crate::target::kubernetes::ports::name_of;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};

/// Renders the Ingress, if there are routes that lead to the service.
pub(super) fn render(workload: &Workload) -> Vec<Yaml> {
    let mut hosts: BTreeMap<Option<&String>, Vec<Yaml>> = BTreeMap::new();
    let mut secured = BTreeSet::new();
    for route in &workload.service.routes {
        let Some(path) = path(workload, route) else { continue };
        hosts.entry(route.host.as_ref()).or_default().push(path);
        if let (Some(host), true) = (&route.host, route.security != Security::Off) {
            secured.insert(host);
        }
    }
    if hosts.is_empty() {
        return Vec::new();
    }
    let tls = |host: &&String| map! { "hosts" => vec![host.as_str()], "secretName" => secret(host) };
    let rule =
        |(host, paths): (Option<&String>, Vec<Yaml>)| map! { "host" => host, "http" => map! { "paths" => paths } };
    vec![map! {
        "apiVersion" => "networking.k8s.io/v1",
        "kind" => "Ingress",
        "metadata" => workload.metadata(&workload.name),
        "spec" => map! {
            "tls" => Yaml::List(secured.iter().map(tls).collect()).or_absent(),
            "rules" => hosts.into_iter().map(rule).collect::<Vec<_>>(),
        },
    }]
}

fn path(workload: &Workload, route: &Route) -> Option<Yaml> {
    let Answer::Service { listener, .. } = &route.answer else { return None };
    let port = map! { "name" => name_of(listener.as_ref()) };
    Some(map! {
        "path" => &route.matching.path,
        "pathType" => if route.matching.exact { "Exact" } else { "Prefix" },
        "backend" => map! { "service" => map! { "name" => &workload.name, "port" => port } },
    })
}

/// Returns the name of the Secret with a host's certificate.
pub(super) fn secret(host: &str) -> String {
    format!("{}-tls", host.replace('*', "wildcard"))
}
