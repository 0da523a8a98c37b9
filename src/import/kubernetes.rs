//! Files of Kubernetes: each workload is a part that podman runs from its own file.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::import::declaration::{Declaration, Section, Service, name_of};
use crate::import::input::Input;
use crate::import::note::{Fate, Report};
use crate::import::text::Text;
use crate::import::tree::{self, Entry, Node, Value};
use crate::import::{cron, order, yaml};

/// Kinds whose pods podman runs.
const WORKLOADS: &[&str] =
    &["Pod", "Deployment", "DaemonSet", "Job", "StatefulSet", "ReplicaSet", "ReplicationController", "CronJob"];

/// Kinds that belong to a pod's file.
const CONFIGURATION: &[&str] = &["ConfigMap", "Secret", "PersistentVolumeClaim"];

/// Fields of a pod that mean something to a cluster alone.
const OF_CLUSTER: &[&str] = &[
    "affinity",
    "tolerations",
    "nodeSelector",
    "nodeName",
    "topologySpreadConstraints",
    "schedulerName",
    "priorityClassName",
    "priority",
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "runtimeClassName",
    "preemptionPolicy",
    "enableServiceLinks",
    "dnsPolicy",
    "readinessGates",
    "schedulingGates",
    "overhead",
];

/// Kinds of volumes that podman mounts.
const VOLUMES: &[&str] = &["emptyDir", "hostPath", "configMap", "secret", "projected", "persistentVolumeClaim"];

/// Returns whether a document is an object of Kubernetes.
pub(crate) fn is_one(root: &Node) -> bool {
    root.text_at(&["kind"]).is_some()
        && (root.get("apiVersion").is_some() || root.get("metadata").is_some() || root.get("items").is_some())
}

/// Translates all documents of a file.
///
/// # Errors
/// If it is not YAML, or has no workload.
pub(crate) fn import(input: &Input, report: &mut Report) -> Result<Declaration, Diagnostics> {
    import_all(std::slice::from_ref(input), input.path().file_stem().unwrap_or("pod"), report)
}

/// Translates all documents of several files.
///
/// # Errors
/// If one is not YAML, or none has a workload.
pub(crate) fn import_all(inputs: &[Input], name: &str, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let mut documents = Vec::new();
    for input in inputs {
        for document in tree::documents(&input.source)? {
            flatten(document, &mut documents);
        }
    }
    let mut declaration = Declaration::new(name);
    declaration.is_group = documents.iter().filter(|document| WORKLOADS.contains(&kind(document))).count() > 1;
    let objects = Objects { documents: &documents };
    for document in &documents {
        if WORKLOADS.contains(&kind(document)) {
            objects.workload(document, &mut declaration, report);
        }
    }
    for document in &documents {
        other(document, report);
    }
    if declaration.services.is_empty() {
        let path = inputs.first().map(|input| input.path().to_owned()).unwrap_or_default();
        let reasons: Vec<_> = report.of(Fate::Omitted).iter().map(|note| note.to_string()).collect();
        let remedy =
            if reasons.is_empty() { "write kind: Deployment or kind: Pod".to_owned() } else { reasons.join("; ") };
        return Err(Diagnostic::of_file(&path, "no object of the file runs anything here", remedy).into());
    }
    if let [one] = declaration.services.as_slice() {
        declaration.name = one.name.clone();
    }
    order::keep_parts(&mut declaration);
    Ok(declaration)
}

/// Takes lists of objects apart.
fn flatten(document: Node, documents: &mut Vec<Node>) {
    match document.get("items") {
        Some(items) if kind(&document).ends_with("List") => {
            items.items().iter().for_each(|item| flatten(item.clone(), documents));
        }
        _ => documents.push(document),
    }
}

fn kind(document: &Node) -> &str {
    document.text_at(&["kind"]).unwrap_or_default()
}

fn name(document: &Node) -> &str {
    document.text_at(&["metadata", "name"]).or_else(|| document.text_at(&["metadata", "generateName"])).unwrap_or("pod")
}

struct Objects<'a> {
    documents: &'a [Node],
}

impl Objects<'_> {
    fn of<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Node> {
        self.documents.iter().filter(move |document| kind(document) == wanted)
    }

    fn workload(&self, document: &Node, declaration: &mut Declaration, report: &mut Report) {
        let kind = kind(document);
        let label = format!("{kind}/{}", name(document));
        report.see(&document.position);
        let mut service = Service::new(unique(name(document), declaration));
        if service.name != name(document) {
            report.approximated(&document.position, label.as_str(), format!("the part is {:?}", service.name));
        }
        let way: &[&str] = match kind {
            "Pod" => &[],
            "CronJob" => &["spec", "jobTemplate", "spec", "template"],
            _ => &["spec", "template"],
        };
        let Some(pod) = document.at(way).filter(|pod| pod.at(&["spec", "containers"]).is_some()) else {
            return report.omitted(&document.position, label, "it has no pod with containers");
        };
        if kind == "CronJob" {
            if job(document, pod, &label, &mut service, report) {
                declaration.services.push(service);
            }
            return;
        }
        if kind == "Job" {
            report.approximated(
                &document.position,
                label.as_str(),
                "systemd starts again what ends: [commands.NAME] runs once",
            );
        }
        let spec = pod.get("spec").cloned().unwrap_or_else(|| pod.clone());
        let mut one = Workload { objects: self, label: &label, service: &mut service, report };
        let mut spec = one.spec(spec);
        one.controller(document);
        one.reach(pod);
        let mut metadata = pod.get("metadata").cloned();
        if metadata.as_ref().is_none_or(|metadata| metadata.get("name").is_none()) {
            metadata = Some(with_name(metadata, name(document), &document.position));
        }
        let configuration = self.configuration(&mut spec, document, &label, report);
        let mut file = vec![object(document, metadata, spec)];
        file.extend(configuration);
        let path = declaration.place(&service.name, "pod.yaml");
        declaration.add_file(&path, yaml::write(&file), false);
        service.set("pod", "template", path);
        declaration.services.push(service);
    }

    /// ConfigMaps, Secrets and claims that a pod refers to.
    fn configuration(&self, spec: &mut Node, document: &Node, label: &str, report: &mut Report) -> Vec<Node> {
        let mut names = BTreeSet::new();
        references(spec, &mut names);
        let mut found = Vec::new();
        for (of, named) in &names {
            match self.of(of).find(|object| name(object) == named) {
                Some(object) => found.push(without(object, &["metadata", "namespace"])),
                None if *of == "PersistentVolumeClaim" => {
                    report.approximated(
                        &document.position,
                        format!("{label}: {of}/{named}"),
                        "podman creates a volume of this name",
                    );
                }
                None => {
                    let text =
                        "the file does not have it: write it into the pod's file, or name a file with it in config_map";
                    report.omitted(&document.position, format!("{label}: {of}/{named}"), text);
                    make_optional(spec, of, named);
                }
            }
        }
        for claim in document.at(&["spec", "volumeClaimTemplates"]).map(Node::items).unwrap_or_default() {
            report.approximated(
                &claim.position,
                format!("{label}.spec.volumeClaimTemplates"),
                "the deployments share one volume of the claim's name",
            );
        }
        found
    }
}

/// The translation of one workload.
struct Workload<'a> {
    objects: &'a Objects<'a>,
    label: &'a str,
    service: &'a mut Service,
    report: &'a mut Report,
}

impl Workload<'_> {
    fn omit(&mut self, node: &Node, key: &str, text: &str) {
        self.report.omitted(&node.position, format!("{}.{key}", self.label), text);
    }

    fn approximate(&mut self, node: &Node, key: &str, text: &str) {
        self.report.approximated(&node.position, format!("{}.{key}", self.label), text);
    }

    /// Takes out of a pod what conductor refuses, or has elsewhere.
    fn spec(&mut self, mut spec: Node) -> Node {
        let Value::Map(entries) = &mut spec.value else { return spec };
        let mut kept = Vec::new();
        for mut entry in std::mem::take(entries) {
            self.report.see(&entry.position);
            let key = entry.key.clone();
            match key.as_str() {
                key if OF_CLUSTER.contains(&key) => self.omit(&entry.node, key, "it is for a cluster"),
                "hostNetwork" => {
                    self.omit(
                        &entry.node,
                        "hostNetwork",
                        "deployments of two generations would share the host's ports",
                    );
                }
                "imagePullSecrets" => {
                    let text = "log in as root: podman login --authfile /root/.docker/config.json REGISTRY";
                    self.omit(&entry.node, "imagePullSecrets", text);
                }
                "terminationGracePeriodSeconds" => {
                    if let Some(seconds @ 1..=31_536_000) = entry.node.number() {
                        self.service.set("deploy", "drain_timeout", format!("{seconds}s"));
                    }
                }
                "containers" | "initContainers" => {
                    if let Value::List(items) = &mut entry.node.value {
                        for (index, item) in items.iter_mut().enumerate() {
                            self.container(item, index == 0 && key == "containers");
                        }
                    }
                    kept.push(entry);
                }
                "volumes" => {
                    self.volumes(&mut entry.node);
                    kept.push(entry);
                }
                _ => kept.push(entry),
            }
        }
        *entries = kept;
        spec
    }

    fn container(&mut self, container: &mut Node, is_first: bool) {
        let Value::Map(entries) = &mut container.value else { return };
        let mut kept = Vec::new();
        for mut entry in std::mem::take(entries) {
            self.report.see(&entry.position);
            match entry.key.as_str() {
                "image" => {
                    if let Value::Scalar { text, .. } = &mut entry.node.value {
                        *text = super::container::image(text);
                    }
                    kept.push(entry);
                }
                "lifecycle" => self.lifecycle(&entry, is_first),
                "livenessProbe" => self.liveness(&entry, is_first),
                "ports" => {
                    self.host_ports(&mut entry.node);
                    kept.push(entry);
                }
                "terminationMessagePath" | "terminationMessagePolicy" => {}
                "env" => {
                    self.environment(&mut entry.node);
                    kept.push(entry);
                }
                _ => kept.push(entry),
            }
        }
        *entries = kept;
    }

    /// Takes out variables whose values a cluster knows.
    fn environment(&mut self, node: &mut Node) {
        let Value::List(items) = &mut node.value else { return };
        let mut kept = Vec::new();
        for item in std::mem::take(items) {
            let of_cluster = ["fieldRef", "resourceFieldRef", "fileKeyRef"]
                .iter()
                .find(|key| item.at(&["valueFrom", key]).is_some());
            match of_cluster {
                Some(key) => {
                    let text = "the value is that of a cluster: POD_NAME and POD_IP_ADDRESS are conductor's";
                    self.omit(&item, &format!("env.{}.{key}", item.text_at(&["name"]).unwrap_or_default()), text);
                }
                None => kept.push(item),
            }
        }
        *items = kept;
    }

    fn host_ports(&mut self, ports: &mut Node) {
        let Value::List(items) = &mut ports.value else { return };
        for item in items {
            let host = item.get("hostPort").and_then(Node::number);
            let port = item.get("containerPort").and_then(Node::number).and_then(|port| u16::try_from(port).ok());
            let is_tcp = item.text_at(&["protocol"]).is_none_or(|protocol| protocol == "TCP");
            if let (Some(host @ 1..=65535), Some(port), true) = (host, port, is_tcp) {
                let published =
                    super::container::Published { host: Some(host.to_string().into()), container: port, is_udp: false };
                let name = self.service.name.clone();
                if let Some(text) = super::container::publish(self.service, "pod", &name, &[published]) {
                    self.approximate(&item.clone(), "hostPort", text);
                }
            }
            if let Value::Map(entries) = &mut item.value {
                entries.retain(|entry| !matches!(entry.key.as_str(), "hostPort" | "hostIP"));
            }
        }
    }

    fn volumes(&mut self, volumes: &mut Node) {
        let Value::List(items) = &mut volumes.value else { return };
        for item in items {
            let Value::Map(entries) = &mut item.value else { continue };
            let Some(at) = entries.iter().position(|entry| entry.key != "name") else { continue };
            let entry = &mut entries[at];
            if VOLUMES.contains(&entry.key.as_str()) {
                continue;
            }
            let text = format!("podman mounts no {}: the pod has an empty directory instead", entry.key);
            self.report.omitted(&entry.position, format!("{}.volumes.{}", self.label, entry.key), text);
            entry.key = "emptyDir".to_owned();
            entry.node.value = Value::Map(Vec::new());
        }
    }

    fn lifecycle(&mut self, entry: &Entry, is_first: bool) {
        for hook in entry.node.entries() {
            let to = if hook.key == "preStop" { "pre_stop" } else { "post_start" };
            let command = hook.node.at(&["exec", "command"]).map(Node::texts).unwrap_or_default();
            if is_first && !command.is_empty() && matches!(hook.key.as_str(), "preStop" | "postStart") {
                let words: Vec<Text> = command.into_iter().map(|word| Text::from(word).into_word()).collect();
                self.service.set("hooks", to, words);
                self.service.push("hooks", "inside", to);
            } else {
                self.omit(&hook.node, &format!("lifecycle.{}", hook.key), "hooks are commands of the first container");
            }
        }
    }

    fn liveness(&mut self, entry: &Entry, is_first: bool) {
        let probe = &entry.node;
        let command = probe.at(&["exec", "command"]).map(Node::texts).unwrap_or_default();
        if !is_first || self.service.has("health.live") {
            return self.omit(probe, "livenessProbe", "[health.live] asks the first container");
        }
        if !command.is_empty() {
            let words: Vec<Text> = command.into_iter().map(|word| Text::from(word).into_word()).collect();
            self.service.set("health.live", "exec", words);
        } else if let Some(get) = probe.get("httpGet") {
            self.service.set("health.live", "http", get.text_at(&["path"]).unwrap_or("/"));
            self.approximate(probe, "livenessProbe", "[health.live] asks at the port of [pod]");
        } else if probe.get("tcpSocket").is_some() {
            self.service.set("health.live", "tcp", true);
        } else {
            return self.omit(probe, "livenessProbe", "[health.live] asks by HTTP, TCP or a command");
        }
        for (key, to) in [("periodSeconds", "interval"), ("timeoutSeconds", "timeout")] {
            if let Some(seconds @ 1..=86_400) = probe.get(key).and_then(Node::number) {
                self.service.set("health.live", to, format!("{seconds}s"));
            }
        }
        if let Some(failures @ 1..=1000) = probe.get("failureThreshold").and_then(Node::number) {
            self.service.set("health.live", "failures", failures);
        }
    }

    /// Translates what the controller of a pod says.
    fn controller(&mut self, document: &Node) {
        let Some(spec) = document.get("spec").filter(|_| kind(document) != "Pod") else { return };
        for entry in spec.entries() {
            self.report.see(&entry.position);
            match entry.key.as_str() {
                "template"
                | "selector"
                | "revisionHistoryLimit"
                | "serviceName"
                | "podManagementPolicy"
                | "minReadySeconds" => {}
                "replicas" => match entry.node.number() {
                    Some(1) => {}
                    Some(replicas @ 2..=512) => {
                        self.service.set("", "concurrency", replicas);
                        if replicas > 12 {
                            self.service.set("", "slots", replicas);
                        }
                    }
                    _ => self.omit(&entry.node, "replicas", "a service runs 1 to 512 deployments"),
                },
                "strategy" | "updateStrategy" => {
                    if entry.node.text_at(&["type"]) == Some("Recreate") {
                        self.service.set("deploy", "strategy", "recreate");
                    }
                    if let Some(surge) = entry.node.at(&["rollingUpdate", "maxSurge"]) {
                        match surge.number() {
                            Some(surge @ 1..=512) => self.service.set("deploy", "max_surge", surge),
                            _ => {
                                self.omit(surge, "strategy.rollingUpdate.maxSurge", "max_surge is a number above zero");
                            }
                        }
                    }
                }
                "progressDeadlineSeconds" => {
                    if let Some(seconds @ 1..=31_536_000) = entry.node.number() {
                        self.service.set("deploy", "health_timeout", format!("{seconds}s"));
                    }
                }
                "volumeClaimTemplates" => {}
                other => self.omit(&entry.node, &format!("spec.{other}"), "it is for a cluster"),
            }
        }
        if kind(document) == "StatefulSet" {
            let comment = "two deployments never write the same volume";
            self.service.set_with("deploy", "strategy", "recreate", comment);
        }
    }

    /// Takes port and routes from the Services and Ingresses of the file that lead to the pod.
    fn reach(&mut self, pod: &Node) {
        let labels = pod.at(&["metadata", "labels"]);
        let selected = |service: &&Node| {
            let selector = service.at(&["spec", "selector"]).map(Node::entries).unwrap_or_default();
            !selector.is_empty()
                && selector
                    .iter()
                    .all(|entry| labels.and_then(|labels| labels.text_at(&[&entry.key])) == entry.node.text())
        };
        let services: Vec<Node> = self.objects.of("Service").filter(selected).cloned().collect();
        for service in &services {
            let outside = matches!(service.text_at(&["spec", "type"]), Some("NodePort" | "LoadBalancer"));
            for port in service.at(&["spec", "ports"]).map(Node::items).unwrap_or_default() {
                let number = port.get("targetPort").or_else(|| port.get("port")).and_then(|node| number(node, pod));
                let Some(number) = number else {
                    self.omit(port, "Service.ports", "the pod has no such port");
                    continue;
                };
                if port.text_at(&["protocol"]).is_some_and(|protocol| protocol != "TCP") {
                    self.omit(port, "Service.ports", "pods take no sockets of UDP");
                    continue;
                }
                let listener = super::container::listener(self.service, "pod", number);
                if outside {
                    let host = port
                        .get("nodePort")
                        .or_else(|| port.get("port"))
                        .and_then(Node::number)
                        .and_then(|port| u16::try_from(port).ok());
                    let published = super::container::Published {
                        host: host.map(|host| host.to_string().into()),
                        container: number,
                        is_udp: false,
                    };
                    let name = self.service.name.clone();
                    if let Some(text) = super::container::publish(self.service, "pod", &name, &[published]) {
                        self.approximate(port, "Service.ports", text);
                    }
                }
                let service_name = name(service).to_owned();
                if service_name != self.service.name {
                    let text = format!("other parts reach it as {}, and not as {service_name}", self.service.name);
                    self.approximate(service, "Service.metadata.name", &text);
                }
                self.ingresses(&service_name, port, listener.as_deref());
            }
        }
        if self.service.get("pod", "port").is_none() {
            let ports = pod.at(&["spec", "containers"]).map(Node::items).unwrap_or_default();
            let first = ports
                .iter()
                .flat_map(|container| container.get("ports").map(Node::items).unwrap_or_default())
                .filter(|port| port.text_at(&["protocol"]).is_none_or(|protocol| protocol == "TCP"))
                .find_map(|port| port.get("containerPort")?.number());
            match first.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0) {
                Some(port) => self.service.set("pod", "port", i64::from(port)),
                None => self.service.set_with(
                    "listen",
                    "type",
                    "none",
                    "the source tells no port: write `port` in [pod] if it has one",
                ),
            }
        }
        if self.service.get("listen", "type").is_some() {
            let kinds = ["http", "tcp"];
            if kinds.iter().any(|kind| self.service.get("health.live", kind).is_some()) {
                self.service.drop_section("health.live");
                self.omit(pod, "livenessProbe", "a service that listens nowhere is asked by a command");
            }
        }
    }

    fn ingresses(&mut self, service: &str, port: &Node, listener: Option<&str>) {
        let mut routes = Vec::new();
        let mut notes = Vec::new();
        for ingress in self.objects.of("Ingress") {
            let secure: Vec<_> = ingress
                .at(&["spec", "tls"])
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .flat_map(|tls| tls.get("hosts").map(Node::texts).unwrap_or_default())
                .map(str::to_owned)
                .collect();
            let leads = |backend: Option<&Node>| {
                let backend = backend?;
                let of_service = backend.text_at(&["service", "name"]).or_else(|| backend.text_at(&["serviceName"]))?;
                let wanted = backend
                    .at(&["service", "port", "number"])
                    .or_else(|| backend.at(&["service", "port", "name"]))
                    .or_else(|| backend.get("servicePort"));
                let wanted = wanted.and_then(Node::text);
                let is_port =
                    wanted.is_none() || wanted == port.text_at(&["port"]) || wanted == port.text_at(&["name"]);
                (of_service == service && is_port).then_some(())
            };
            if let Some(annotations) = ingress.at(&["metadata", "annotations"]) {
                notes.push((annotations.clone(), "Ingress.metadata.annotations", "write what they say in [[route]]"));
            }
            for rule in ingress.at(&["spec", "rules"]).map(Node::items).unwrap_or_default() {
                let host = rule.text_at(&["host"]).filter(|host| !host.is_empty());
                for path in rule.at(&["http", "paths"]).map(Node::items).unwrap_or_default() {
                    if leads(path.get("backend")).is_none() {
                        continue;
                    }
                    let mut route = Section::default();
                    if let Some(host) = host {
                        route.set("host", vec![host]);
                    }
                    let prefix = path.text_at(&["path"]).unwrap_or("/");
                    if prefix.contains(['(', '*', '$', '|', '[']) || !prefix.starts_with('/') {
                        notes.push((path.clone(), "Ingress.path", "[[route]] has prefixes, and no patterns"));
                        continue;
                    }
                    let prefix = if prefix.len() > 1 { prefix.trim_end_matches('/') } else { prefix };
                    if prefix != "/" {
                        route.set("path", prefix);
                    }
                    if path.text_at(&["pathType"]) == Some("Exact") {
                        route.set("exact", true);
                    }
                    if !host.is_some_and(|host| secure.iter().any(|one| one == host)) {
                        route.set_with("tls", "off", "the Ingress has no TLS for it");
                    }
                    if let Some(listener) = listener {
                        route.set("listener", listener);
                    }
                    routes.push(route);
                }
            }
            if leads(ingress.at(&["spec", "defaultBackend"]))
                .or_else(|| leads(ingress.at(&["spec", "backend"])))
                .is_some()
            {
                let mut route = Section::default();
                route.set_with("tls", "off", "every host that no other route has");
                if let Some(listener) = listener {
                    route.set("listener", listener);
                }
                routes.push(route);
            }
        }
        for (node, key, text) in notes {
            self.omit(&node, key, text);
        }
        self.service.routes.extend(routes);
    }
}

/// A name that no other part has.
fn unique(name: &str, declaration: &Declaration) -> String {
    let base = name_of(name);
    let taken = |name: &str| declaration.services.iter().any(|service| service.name == name);
    if !taken(&base) {
        return base;
    }
    (2..).map(|number| format!("{base}-{number}")).find(|name| !taken(name)).unwrap_or(base)
}

/// Notes an object that is no workload.
fn other(document: &Node, report: &mut Report) {
    let (kind, label) = (kind(document), format!("{}/{}", kind(document), name(document)));
    report.see(&document.position);
    let text = match kind {
        kind if WORKLOADS.contains(&kind) || CONFIGURATION.contains(&kind) => return,
        "Service" | "Ingress" => return,
        "" => "it is no object of Kubernetes: it has no kind",
        "HorizontalPodAutoscaler" => {
            "concurrency in service.toml is the number of deployments: `conductor service scale`"
        }
        "PodDisruptionBudget" => "a rollout starts new deployments before it stops old ones",
        "Namespace" => "the parts of a service are by themselves",
        "NetworkPolicy" => "parts reach each other by name, and nothing else of the machine reaches them",
        "PersistentVolume" | "StorageClass" => "a claim is a volume of podman's",
        "LimitRange" | "ResourceQuota" => "write [resources] in service.toml",
        "HTTPRoute" | "GRPCRoute" | "Gateway" | "TCPRoute" | "IngressClass" => "write [[route]] with host and path",
        _ => "it is for a cluster of Kubernetes",
    };
    report.omitted(&document.position, label, text);
}

/// Translates a CronJob; false if it has no container.
fn job(document: &Node, pod: &Node, label: &str, service: &mut Service, report: &mut Report) -> bool {
    let container = pod.at(&["spec", "containers"]).and_then(|containers| containers.items().first());
    let Some(container) = container.filter(|container| container.text_at(&["image"]).is_some()) else {
        report.omitted(&document.position, label, "it has no container with an image");
        return false;
    };
    let image = super::container::image(container.text_at(&["image"]).unwrap_or_default());
    service.set("container", "image", image);
    service.set("container", "entrypoint", "sleep");
    service.set_with("container", "exec", vec!["infinity"], "a service with jobs alone waits");
    service.set("listen", "type", "none");
    let words = |key: &str| container.get(key).map(Node::texts).unwrap_or_default();
    let command: Vec<Text> =
        words("command").into_iter().chain(words("args")).map(|word| Text::from(word).into_word()).collect();
    let path = "commands.run";
    if command.is_empty() {
        service.set_with(path, "exec", vec!["/entrypoint"], "write the program of the image");
        report.omitted(
            &container.position,
            format!("{label}.spec"),
            "the image's own program has to be written in [commands.run]",
        );
    } else {
        service.set(path, "exec", command);
    }
    service.set(path, "inside", true);
    match document.text_at(&["spec", "schedule"]).map(cron::calendar) {
        Some(Ok(calendar)) => service.set(path, "schedule", calendar),
        Some(Err(message)) => report.omitted(&document.position, format!("{label}.spec.schedule"), message),
        None => report.omitted(&document.position, format!("{label}.spec.schedule"), "it has no schedule"),
    }
    if document.text_at(&["spec", "concurrencyPolicy"]) == Some("Replace") {
        report.approximated(
            &document.position,
            format!("{label}.spec.concurrencyPolicy"),
            "a job that runs is not replaced",
        );
    }
    for variable in container.get("env").map(Node::items).unwrap_or_default() {
        match (variable.text_at(&["name"]), variable.text_at(&["value"])) {
            (Some(name), Some(value)) if crate::expansion::is_name(name) => {
                service.insert("container", "environment", name, Text::from(value).into_value());
            }
            _ => report.omitted(
                &variable.position,
                format!("{label}.env"),
                "write the value in environment, or a credential",
            ),
        }
    }
    for key in ["volumeMounts", "envFrom"] {
        if let Some(node) = container.get(key) {
            report.omitted(&node.position, format!("{label}.{key}"), "write volume or environment_file in [container]");
        }
    }
    true
}

/// The number of a port that may be a name of the pod's.
fn number(node: &Node, pod: &Node) -> Option<u16> {
    if let Some(number) = node.number() {
        return u16::try_from(number).ok().filter(|port| *port > 0);
    }
    let name = node.text()?;
    let containers = pod.at(&["spec", "containers"])?.items();
    let mut ports = containers.iter().flat_map(|container| container.get("ports").map(Node::items).unwrap_or_default());
    let number = ports.find(|port| port.text_at(&["name"]) == Some(name))?.get("containerPort")?.number()?;
    u16::try_from(number).ok().filter(|port| *port > 0)
}

/// The names of configuration that a pod refers to, by kind.
fn references(node: &Node, names: &mut BTreeSet<(&'static str, String)>) {
    for entry in node.entries() {
        let is_optional = entry.node.get("optional").is_some_and(Node::is_true);
        let found = referred(entry).map(|(of, name)| (of, name.to_owned()));
        names.extend(found.filter(|_| !is_optional));
        references(&entry.node, names);
    }
    node.items().iter().for_each(|item| references(item, names));
}

/// The object that a reference names, by the reference's key.
fn referred(entry: &Entry) -> Option<(&'static str, &str)> {
    let name = |key: &str| entry.node.text_at(&[key]);
    match entry.key.as_str() {
        "configMapKeyRef" | "configMapRef" | "configMap" => name("name").map(|name| ("ConfigMap", name)),
        "secretKeyRef" | "secretRef" => name("name").map(|name| ("Secret", name)),
        "secret" => name("secretName").or_else(|| name("name")).map(|name| ("Secret", name)),
        "persistentVolumeClaim" => name("claimName").map(|name| ("PersistentVolumeClaim", name)),
        _ => None,
    }
}

/// Lets a pod start without an object that its file does not have.
fn make_optional(node: &mut Node, of: &str, named: &str) {
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                let is_it = referred(entry).is_some_and(|(kind, name)| kind == of && name == named);
                if let (true, Value::Map(fields)) = (is_it, &mut entry.node.value) {
                    let position = entry.position.clone();
                    let value = Value::Scalar { text: "true".to_owned(), is_text: false };
                    fields.retain(|field| field.key != "optional");
                    fields.push(Entry {
                        key: "optional".to_owned(),
                        position: position.clone(),
                        node: Node { position, value },
                    });
                }
                make_optional(&mut entry.node, of, named);
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| make_optional(item, of, named)),
        _ => {}
    }
}

/// The object that podman runs: a pod.
fn object(document: &Node, metadata: Option<Node>, spec: Node) -> Node {
    let position = &document.position;
    let scalar =
        |text: &str| Node { position: position.clone(), value: Value::Scalar { text: text.to_owned(), is_text: true } };
    let entry = |key: &str, node: Node| Entry { key: key.to_owned(), position: position.clone(), node };
    let metadata = metadata.map(|metadata| without(&without(&metadata, &["namespace"]), &["creationTimestamp"]));
    let mut entries = vec![entry("apiVersion", scalar("v1")), entry("kind", scalar("Pod"))];
    entries.extend(metadata.map(|metadata| entry("metadata", metadata)));
    entries.push(entry("spec", spec));
    Node { position: position.clone(), value: Value::Map(entries) }
}

fn with_name(metadata: Option<Node>, name: &str, position: &crate::diagnostic::Position) -> Node {
    let node = Node { position: position.clone(), value: Value::Scalar { text: name.to_owned(), is_text: true } };
    let mut entries = vec![Entry { key: "name".to_owned(), position: position.clone(), node }];
    entries.extend(metadata.iter().flat_map(Node::entries).filter(|entry| entry.key != "name").cloned());
    Node { position: position.clone(), value: Value::Map(entries) }
}

/// A node without the value at the end of a way.
fn without(node: &Node, way: &[&str]) -> Node {
    let mut node = node.clone();
    if let (Value::Map(entries), Some((first, rest))) = (&mut node.value, way.split_first()) {
        if rest.is_empty() {
            entries.retain(|entry| entry.key != *first);
        } else {
            for entry in entries.iter_mut().filter(|entry| entry.key == *first) {
                entry.node = without(&entry.node, rest);
            }
        }
    }
    node
}
