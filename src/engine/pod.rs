//! A pod's file: the declared template, rendered for one deployment and completed with what every deployment has.

use fs_err as fs;
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value, json};

use crate::engine::podman;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::model::{ListenKind, Pod, Service};
use crate::names::Deployment;
use crate::target::systemd::podman::{CREDENTIALS, has_credentials};
use crate::{atomic, template};

/// Kinds that are pods or make some, `podman kube play`.
const WORKLOADS: &[&str] = &["Pod", "Deployment", "DaemonSet", "Job"];

/// What a pod's templates are rendered for.
pub struct Setting<'a> {
    pub layout: &'a Layout,
    pub deployment: &'a Deployment,
    pub model: &'a Service,
    pub pod: &'a Pod,
    /// Where the templates are read.
    pub files: &'a Utf8Path,
}

/// Writes the files that `podman kube play` reads, into the DEPLOYMENTDIR.
///
/// # Errors
/// Templates that do not render, YAML that is none or no pod, what the file system refuses.
pub fn write(layout: &Layout, deployment: &Deployment, model: &Service, pod: &Pod) -> Result<()> {
    let files = layout.at(&layout.files(&deployment.service, &deployment.generation));
    let setting = Setting { layout, deployment, model, pod, files: &files };
    let dir = layout.at(&deployment.dir(layout));
    let mut documents = setting.pods()?;
    // podman makes a volume of a claim, and refuses one that it has made before.
    documents
        .retain(|document| document["kind"] != "PersistentVolumeClaim" || !podman::exists("volume", &name(document)));
    for (name, text) in [("pod.yaml", Some(text(&documents))), ("configmap.yaml", setting.config_map()?)] {
        if let Some(text) = text {
            atomic::write(&dir.join(name), text.as_bytes())?;
        }
    }
    Ok(())
}

fn name(document: &Value) -> String {
    document["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// JSON is YAML, and nobody has to quote anything.
fn text(documents: &[Value]) -> String {
    let pretty = |value| serde_json::to_string_pretty(value).expect("a value serializes");
    documents.iter().map(|document| format!("---\n{}\n", pretty(document))).collect()
}

impl Setting<'_> {
    /// The documents, complete.
    ///
    /// # Errors
    /// What is wrong with them, by file.
    pub fn pods(&self) -> Result<Vec<Value>> {
        let path = &self.pod.template;
        let wrong = |what: String| Error(format!("{}: {what}", self.files.join(path)));
        let mut documents = self.documents(path)?;
        let mut found = 0;
        for document in &mut documents {
            let kind = document["kind"].as_str().unwrap_or_default().to_owned();
            if WORKLOADS.contains(&kind.as_str()) {
                *document = self.workload(document.take(), &kind, found == 0).map_err(wrong)?;
                found += 1;
            }
        }
        if found == 0 {
            return Err(wrong(format!("no pod is in it; a document has kind: {}", WORKLOADS.join(" or "))));
        }
        Ok(documents)
    }

    /// Finds what is wrong with the files, before anything is made of them.
    ///
    /// # Errors
    /// As of `pods`, and of the ConfigMaps.
    pub fn check(&self) -> Result<()> {
        self.config_map()?;
        self.pods().map(drop)
    }

    /// The images of its containers, in order.
    ///
    /// # Errors
    /// As of `pods`.
    pub fn images(&self) -> Result<Vec<(String, Policy)>> {
        let mut images = Vec::new();
        for document in self.pods()? {
            for list in ["initContainers", "containers"] {
                for container in document["spec"][list].as_array().into_iter().flatten() {
                    let policy = match container["imagePullPolicy"].as_str() {
                        Some("Never") => Policy::Never,
                        _ => Policy::Missing,
                    };
                    images.extend(container["image"].as_str().map(|image| (image.to_owned(), policy)));
                }
            }
        }
        Ok(images)
    }

    fn config_map(&self) -> Result<Option<String>> {
        self.pod.config_map.as_ref().map(|path| Ok(text(&self.documents(path)?))).transpose()
    }

    fn documents(&self, path: &Utf8PathBuf) -> Result<Vec<Value>> {
        let here = self.files.join(path);
        let source = fs::read_to_string(&here).map_err(|error| Error(format!("{here}: {error}")))?;
        let rendered = template::render(&here, &source, &self.variables()).map_err(|error| Error(error.to_string()))?;
        // As Kubernetes reads it: a mode of 0644 is octal.
        let options = serde_saphyr::options! { legacy_octal_numbers: true };
        let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(&rendered, options)
            .map_err(|error| Error(format!("{here}: not YAML: {}", error.to_string().trim())))?;
        let documents: Vec<_> = documents.into_iter().filter(|document| !document.is_null()).collect();
        match documents.iter().position(|document| !document.is_object()) {
            Some(index) => Err(Error(format!("{here}: document {} is no Kubernetes object", index + 1))),
            None => Ok(documents),
        }
    }

    /// What a template may say: the variables of `service declare`, and what the processes have.
    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.model.process.environment.clone();
        variables.extend(self.pod.variables.clone());
        variables.extend(self.own());
        variables.insert("CONDUCTOR_SERVICE_DIR".to_owned(), self.files.to_string());
        variables
    }

    fn own(&self) -> BTreeMap<String, String> {
        let Deployment { service, generation, instance } = self.deployment;
        let name = self.deployment.to_string();
        let mut own = BTreeMap::from([
            ("CONDUCTOR_SERVICE".to_owned(), service.to_string()),
            ("CONDUCTOR_GENERATION".to_owned(), generation.to_string()),
            ("CONDUCTOR_DEPLOYMENT".to_owned(), name.clone()),
            ("CONDUCTOR_INSTANCE".to_owned(), instance.to_string()),
            ("POD_NAME".to_owned(), name),
        ]);
        match (self.model.listen.kind, self.pod.port) {
            (ListenKind::Tcp, Some(port)) => drop(own.insert("PORT".to_owned(), port.to_string())),
            (ListenKind::Tcp, None) | (ListenKind::Activation, _) => {}
            (ListenKind::Unix, _) => {
                let socket = self.deployment.own_socket(self.layout);
                own.insert("CONDUCTOR_SOCKET".to_owned(), socket.to_string());
            }
        }
        own
    }

    /// One pod, called as the deployment, or by that and its own name if it is not the first.
    fn workload(&self, mut document: Value, kind: &str, is_first: bool) -> Result<Value, String> {
        let own_name = document["metadata"]["name"].as_str().unwrap_or("pod").to_owned();
        let mut labels = document["metadata"]["labels"].take();
        let mut annotations = document["metadata"]["annotations"].take();
        let mut spec = document["spec"].take();
        if kind != "Pod" {
            if spec["replicas"].as_u64().is_some_and(|replicas| replicas > 1) {
                return Err(format!("{kind} {own_name} has replicas: write concurrency = … in service.toml instead"));
            }
            let mut template = spec["template"].take();
            labels = template["metadata"]["labels"].take();
            annotations = template["metadata"]["annotations"].take();
            spec = template["spec"].take();
        }
        if spec["containers"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("{kind} {own_name} has no containers"));
        }
        if spec["hostNetwork"] == true {
            let remedy = "take hostNetwork out; [[route]] and [[port]] reach it";
            return Err(format!("{kind} {own_name}: deployments side by side would share the host's ports: {remedy}"));
        }
        self.complete(&mut spec).map_err(|what| format!("{kind} {own_name}: {what}"))?;
        let name = if is_first { self.deployment.to_string() } else { format!("{}-{own_name}", self.deployment) };
        let mut metadata = Map::from_iter([("name".to_owned(), Value::from(name))]);
        for (key, value) in [("labels", labels), ("annotations", annotations)] {
            if !value.is_null() {
                metadata.insert(key.to_owned(), value);
            }
        }
        Ok(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }))
    }

    fn complete(&self, spec: &mut Value) -> Result<(), String> {
        self.name_empty_dirs(spec);
        let mounts = self.mounts();
        for Mount { name, from, .. } in &mounts {
            push(spec, "volumes", json!({ "name": name, "hostPath": { "path": from, "type": "Directory" } }));
        }
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                self.complete_container(container, &mounts)?;
            }
        }
        Ok(())
    }

    /// podman makes an emptyDir a volume of that name, which pods of two generations would share: it gets the deployment's.
    fn name_empty_dirs(&self, spec: &mut Value) {
        let volumes = spec["volumes"].as_array_mut().into_iter().flatten();
        for volume in volumes.filter(|volume| !volume["emptyDir"].is_null()) {
            volume["name"] = self.own_name(&volume["name"]);
        }
        let own: Vec<Value> =
            spec["volumes"].as_array().into_iter().flatten().map(|volume| volume["name"].clone()).collect();
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                for mount in container["volumeMounts"].as_array_mut().into_iter().flatten() {
                    let name = self.own_name(&mount["name"]);
                    if own.contains(&name) {
                        mount["name"] = name;
                    }
                }
            }
        }
    }

    fn own_name(&self, name: &Value) -> Value {
        format!("{}-{}", self.deployment, name.as_str().unwrap_or_default()).into()
    }

    fn complete_container(&self, container: &mut Value, mounts: &[Mount]) -> Result<(), String> {
        let name = container["name"].as_str().ok_or("a container has no name")?.to_owned();
        if container["image"].as_str().is_none_or(str::is_empty) {
            return Err(format!("the container {name} has no image"));
        }
        if container["ports"].as_array().into_iter().flatten().any(|port| !port["hostPort"].is_null()) {
            let remedy = "take hostPort out; [[route]] for HTTP and [[port]] for TCP reach it";
            return Err(format!("the container {name}: a port of the host belongs to one deployment alone: {remedy}"));
        }
        let mut variables = self.model.process.environment.clone();
        variables.extend(self.own());
        if mounts.iter().any(|mount| mount.path == CREDENTIALS) {
            variables.insert("CREDENTIALS_DIRECTORY".to_owned(), CREDENTIALS.to_owned());
        }
        let given: Vec<_> = container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["name"].as_str())
            .map(str::to_owned)
            .collect();
        // What the file says itself stays as it is.
        for (name, value) in variables.into_iter().filter(|(name, _)| !given.contains(name)) {
            push(container, "env", json!({ "name": name, "value": value }));
        }
        for Mount { name, path, read_only, .. } in mounts {
            push(container, "volumeMounts", json!({ "name": name, "mountPath": path, "readOnly": read_only }));
        }
        Ok(())
    }

    /// Directories that every container has.
    fn mounts(&self) -> Vec<Mount> {
        let mut mounts = Vec::new();
        if self.model.listen.kind == ListenKind::Unix {
            let Deployment { service, generation, instance } = self.deployment;
            let dir = self.layout.socket_dir(service, generation, *instance).to_string();
            mounts.push(Mount { name: "conductor-socket", path: dir.clone(), from: dir, read_only: false });
        }
        if has_credentials(self.model) {
            let from = self.deployment.dir(self.layout).join("credentials/files").to_string();
            let path = CREDENTIALS.to_owned();
            mounts.push(Mount { name: "conductor-credentials", path, from, read_only: true });
        }
        mounts
    }
}

/// A directory of the host in a container.
struct Mount {
    name: &'static str,
    /// Within the container.
    path: String,
    /// On the host.
    from: String,
    read_only: bool,
}

/// When an image is got, `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Missing,
    Never,
}

fn push(object: &mut Value, key: &str, item: Value) {
    if object[key].is_null() {
        object[key] = json!([]);
    }
    if let Some(list) = object[key].as_array_mut() {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;
    use crate::names::GenerationId;

    /// The documents of a pod's file, for a service that listens on a unix socket and has a credential.
    fn pods(file: &str) -> Result<Vec<Value>> {
        let root = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
        let dir = root.join("etc/conductor/services/shop");
        fs::create_dir_all(&dir).expect("a directory");
        let declaration = "[pod]\ntemplate = 'pod.yaml'\nenvironment = { LEVEL = 'info' }\n\
                           credentials = { db = '/etc/db' }\n[listen]\ntype = 'unix'\n";
        fs::write(dir.join("service.toml"), declaration).expect("a declaration");
        fs::write(dir.join("pod.yaml"), file).expect("a file");
        let layout = Layout::system(root);
        let compiled = compile::compile(&layout, None).services.into_values().next().expect("it compiles");
        let crate::model::Engine::Pod(pod) = &compiled.service.process.engine else { panic!("a pod") };
        let deployment =
            &Deployment::new(&compiled.service.name, &GenerationId::new("0123456789ab").expect("an id"), 2);
        Setting { layout: &layout, deployment, model: &compiled.service, pod, files: &dir }.pods()
    }

    #[test]
    fn a_workload_becomes_a_pod_with_what_every_deployment_has() {
        let file = "kind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  template:\n    metadata: {labels: {a: b}}\n\
                    \x20   spec:\n      volumes: [{name: tmp, emptyDir: {}}, {name: srv, hostPath: {path: /srv}}]\n\
                    \x20     containers:\n      - name: web\n        image: web\n        env: [{name: LEVEL, value: debug}]\n\
                    \x20       volumeMounts: [{name: tmp, mountPath: /tmp}, {name: srv, mountPath: /srv}]\n\
                    ---\nkind: ConfigMap\nmetadata: {name: c}\n---\n---\nkind: Pod\nmetadata: {name: beside}\n\
                    spec: {containers: [{name: b, image: b, command: ['{{ CONDUCTOR_INSTANCE }}'], securityContext: {runAsUser: 0644}}]}\n";
        let documents = pods(file).expect("pods");
        let names: Vec<_> = documents.iter().map(|document| document["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["shop-0123456789ab-2", "c", "shop-0123456789ab-2-beside"]);
        let spec = &documents[0]["spec"];
        let container = &spec["containers"][0];
        let mounts: Vec<_> =
            container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["name"].as_str().unwrap()).collect();
        assert_eq!(mounts, ["shop-0123456789ab-2-tmp", "srv", "conductor-socket", "conductor-credentials"]);
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 4);
        let variable = |name: &str| {
            let mut all = container["env"].as_array().unwrap().iter().filter(|one| one["name"] == name);
            let found = all.next().map(|one| one["value"].as_str().unwrap().to_owned());
            assert!(all.next().is_none(), "{name} is there twice");
            found
        };
        assert_eq!(variable("LEVEL").as_deref(), Some("debug"), "what the file says stays");
        assert_eq!(variable("CREDENTIALS_DIRECTORY").as_deref(), Some("/run/credentials"));
        let socket = "/run/conductor/sockets/shop-0123456789ab/2.d/socket";
        assert_eq!(variable("CONDUCTOR_SOCKET").as_deref(), Some(socket));
        assert_eq!(documents[0]["metadata"]["labels"], json!({ "a": "b" }));
        let beside = &documents[2]["spec"]["containers"][0];
        assert_eq!((&beside["command"], &beside["securityContext"]["runAsUser"]), (&json!(["2"]), &json!(0o644)));
    }

    #[test]
    fn what_is_no_pod_is_told() {
        for (file, told) in [
            ("a: [", "not YAML"),
            ("- a\n", "document 1 is no Kubernetes object"),
            ("kind: ConfigMap\n", "no pod is in it"),
            ("kind: Pod\nspec: {containers: [{image: a}]}\n", "a container has no name"),
            ("kind: Pod\nspec: {containers: [{name: a, image: b, ports: [{hostPort: 80}]}]}\n", "take hostPort out"),
        ] {
            let error = pods(file).expect_err(told).to_string();
            assert!(error.contains(told) && error.contains("shop/pod.yaml: "), "{error}");
        }
    }
}
