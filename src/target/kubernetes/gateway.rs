//! Routes as HTTPRoutes of Gateway API.

use std::collections::BTreeMap;

use crate::model::Route;
use crate::model::route::{Answer, HeaderChanges};
use crate::target::kubernetes::ports::name_of;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, list, map};

/// The longest name of an object.
const LONGEST: usize = 63;

/// Renders an HTTPRoute for each host.
pub(super) fn render(workload: &Workload, gateway: &str) -> Vec<Yaml> {
    let mut hosts: BTreeMap<Option<&String>, Vec<Yaml>> = BTreeMap::new();
    for route in &workload.service.routes {
        if let Some(rule) = rule(workload, route) {
            hosts.entry(route.host.as_ref()).or_default().push(rule);
        }
    }
    let (namespace, name) =
        gateway.split_once('/').map_or((None, gateway), |(namespace, name)| (Some(namespace), name));
    let object = |(host, rules): (Option<&String>, Vec<Yaml>)| {
        map! {
            "apiVersion" => "gateway.networking.k8s.io/v1",
            "kind" => "HTTPRoute",
            "metadata" => workload.metadata(&object_name(workload, host)),
            "spec" => map! {
                "parentRefs" => list![map! { "name" => name, "namespace" => namespace }],
                "hostnames" => host.map(|host| list![host]),
                "rules" => rules,
            },
        }
    };
    hosts.into_iter().map(object).collect()
}

fn object_name(workload: &Workload, host: Option<&String>) -> String {
    let host = host.map_or("all".to_owned(), |host| host.replace('*', "wildcard"));
    let mut name = format!("{}-{host}", workload.name);
    name.truncate(LONGEST);
    name.trim_end_matches(['-', '.']).to_owned()
}

fn rule(workload: &Workload, route: &Route) -> Option<Yaml> {
    let Answer::Service { listener, .. } = &route.answer else { return None };
    let name = name_of(listener.as_ref());
    let port = workload.ports.of_service.iter().find(|port| port.name == name)?.number;
    let matching = &route.matching;
    let path = map! { "type" => if matching.exact { "Exact" } else { "PathPrefix" }, "value" => &matching.path };
    let header = |(name, value): (&String, &String)| map! { "name" => name, "value" => value };
    let headers = Yaml::List(matching.headers.iter().map(header).collect()).or_absent();
    let matches =
        |method: Option<&String>| map! { "path" => path.clone(), "method" => method, "headers" => headers.clone() };
    let matches: Vec<_> = if matching.methods.is_empty() {
        vec![matches(None)]
    } else {
        matching.methods.iter().map(|method| matches(Some(method))).collect()
    };
    let handling = &route.handling;
    let mut filters = Vec::new();
    if handling.strip_prefix {
        let path = map! { "type" => "ReplacePrefixMatch", "replacePrefixMatch" => "/" };
        filters.push(map! { "type" => "URLRewrite", "urlRewrite" => map! { "path" => path } });
    }
    filters.extend(changes("RequestHeaderModifier", "requestHeaderModifier", &handling.request_headers));
    filters.extend(changes("ResponseHeaderModifier", "responseHeaderModifier", &handling.response_headers));
    Some(map! {
        "matches" => matches,
        "filters" => Yaml::List(filters).or_absent(),
        "backendRefs" => list![map! { "name" => &workload.name, "port" => port }],
    })
}

fn changes(kind: &str, key: &str, changes: &HeaderChanges) -> Option<Yaml> {
    let HeaderChanges { remove, set, add } = changes;
    let fields = |fields: &BTreeMap<String, String>| {
        let field = |(name, value): (&String, &String)| map! { "name" => name, "value" => value };
        Yaml::List(fields.iter().map(field).collect()).or_absent()
    };
    let changed =
        map! { "remove" => Yaml::from(remove.clone()).or_absent(), "set" => fields(set), "add" => fields(add) };
    (!changes.is_empty()).then(|| map! { "type" => kind, key => changed })
}
