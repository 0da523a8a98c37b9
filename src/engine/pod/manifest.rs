//! The part of Kubernetes' objects that is read or changed here. Every other field passes through as it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

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
    #[serde(skip_serializing)]
    pub(crate) config_map: Option<ConfigVolume>,
    #[serde(skip_serializing)]
    pub(crate) secret: Option<ConfigVolume>,
    #[serde(skip_serializing)]
    pub(crate) projected: Option<Projected>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

impl Volume {
    /// A directory or file of the host, of which `kind` says which.
    pub(crate) fn of_host(name: String, path: &str, kind: &str) -> Self {
        let rest = Fields::from_iter([("hostPath".to_owned(), json!({ "path": path, "type": kind }))]);
        Self { name: Some(name), empty_dir: None, config_map: None, secret: None, projected: None, rest }
    }
}

/// A ConfigMap or a Secret as a volume, or as a part of one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigVolume {
    /// The name of a ConfigMap, or of a Secret in a projected volume.
    pub(crate) name: Option<String>,
    /// The name of a Secret in a volume of its own.
    pub(crate) secret_name: Option<String>,
    pub(crate) items: Option<Vec<Item>>,
    pub(crate) default_mode: Option<u32>,
    pub(crate) optional: Option<bool>,
}

/// A key of a ConfigMap or Secret, and the file that has its value.
#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) key: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) mode: Option<u32>,
}

/// Several sources in one volume.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Projected {
    pub(crate) sources: Option<Vec<ProjectedSource>>,
    pub(crate) default_mode: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectedSource {
    pub(crate) config_map: Option<ConfigVolume>,
    pub(crate) secret: Option<ConfigVolume>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_pull_policy: Option<String>,
    /// podman 4.3 would publish these on the host.
    #[serde(skip_serializing)]
    pub(crate) ports: Option<Vec<Port>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<Variable>>,
    #[serde(skip_serializing)]
    pub(crate) env_from: Option<Vec<EnvFrom>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volume_mounts: Option<Vec<Mount>>,
    #[serde(skip_serializing)]
    pub(crate) readiness_probe: Option<Probe>,
    #[serde(skip_serializing)]
    pub(crate) startup_probe: Option<Probe>,
    #[serde(skip_serializing)]
    pub(crate) liveness_probe: Option<Fields>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    pub(crate) name: Option<String>,
    pub(crate) container_port: Option<u16>,
    pub(crate) host_port: Option<u16>,
}

/// A variable of a container.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variable {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value_from: Option<ValueFrom>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

impl Variable {
    pub(crate) fn new(name: String, value: String) -> Self {
        let rest = Fields::from_iter([("value".to_owned(), value.into())]);
        Self { name: Some(name), value_from: None, rest }
    }
}

/// Where the value of a variable comes from.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ValueFrom {
    #[serde(skip_serializing)]
    pub(crate) config_map_key_ref: Option<Reference>,
    #[serde(skip_serializing)]
    pub(crate) secret_key_ref: Option<Reference>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

/// Variables of all keys of a ConfigMap or Secret.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvFrom {
    pub(crate) prefix: Option<String>,
    pub(crate) config_map_ref: Option<Reference>,
    pub(crate) secret_ref: Option<Reference>,
}

/// A reference to a ConfigMap or Secret, or to one of its keys.
#[derive(Debug, Deserialize)]
pub(crate) struct Reference {
    pub(crate) name: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) optional: Option<bool>,
}

/// A volume in a container.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Mount {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub_path: Option<String>,
    #[serde(flatten)]
    pub(crate) rest: Fields,
}

/// A question that tells whether a container is ready.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    pub(crate) http_get: Option<HttpGet>,
    pub(crate) tcp_socket: Option<TcpSocket>,
    pub(crate) exec: Option<Exec>,
    pub(crate) grpc: Option<TcpSocket>,
    pub(crate) timeout_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpGet {
    pub(crate) path: Option<String>,
    pub(crate) port: Option<Value>,
    pub(crate) host: Option<String>,
    pub(crate) scheme: Option<String>,
    pub(crate) http_headers: Option<Vec<Header>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TcpSocket {
    pub(crate) port: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Exec {
    #[serde(default)]
    pub(crate) command: Vec<String>,
}

/// A ConfigMap or a Secret.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigObject {
    pub(crate) metadata: Option<Metadata>,
    pub(crate) data: Option<BTreeMap<String, String>>,
    /// Of a ConfigMap: in base64.
    pub(crate) binary_data: Option<BTreeMap<String, String>>,
    /// Of a Secret: as it is, over `data`, which is in base64.
    pub(crate) string_data: Option<BTreeMap<String, String>>,
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
    ("containerPort", "a port number", "containerPort: 8080"),
    ("subPath", "a text", "subPath: site.conf"),
    ("configMap", "a map", "configMap: {name: site}"),
    ("secret", "a map", "secret: {secretName: keys}"),
    ("secretName", "a text", "secretName: keys"),
    ("projected", "a map", "projected: {sources: [{configMap: {name: site}}]}"),
    ("sources", "a list of maps", "sources: [{configMap: {name: site}}]"),
    ("items", "a list of maps", "items: [{key: site.conf, path: site.conf}]"),
    ("key", "a text", "key: site.conf"),
    ("path", "a text", "path: site.conf"),
    ("mode", "a mode", "mode: 0644"),
    ("defaultMode", "a mode", "defaultMode: 0644"),
    ("optional", "true or false", "optional: true"),
    ("envFrom", "a list of maps", "envFrom: [{configMapRef: {name: settings}}]"),
    ("prefix", "a text", "prefix: APP_"),
    ("configMapRef", "a map", "configMapRef: {name: settings}"),
    ("secretRef", "a map", "secretRef: {name: keys}"),
    ("valueFrom", "a map", "valueFrom: {configMapKeyRef: {name: settings, key: LEVEL}}"),
    ("configMapKeyRef", "a map", "configMapKeyRef: {name: settings, key: LEVEL}"),
    ("secretKeyRef", "a map", "secretKeyRef: {name: keys, key: TOKEN}"),
    ("data", "a map", "data: {LEVEL: info}"),
    ("stringData", "a map", "stringData: {TOKEN: abc}"),
    ("binaryData", "a map", "binaryData: {logo.png: iVBORw0K}"),
    ("readinessProbe", "a map", "readinessProbe: {httpGet: {path: /healthz, port: 8080}}"),
    ("startupProbe", "a map", "startupProbe: {httpGet: {path: /healthz, port: 8080}}"),
    ("livenessProbe", "a map", "livenessProbe: {httpGet: {path: /healthz, port: 8080}}"),
    ("httpGet", "a map", "httpGet: {path: /healthz, port: 8080}"),
    ("tcpSocket", "a map", "tcpSocket: {port: 5432}"),
    ("grpc", "a map", "grpc: {port: 9090}"),
    ("exec", "a map", "exec: {command: [pg_isready]}"),
    ("command", "a list of texts", "command: [pg_isready]"),
    ("timeoutSeconds", "a whole number", "timeoutSeconds: 5"),
    ("host", "a text", "host: shop.example.com"),
    ("scheme", "a text", "scheme: HTTP"),
    ("httpHeaders", "a list of maps", "httpHeaders: [{name: Host, value: shop.example.com}]"),
    ("value", "a text", "value: \"on\""),
];

/// The keys whose entries have texts.
const OF_TEXTS: &[&str] = &["data", "stringData", "binaryData"];

/// Returns the error of a value that does not have the type of its key.
pub(crate) fn misfit(document: &Document, misfit: Misfit) -> Diagnostic {
    let Misfit { path, message } = misfit;
    let key = path.0.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    if let [.., Step::Key(of), Step::Key(_)] = path.0.as_slice()
        && OF_TEXTS.contains(&of.as_str())
        && let Some(found) = document.get(&path)
    {
        let remedy = format!("write it in quotes: {}", json!(found.to_string()));
        return document.error(&path, format!("expected a text, not {}", described(&found)), remedy);
    }
    let shape = SHAPES.iter().find(|(name, ..)| *name == key.unwrap_or_default());
    let Some((_, expected, example)) = shape else {
        return document.error(&path, message, "write it as podman-kube-play(1) takes it");
    };
    let is_item = matches!(path.0.last(), Some(Step::Index(_)));
    let expected = match *expected {
        "a list of texts" if is_item => "a text",
        _ if is_item => "a map",
        expected => expected,
    };
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
