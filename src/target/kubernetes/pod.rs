//! The pods of a service with `[pod]`: those of its file, completed with what every pod of a service has.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Path, Step};
use crate::engine::pod::text::Text;
use crate::engine::pod::yaml::Document;
use crate::model::{Check, Pod};
use crate::names::hex;
use crate::path;
use crate::target::kubernetes::environment::{DEPLOYMENT, own};
use crate::target::kubernetes::names::DIGITS;
use crate::target::kubernetes::volume::Mounted;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};
use crate::target::kubernetes::{drain, probe};
use crate::{template, variable};

/// The kinds of the pod's file that describe pods.
const WORKLOADS: &[&str] = &["Pod", "Deployment", "DaemonSet", "Job"];
/// The keys of maps with the name of a ConfigMap.
const REFERENCES: &[&str] = &["configMap", "configMapKeyRef", "configMapRef"];
/// The annotation with the container that commands run in.
const MAIN_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// What stands for the pod's name where Kubernetes expands it.
const NAME: &str = "$(CONDUCTOR_DEPLOYMENT)";

/// Renders the spec of the file's pod.
///
/// # Errors
/// What the file has and a Deployment's template cannot have.
pub(super) fn spec(workload: &Workload, pod: &Pod, mounted: &[Mounted]) -> Result<Yaml, Diagnostics> {
    let documents = documents(workload, pod, &pod.template)?;
    let mut workloads = documents.iter().filter(|document| WORKLOADS.contains(&kind(document).as_str()));
    let Some(document) = workloads.next() else {
        let message = "the file contains no pod";
        return Err(Diagnostic::of_file(&shown(workload, &pod.template), message, "write kind: Pod").into());
    };
    if let Some(second) = workloads.next() {
        let message = "the file has two pods, of which a Deployment has one";
        return Err(second.error(&path!["kind"], message, "write their containers in one pod, or two parts").into());
    }
    let at = if kind(document) == "Pod" { path!["spec"] } else { path!["spec", "template", "spec"] };
    let Some(Value::Object(mut spec)) = document.get(&at) else {
        return Err(document.error(&at, "the pod has no spec", "write spec: with containers").into());
    };
    refuse(document, &at, &spec)?;
    let is_list = |key: &str, spec: &serde_json::Map<String, Value>| spec.get(key).is_some_and(Value::is_array);
    if !is_list("containers", &spec) {
        return Err(document.error(&at, "the pod has no containers", "write containers: with name and image").into());
    }
    spec.insert("restartPolicy".to_owned(), "Always".into());
    let mut spec = Yaml::from(Value::Object(spec));
    // Without a probe of the file's own, the pod is ready when it accepts a connection.
    let has_probes = items(&mut spec, "containers").iter().any(|container| container.get("readinessProbe").is_some());
    let check = if has_probes { Check::Probes } else { Check::Tcp };
    let main = main_container(document, &spec);
    for list in ["initContainers", "containers"] {
        for (index, container) in items(&mut spec, list).iter_mut().enumerate() {
            complete(workload, container, mounted, (list == "containers" && index == main).then_some(&check));
        }
    }
    let volumes = mounted.iter().filter_map(|mounted| mounted.volume.clone());
    extend(&mut spec, "volumes", volumes);
    let names = configuration(workload, pod)?.into_iter().map(|config| (config.declared, config.name)).collect();
    refer(&mut spec, &names);
    Ok(spec)
}

/// A ConfigMap of the pod's files.
struct Config {
    /// Its name in the file.
    declared: String,
    /// Its own name, which has a digest: pods of two generations each have theirs.
    name: String,
    object: Yaml,
}

/// Lets references lead to ConfigMaps by their own names.
fn refer(value: &mut Yaml, names: &BTreeMap<String, String>) {
    match value {
        Yaml::List(items) => items.iter_mut().for_each(|item| refer(item, names)),
        Yaml::Map(entries) => {
            for (key, value) in entries {
                let own = value.text_at(&["name"]).and_then(|name| names.get(name));
                match own.filter(|_| REFERENCES.contains(&key.as_str())).cloned() {
                    Some(own) => value.set("name", own.into()),
                    None => refer(value, names),
                }
            }
        }
        Yaml::Absent | Yaml::Boolean(_) | Yaml::Number(_) | Yaml::Text(_) => {}
    }
}

/// Renders the ConfigMaps of the pod's files.
///
/// # Errors
/// Other objects that the files have.
pub(super) fn config_maps(workload: &Workload, pod: &Pod) -> Result<Vec<Yaml>, Diagnostics> {
    Ok(configuration(workload, pod)?.into_iter().map(|config| config.object).collect())
}

fn configuration(workload: &Workload, pod: &Pod) -> Result<Vec<Config>, Diagnostics> {
    let mut configs = Vec::new();
    for path in std::iter::once(&pod.template).chain(pod.config_map.iter().filter(|path| **path != pod.template)) {
        for document in documents(workload, pod, path)? {
            match kind(&document).as_str() {
                "ConfigMap" => configs.push(config(workload, &document)?),
                "Secret" => {
                    let message = "the contents of Secrets are not rendered";
                    let remedy =
                        "write credentials = { … } in [pod], or create the Secret with kubectl and take it out";
                    return Err(document.error(&path!["kind"], message, remedy).into());
                }
                kind if WORKLOADS.contains(&kind) => {}
                kind => {
                    let message = format!("{kind} is not rendered with a pod");
                    return Err(document
                        .error(&path!["kind"], message, "take it out, and apply it with kubectl")
                        .into());
                }
            }
        }
    }
    Ok(configs)
}

fn config(workload: &Workload, document: &Document) -> Result<Config, Diagnostics> {
    let value = document.value();
    let Some(declared) = value["metadata"]["name"].as_str().map(str::to_owned) else {
        return Err(document.error(&path!["metadata"], "the ConfigMap has no name", "write name: in metadata:").into());
    };
    let content = [&value["data"], &value["binaryData"]].map(ToString::to_string).concat();
    let name = format!("{}-{declared}-{}", workload.name, &hex(&Sha256::digest(content))[..DIGITS]);
    let mut object = Yaml::from(value);
    object.set("metadata", workload.metadata(&name));
    object.set("immutable", true.into());
    Ok(Config { declared, name, object })
}

fn shown(workload: &Workload, path: &Utf8Path) -> camino::Utf8PathBuf {
    workload.shown.join(path)
}

/// Reads a file, whose templates get the variables of `service declare` and those of conductor that are known before a pod
/// starts.
fn documents(workload: &Workload, pod: &Pod, path: &Utf8Path) -> Result<Vec<Document>, Diagnostics> {
    let shown = shown(workload, path);
    let content = workload.contents.get(path).map(|content| String::from_utf8_lossy(content).into_owned());
    let text = content
        .ok_or_else(|| Diagnostic::of_file(&shown, "is not among the files", "name a file of the declaration"))?;
    let mut own = own(workload.service, workload.id, &workload.ports);
    own.extend([DEPLOYMENT, "POD_NAME"].map(|name| (name.to_owned(), NAME.to_owned())));
    let declared = &workload.service.process.environment;
    let known = |name: &str| own.get(name).cloned();
    let value = |name: &String| Some((name.clone(), variable::expand(declared, name, &str::to_owned, &known)?));
    let mut variables: BTreeMap<String, String> = declared.keys().filter_map(value).collect();
    variables.extend(pod.variables.clone());
    variables.extend(own);
    let pieces = template::render_pieces(&shown, &text, &variables)?;
    let documents = Document::parse(Text::new(shown, pieces))?;
    Ok(documents.into_iter().flat_map(Document::flattened).collect())
}

fn kind(document: &Document) -> String {
    document.get(&path!["kind"]).and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Refuses what holds for one host alone, and the pod's name where Kubernetes does not expand it.
fn refuse(document: &Document, at: &Path, spec: &serde_json::Map<String, Value>) -> Result<(), Diagnostics> {
    let mut errors = Diagnostics::default();
    for (index, volume) in spec.get("volumes").and_then(Value::as_array).into_iter().flatten().enumerate() {
        if volume.get("hostPath").is_some() {
            let here = at.join("volumes").join(index).join("hostPath");
            let remedy = "write emptyDir, configMap or persistentVolumeClaim";
            errors.0.push(document.error(&here, "nodes have no files of this host", remedy));
        }
    }
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        let remedy = "remove it";
        errors.0.push(document.error(&at.join("hostNetwork"), "pods of one node would share their ports", remedy));
    }
    misplaced(document, at, &Value::Object(spec.clone()), &mut errors);
    errors.into_result()
}

/// Kubernetes expands variables in these lists and texts of containers alone.
fn is_expanded(path: &Path) -> bool {
    let keys = path.keys();
    keys.ends_with(&["command"]) && !keys.contains(&"exec")
        || keys.ends_with(&["args"])
        || keys.ends_with(&["env", "value"])
}

fn misplaced(document: &Document, here: &Path, value: &Value, errors: &mut Diagnostics) {
    match value {
        Value::String(text) if text.contains(NAME) && !is_expanded(here) => {
            let message = "the pod's name is known only when there is a pod";
            let remedy = "write it in command, args or the value of a variable, which Kubernetes expands";
            errors.0.push(document.error(here, message, remedy));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| misplaced(document, &here.join(index), item, errors));
        }
        Value::Object(entries) => {
            entries
                .iter()
                .for_each(|(key, item)| misplaced(document, &here.join(Step::from(key.as_str())), item, errors));
        }
        _ => {}
    }
}

/// Finds the container that serves: the one that kubectl-exec(1) takes, or else the first.
fn main_container(document: &Document, spec: &Yaml) -> usize {
    let metadata = if kind(document) == "Pod" { path!["metadata"] } else { path!["spec", "template", "metadata"] };
    let name = document.get(&metadata.join("annotations").join(MAIN_CONTAINER));
    let containers = list(spec, "containers");
    let is_it = |container: &Yaml| {
        container.text_at(&["name"]).is_some_and(|own| name.as_ref().is_some_and(|name| name == own))
    };
    containers.iter().position(is_it).unwrap_or(0)
}

/// Gives a container the service's environment and volumes, and the one that serves its ports, probes and end.
fn complete(workload: &Workload, container: &mut Yaml, mounted: &[Mounted], serves: Option<&Check>) {
    let declared = list(container, "env");
    let name = |variable: &Yaml| variable.text_at(&["name"]).map(str::to_owned);
    let names: Vec<_> = declared.iter().filter_map(name).collect();
    let Yaml::List(own) = workload.environment.render() else { return };
    // Variables that the file declares are its own, and may refer to those before them.
    let mut environment: Vec<_> =
        own.into_iter().filter(|variable| !name(variable).is_some_and(|name| names.contains(&name))).collect();
    environment.extend(declared);
    container.set("env", Yaml::List(environment));
    extend(container, "volumeMounts", mounted.iter().map(|mounted| mounted.mount.clone()));
    let Some(by_default) = serves else { return };
    let check = match &workload.service.health.check {
        Check::Probes => by_default,
        declared => declared,
    };
    add_ports(workload, container);
    let mut set = |key: &str, value: Yaml| {
        if value != Yaml::Absent && container.get(key).is_none() {
            container.set(key, value);
        }
    };
    set("startupProbe", probe::startup(workload, check));
    set("readinessProbe", probe::readiness(workload, check));
    set("livenessProbe", probe::liveness(workload));
    set("lifecycle", drain::pre_stop(workload));
}

/// Adds the service's ports by the names that its Service has for them; those of the file for the same numbers are replaced.
fn add_ports(workload: &Workload, container: &mut Yaml) {
    let own = &workload.ports.of_pods;
    let number = |port: &Yaml| match port.get("containerPort") {
        Some(Yaml::Number(number)) => number.as_u64(),
        _ => None,
    };
    let mut ports = list(container, "ports");
    ports.retain(|port| own.iter().all(|own| number(port) != Some(own.number.into())));
    ports.extend(own.iter().map(|port| {
        map! { "name" => &port.name, "containerPort" => port.number, "protocol" => "TCP" }
    }));
    if !ports.is_empty() {
        container.set("ports", Yaml::List(ports));
    }
}

fn list(map: &Yaml, key: &str) -> Vec<Yaml> {
    match map.get(key) {
        Some(Yaml::List(items)) => items.clone(),
        _ => Vec::new(),
    }
}

fn items<'a>(map: &'a mut Yaml, key: &str) -> &'a mut [Yaml] {
    let Yaml::Map(entries) = map else { return &mut [] };
    match entries.iter_mut().find(|(known, _)| known == key) {
        Some((_, Yaml::List(items))) => items,
        _ => &mut [],
    }
}

fn extend(map: &mut Yaml, key: &str, items: impl Iterator<Item = Yaml>) {
    let mut all = list(map, key);
    all.extend(items);
    if !all.is_empty() {
        map.set(key, Yaml::List(all));
    }
}
