//! Secrets that objects refer to: conductor renders none, and says how they are created.

use std::collections::BTreeMap;

use crate::model::route::Security;
use crate::target::kubernetes::names::secret_of_file;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::Yaml;
use crate::target::kubernetes::{ingress, volume};

/// Returns comments with the commands that create the Secrets of objects.
pub(super) fn needed(workload: &Workload, objects: &[Yaml]) -> String {
    let kind = objects.first().and_then(|object| object.text_at(&["kind"]));
    let commands = match kind {
        Some("Deployment") => of_pods(workload),
        Some("Ingress") => of_hosts(workload),
        _ => Vec::new(),
    };
    let namespace =
        workload.kubernetes.namespace.as_ref().map(|name| format!(" --namespace {name}")).unwrap_or_default();
    commands.into_iter().map(|command| format!("# kubectl create secret{namespace} {command}\n")).collect()
}

fn of_pods(workload: &Workload) -> Vec<String> {
    let process = &workload.service.process;
    let mut commands = Vec::new();
    if process.has_credentials() {
        let plain = process.credentials.iter().map(|(name, path)| format!(" --from-file={name}={path}"));
        let encrypted = process.credentials_encrypted.iter();
        let encrypted = encrypted.map(|(name, path)| format!(" --from-file={name}=<(systemd-creds decrypt {path} -)"));
        let files: String = plain.chain(encrypted).collect();
        commands.push(format!("generic {}{files}", volume::secret(workload)));
    }
    for file in &process.environment_files {
        let path = file.trim_start_matches('-');
        if !path.starts_with("./") {
            commands.push(format!("generic {} --from-env-file={path}", secret_of_file(workload.service, path)));
        }
    }
    commands
}

fn of_hosts(workload: &Workload) -> Vec<String> {
    let certificates = workload.service.routes.iter().filter_map(|route| match (&route.host, &route.security) {
        (Some(host), Security::With { certificate: Some(certificate), .. }) => Some((host, certificate)),
        _ => None,
    });
    let certificates: BTreeMap<_, _> = certificates.collect();
    let command = |(host, certificate): (&String, &crate::model::route::Certificate)| {
        format!("tls {} --cert={} --key={}", ingress::secret(host), certificate.chain, certificate.key)
    };
    certificates.into_iter().map(command).collect()
}
