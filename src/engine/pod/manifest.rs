//! The part of Kubernetes' objects that is read or changed here. Every other field passes through as it is.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::yaml::{Document, Misfit};
use crate::diagnostic::Diagnostic;
use crate::document::Step;

/// The fields of an object that have no type here.
pub(crate) type Fields = Map<String, Value>;

/// A Pod, or what makes some.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Object<S> {
    pub(crate) api_version: Option<String>,
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Metadata>,
    pub(crate) spec: Option<S>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Fields>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

/// The `spec` of a Deployment, DaemonSet or Job.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ControllerSpec {
    pub(crate) replicas: Option<u64>,
    pub(crate) template: Option<PodTemplate>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct PodTemplate {
    pub(crate) metadata: Option<Metadata>,
    pub(crate) spec: Option<PodSpec>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host_network: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volumes: Option<Vec<Volume>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init_containers: Option<Vec<Container>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containers: Option<Vec<Container>>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

impl PodSpec {
    /// The containers of both lists, the initial ones first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().flatten().chain(self.containers.iter().flatten())
    }

    /// The containers of both lists, to be changed.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Container> {
        self.init_containers.iter_mut().flatten().chain(self.containers.iter_mut().flatten())
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) empty_dir: Option<Fields>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_pull_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ports: Option<Vec<Port>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<Named>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume_mounts: Option<Vec<Named>>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host_port: Option<u16>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

/// An item of a list of which only the name matters here: a variable, a mount.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Named {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

/// The keys that have a type here, with the type and an example.
pub(super) const SHAPES: &[(&str, &str, &str)] = &[
    ("", "a map", "kind: Pod"),
    ("apiVersion", "a text", "apiVersion: v1"),
    ("kind", "a text", "kind: Pod"),
    ("metadata", "a map", "metadata: {name: web}"),
    ("name", "a text", "name: web"),
    ("labels", "a map", "labels: {app: web}"),
    ("annotations", "a map", "annotations: {owner: web}"),
    ("spec", "a map", "spec: {containers: […]}"),
    ("replicas", "a whole number", "replicas: 1"),
    ("template", "a map", "template: {spec: {containers: […]}}"),
    ("hostNetwork", "true or false", "hostNetwork: false"),
    ("volumes", "a list of maps", "volumes: [{name: cache, emptyDir: {}}]"),
    ("emptyDir", "a map", "emptyDir: {}"),
    ("containers", "a list of maps", "containers: [{name: web, image: nginx}]"),
    ("initContainers", "a list of maps", "initContainers: [{name: setup, image: busybox}]"),
    ("image", "a text", "image: docker.io/library/nginx:1.27"),
    ("imagePullPolicy", "a text", "imagePullPolicy: Never"),
    ("ports", "a list of maps", "ports: [{containerPort: 8080}]"),
    ("hostPort", "a port number", "hostPort: 8080"),
    ("env", "a list of maps", "env: [{name: LEVEL, value: info}]"),
    ("volumeMounts", "a list of maps", "volumeMounts: [{name: cache, mountPath: /cache}]"),
];

/// Returns the error of a value that does not have the type of its key.
pub(crate) fn misfit(document: &Document, misfit: Misfit) -> Diagnostic {
    let Misfit { path, message } = misfit;
    let key = path.0.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let shape = SHAPES.iter().find(|(name, ..)| *name == key.unwrap_or_default());
    let Some((_, expected, example)) = shape else {
        return document.error(&path, message, "write it as podman-kube-play(1) takes it");
    };
    let is_item = matches!(path.0.last(), Some(Step::Index(_)));
    let expected = if is_item { "a map" } else { expected };
    let found = document.get(&path).map_or_else(|| "nothing".to_owned(), |value| described(&value));
    document.error(&path, format!("expected {expected}, not {found}"), format!("write {example}"))
}

/// Describes a value in messages.
pub(crate) fn described(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// Reads a document into one of the types above.
///
/// # Errors
/// The first value of another shape.
pub(crate) fn read<T: serde::de::DeserializeOwned>(document: &Document) -> Result<T, Diagnostic> {
    document.read().map_err(|error| misfit(document, error))
}
