//! `IPAddressAllow=` and `IPAddressDeny=` as a NetworkPolicy.

use std::net::IpAddr;

use crate::model::Systemd;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, list, map};
use crate::unitfile;

/// Words for networks, systemd.resource-control(5); those that never leave a pod have no networks here.
const WORDS: &[(&str, &[&str])] = &[
    ("any", &["0.0.0.0/0", "::/0"]),
    ("localhost", &[]),
    ("link-local", &["169.254.0.0/16", "fe80::/64"]),
    ("multicast", &["224.0.0.0/4", "ff00::/8"]),
];

/// Returns the networks of a directive; None if it has a value that is none.
fn networks(systemd: &Systemd, directive: &str) -> Option<Vec<String>> {
    let mut networks = Vec::new();
    for set in systemd.service.iter().filter(|set| set.name == directive) {
        if set.value.is_empty() {
            networks.clear();
        }
        for word in unitfile::words(&set.value) {
            networks.extend(network(&word)?);
        }
    }
    Some(networks)
}

fn network(word: &str) -> Option<Vec<String>> {
    if let Some((_, networks)) = WORDS.iter().find(|(known, _)| *known == word) {
        return Some(networks.iter().map(|network| (*network).to_owned()).collect());
    }
    let (address, length) = word.split_once('/').map_or((word, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.parse().ok()).filter(|length| *length <= most)?;
    Some(vec![format!("{address}/{length}")])
}

/// Returns whether a NetworkPolicy can say what the directives say: nothing is reached but what is allowed.
pub(super) fn is_expressible(systemd: &Systemd) -> bool {
    let denied = systemd.service.iter().filter(|set| set.name == "IPAddressDeny");
    let is_any = denied.into_iter().all(|set| set.value.split_whitespace().eq(["any"]));
    is_any && networks(systemd, "IPAddressAllow").is_some()
}

/// Renders the policy: callers reach the ports, and the pods reach the networks that are allowed.
pub(super) fn render(workload: &Workload) -> Vec<Yaml> {
    let systemd = workload.systemd;
    if !systemd.service.iter().any(|set| set.name == "IPAddressDeny" && !set.value.is_empty()) {
        return Vec::new();
    }
    let allowed = networks(systemd, "IPAddressAllow").unwrap_or_default();
    let block = |network: &String| map! { "ipBlock" => map! { "cidr" => network } };
    let egress = match allowed.as_slice() {
        [] => list![],
        networks => list![map! { "to" => networks.iter().map(block).collect::<Vec<_>>() }],
    };
    let ports: Vec<_> =
        workload.ports.of_pods.iter().map(|port| map! { "port" => port.number, "protocol" => "TCP" }).collect();
    let ingress = if ports.is_empty() { list![] } else { list![map! { "ports" => ports }] };
    vec![map! {
        "apiVersion" => "networking.k8s.io/v1",
        "kind" => "NetworkPolicy",
        "metadata" => workload.metadata(&workload.name),
        "spec" => map! {
            // What holds for the processes that serve holds for those of commands, too.
            "podSelector" => map! { "matchLabels" => map! { "app.kubernetes.io/name" => &workload.name } },
            "policyTypes" => list!["Ingress", "Egress"],
            "ingress" => ingress,
            "egress" => egress,
        },
    }]
}
