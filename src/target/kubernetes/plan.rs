//! What applying rendered objects would change of those that a cluster has.
//!
//! A cluster's objects have defaults and states beside what was applied: only fields that are rendered are compared, and lists
//! of theirs for items that are not rendered any more.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::target::kubernetes::fields::{self, Identity};

/// What applying an object does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// There is no such object.
    Create,
    /// New pods replace the old ones.
    Roll,
    /// The number of pods changes.
    Rescale,
    /// Callers are led otherwise.
    Republish,
    /// Anything else, which rolls no pods.
    Refresh,
    /// The cluster has the object, and it is not rendered.
    Leave,
}

/// A field that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub field: String,
    /// Null: the cluster's object does not have it.
    pub old: Option<String>,
    /// Null: it is not rendered any more.
    pub new: Option<String>,
}

/// What changes of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The service that it belongs to; empty for what services have in common.
    pub service: String,
    pub kind: String,
    pub name: String,
    pub actions: BTreeSet<Action>,
    pub changes: Vec<Change>,
}

/// The labels of conductor's objects.
const MANAGER: &str = "app.kubernetes.io/managed-by";
const SERVICE: &str = "conductor/service";
const GENERATION: &str = "metadata.labels.conductor/generation";

/// Fields of which a cluster's object has a value only if it was applied.
const WITHOUT_DEFAULT: &[&str] = &[
    "args",
    "command",
    "cpu",
    "env",
    "envFrom",
    "initContainers",
    "lifecycle",
    "limits",
    "livenessProbe",
    "memory",
    "readinessProbe",
    "startupProbe",
    "tls",
    "workingDir",
];

impl Action {
    /// Returns the action as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Roll => "roll",
            Self::Rescale => "rescale",
            Self::Republish => "republish",
            Self::Refresh => "refresh",
            Self::Leave => "not rendered any more",
        }
    }
}

/// Compares rendered objects with those of a cluster, `kubectl get -o yaml`. With `is_all`, services that are not rendered are
/// not declared any more.
///
/// # Errors
/// Text that is not YAML.
pub fn compare(rendered: &str, cluster: &str, is_all: bool) -> Result<Vec<Difference>, String> {
    let rendered = fields::objects(rendered)?;
    let there: BTreeMap<_, _> = fields::objects(cluster)?.into_iter().collect();
    let mut differences: Vec<_> =
        rendered.iter().filter_map(|(identity, object)| difference(identity, object, there.get(identity))).collect();
    let services: BTreeSet<_> = rendered.iter().filter_map(|(_, object)| label(object, SERVICE)).collect();
    let known: BTreeSet<_> = rendered.iter().map(|(identity, _)| identity).collect();
    for (identity, object) in there.iter().filter(|(identity, _)| !known.contains(identity)) {
        let service = label(object, SERVICE);
        let is_ours = label(object, MANAGER) == Some("conductor") && is_applied(object);
        if is_ours && service.is_some_and(|service| is_all || services.contains(service)) {
            differences.push(of(identity, object, BTreeSet::from([Action::Leave]), Vec::new()));
        }
    }
    differences
        .sort_by(|one, other| (&one.service, &one.kind, &one.name).cmp(&(&other.service, &other.kind, &other.name)));
    Ok(differences)
}

fn label<'a>(object: &'a Value, label: &str) -> Option<&'a str> {
    object["metadata"]["labels"][label].as_str()
}

/// Returns whether an object was applied: controllers make others, with owners, that have labels of theirs.
fn is_applied(object: &Value) -> bool {
    object["metadata"].get("ownerReferences").is_none()
}

fn of(identity: &Identity, object: &Value, actions: BTreeSet<Action>, changes: Vec<Change>) -> Difference {
    let Identity { kind, name } = identity.clone();
    Difference { service: label(object, SERVICE).unwrap_or_default().to_owned(), kind, name, actions, changes }
}

fn difference(identity: &Identity, rendered: &Value, there: Option<&Value>) -> Option<Difference> {
    let Some(there) = there else {
        return Some(of(identity, rendered, BTreeSet::from([Action::Create]), Vec::new()));
    };
    let (new, old) = (fields::of(rendered), fields::of(there));
    let mut changes = Vec::new();
    // Every object has the generation in a label; where it asks for something, the pods' template has it, too.
    for (field, value) in new.iter().filter(|(field, _)| *field != GENERATION) {
        // What was written as an empty map or list may be left out there.
        let is_empty = value == "{}" || value == "[]";
        match old.get(field) {
            Some(old) if is_same(old, value) => {}
            None if is_empty => {}
            found => changes.push(change(field, found, Some(value))),
        }
    }
    for (field, value) in old.iter().filter(|(field, _)| !new.contains_key(*field) && is_removed(field, rendered)) {
        changes.push(change(field, Some(value), None));
    }
    let actions: BTreeSet<_> = changes.iter().map(|change| action(&identity.kind, &change.field)).collect();
    (!changes.is_empty()).then(|| of(identity, rendered, actions, changes))
}

fn change(field: &str, old: Option<&String>, new: Option<&String>) -> Change {
    Change { field: field.to_owned(), old: old.cloned(), new: new.cloned() }
}

/// Returns whether two values mean the same: a cluster writes quantities its own way.
fn is_same(old: &str, new: &str) -> bool {
    old == new || millis(old).is_some_and(|old| Some(old) == millis(new))
}

/// Reads a number of processors in thousandths.
fn millis(quantity: &str) -> Option<u64> {
    match quantity.strip_suffix('m') {
        Some(millis) => millis.parse().ok(),
        None => quantity.parse::<u64>().ok()?.checked_mul(1000),
    }
}

/// Returns whether a field of a cluster's object was applied before and is not rendered any more: an item of a list that is
/// rendered, or what has no default.
fn is_removed(field: &str, rendered: &Value) -> bool {
    if !field.starts_with("spec.") && !field.starts_with("data.") && !field.starts_with("binaryData.") {
        return false;
    }
    if !field.starts_with("spec.") {
        return true;
    }
    // From the outside in: the first step that the rendered object does not have.
    let mut here = rendered;
    for step in steps(field) {
        let next = match &step {
            Step::Key(key) => here.get(key.as_str()),
            Step::Item(name) => here.as_array().and_then(|items| {
                items.iter().enumerate().find(|(index, item)| is_called(item, *index, name)).map(|(_, item)| item)
            }),
        };
        match (next, step) {
            (Some(value), _) => here = value,
            (None, Step::Item(_)) => return true,
            (None, Step::Key(key)) => return WITHOUT_DEFAULT.contains(&key.as_str()),
        }
    }
    false
}

enum Step {
    Key(String),
    Item(String),
}

/// Takes the path of a field apart. Names of items may have dots in them.
fn steps(field: &str) -> Vec<Step> {
    let (mut steps, mut rest) = (Vec::new(), field);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (name, after) = inner.split_once(']').unwrap_or((inner, ""));
            steps.push(Step::Item(name.to_owned()));
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Key(rest[..end].to_owned()));
            rest = rest[end..].strip_prefix('.').unwrap_or(&rest[end..]);
        }
    }
    steps
}

fn is_called(item: &Value, index: usize, name: &str) -> bool {
    let list = Value::Array(vec![item.clone()]);
    let own = fields::of(&list);
    let prefix = format!("[{name}]");
    own.keys().any(|field| field.starts_with(&prefix)) || index.to_string() == name
}

/// Returns what the change of a field asks of a cluster.
fn action(kind: &str, field: &str) -> Action {
    match kind {
        "Deployment" if field.starts_with("spec.template.") => Action::Roll,
        "Deployment" if field == "spec.replicas" => Action::Rescale,
        "HorizontalPodAutoscaler" if field.starts_with("spec.m") => Action::Rescale,
        "Service" | "Ingress" | "HTTPRoute" if field.starts_with("spec.") => Action::Republish,
        _ => Action::Refresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENDERED: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {conductor/service: web}}\nspec:\n  replicas: 2\n  template:\n    spec:\n      containers:\n      - {name: web, image: 'web:1', env: [{name: A, value: b}], resources: {limits: {cpu: 500m}}}\n";

    fn actions(cluster: &str) -> Vec<(BTreeSet<Action>, Vec<String>)> {
        let differences = compare(RENDERED, cluster, false).expect("YAML");
        let fields = |difference: &Difference| difference.changes.iter().map(|change| change.field.clone()).collect();
        differences.iter().map(|difference| (difference.actions.clone(), fields(difference))).collect()
    }

    #[test]
    fn defaults_and_states_are_no_changes() {
        let there = RENDERED.replace("kind: Deployment", "kind: Deployment\nstatus: {replicas: 2}");
        let there = there.replace("image: 'web:1'", "image: 'web:1', terminationMessagePath: /dev/termination-log");
        assert_eq!(actions(&there), []);
        assert_eq!(actions(&format!("kind: List\nitems:\n- {}", there.replace('\n', "\n  "))), []);
    }

    #[test]
    fn changes_say_what_they_ask_for() {
        let of = |action: Action, field: &str| (BTreeSet::from([action]), vec![field.to_owned()]);
        let image = "spec.template.spec.containers[web].image";
        assert_eq!(actions(&RENDERED.replace("web:1", "web:0")), [of(Action::Roll, image)]);
        assert_eq!(actions(&RENDERED.replace("replicas: 2", "replicas: 4")), [of(Action::Rescale, "spec.replicas")]);
        let env = "spec.template.spec.containers[web].env[OLD]";
        let more = RENDERED.replace("env: [", "env: [{name: OLD, value: c}, ");
        assert_eq!(
            actions(&more),
            [(BTreeSet::from([Action::Roll]), vec![format!("{env}.name"), format!("{env}.value")])]
        );
        let limited = RENDERED.replace("limits: {cpu: 500m}", "limits: {cpu: 500m, memory: 1Gi}");
        let memory = "spec.template.spec.containers[web].resources.limits.memory";
        assert_eq!(actions(&limited), [of(Action::Roll, memory)]);
        assert_eq!(actions(""), [(BTreeSet::from([Action::Create]), vec![])]);
    }

    #[test]
    fn objects_that_are_not_rendered_are_told() {
        let old = "---\nkind: ConfigMap\nmetadata:\n  name: web-files-0\n  labels: {conductor/service: web, app.kubernetes.io/managed-by: conductor}\n";
        let controlled = old.replace("web-files-0", "web-abc").replace("  labels", "  ownerReferences: []\n  labels");
        let told = actions(&format!("{RENDERED}{old}{controlled}"));
        assert_eq!(told, [(BTreeSet::from([Action::Leave]), vec![])]);
    }
}
