//! A pod's file: the declared template, rendered for one deployment and completed with what every deployment has.

mod manifest;
mod text;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde_json::{Value, json};

use self::manifest::{Container, ControllerSpec, Fields, Metadata, Named, Object, PodSpec, PodTemplate, Volume};
use self::text::Text;
use self::yaml::Document;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Path;
use crate::engine::environment::of_files;
use crate::engine::podman::arguments::CREDENTIALS;
use crate::engine::podman::image::Policy;
use crate::engine::podman::run::exists;
use crate::error::Result;
use crate::layout::Layout;
use crate::model::{ListenKind, Pod, Service};
use crate::names::Deployment;
use crate::source::read;
use crate::template::{self, Piece};
use crate::{atomic, path, variable};

/// Kinds that are pods or make some, `podman kube play`.
const WORKLOADS: &[&str] = &["Pod", "Deployment", "DaemonSet", "Job"];

/// The deployment for which a pod's templates are rendered.
pub(crate) struct Setting<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) deployment: &'a Deployment,
    pub(crate) model: &'a Service,
    pub(crate) pod: &'a Pod,
    /// The directory of the templates.
    pub(crate) files: &'a Utf8Path,
    /// The path by which errors name that directory.
    pub(crate) shown: &'a Utf8Path,
}

/// Writes the files that `podman kube play` reads, into the DEPLOYMENTDIR.
///
/// # Errors
/// If a template cannot be rendered, a file is not YAML or contains no pod, or the file system refuses an operation.
pub(crate) fn write(layout: &Layout, deployment: &Deployment, model: &Service, pod: &Pod) -> Result<()> {
    let files = layout.at(&layout.files(&deployment.service, &deployment.generation));
    let setting = Setting { layout, deployment, model, pod, files: &files, shown: &files };
    let dir = layout.at(&deployment.dir(layout));
    let all = || Ok((setting.objects()?, setting.config_map()?));
    let (mut objects, config_map) = all().map_err(|error: Diagnostic| Diagnostics::from(error))?;
    // podman creates a volume for a claim, and refuses a claim whose volume exists.
    objects.retain(|object| object["kind"] != "PersistentVolumeClaim" || !exists("volume", name(object)));
    for (name, objects) in [("pod.yaml", Some(objects)), ("configmap.yaml", config_map)] {
        if let Some(objects) = objects {
            atomic::write(&dir.join(name), text(&objects).as_bytes())?;
        }
    }
    Ok(())
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Writes objects as JSON, which is also YAML and needs no rules for quotes.
fn text(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object:#}\n")).collect()
}

impl Setting<'_> {
    /// Returns the completed objects.
    ///
    /// # Errors
    /// The first value that is wrong, with its place in the rendered file.
    pub(crate) fn objects(&self) -> Result<Vec<Value>, Diagnostic> {
        Ok(self.complete_all()?.into_iter().map(|one| one.object).collect())
    }

    /// Checks the files without writing anything.
    ///
    /// # Errors
    /// The first value that is wrong in the pod's file or in the ConfigMaps.
    pub(crate) fn check(&self) -> Result<(), Diagnostic> {
        self.config_map()?;
        self.objects().map(drop)
    }

    /// Lists the images of all containers, in order.
    ///
    /// # Errors
    /// The first value that is wrong, with its place in the rendered file.
    pub(crate) fn images(&self) -> Result<Vec<(String, Policy)>, Diagnostic> {
        Ok(self.complete_all()?.into_iter().flat_map(|one| one.images).collect())
    }

    fn complete_all(&self) -> Result<Vec<Complete>, Diagnostic> {
        let mut complete = Vec::new();
        let mut found = 0;
        for document in self.documents(&self.pod.template)? {
            let kind = document.get(&path!["kind"]);
            let kind = kind.as_ref().and_then(Value::as_str).filter(|kind| WORKLOADS.contains(kind));
            complete.push(match kind {
                Some(kind) => {
                    found += 1;
                    self.workload(&document, kind, found == 1)?
                }
                None => Complete { object: document.value(), images: Vec::new() },
            });
        }
        if found == 0 {
            let message = "the file contains no pod";
            let remedy = format!("write a document with kind: {}", WORKLOADS.join(" or kind: "));
            return Err(Diagnostic::of_file(&self.shown.join(&self.pod.template), message, remedy));
        }
        Ok(complete)
    }

    fn config_map(&self) -> Result<Option<Vec<Value>>, Diagnostic> {
        let values = |documents: Vec<Document>| documents.iter().map(Document::value).collect();
        self.pod.config_map.as_ref().map(|path| Ok(values(self.documents(path)?))).transpose()
    }

    fn documents(&self, path: &Utf8Path) -> Result<Vec<Document>, Diagnostic> {
        let shown = self.shown.join(path);
        let template = fs::read_to_string(self.files.join(path)).map_err(|error| read::unreadable(&shown, &error))?;
        let pieces = template::render_pieces(&shown, &template, &self.variables())?;
        // Errors have positions in the rendered text, so that its path says that it is rendered.
        let is_same = pieces.iter().map(Piece::text).collect::<String>() == template;
        let path = if is_same { shown } else { format!("{shown} (rendered)").into() };
        let documents = Document::parse(Text::new(path, pieces))?;
        for document in &documents {
            let value = document.value();
            if !value.is_object() {
                let message = format!("expected a Kubernetes object, not {}", manifest::described(&value));
                return Err(document.error(&Path::default(), message, "write kind: Pod, or take the document out"));
            }
            if let Some(kind) = value.get("kind").filter(|kind| !kind.is_string()) {
                let message = format!("expected a text, not {}", manifest::described(kind));
                return Err(document.error(&path!["kind"], message, "write kind: Pod"));
            }
        }
        Ok(documents)
    }

    /// Returns the variables of a template: those of `service declare`, and the environment of the processes.
    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.declared();
        variables.extend(self.pod.variables.clone());
        variables.extend(self.own());
        variables.insert("CONDUCTOR_SERVICE_DIR".to_owned(), self.files.to_string());
        variables
    }

    /// Returns the declared environment. A reference to what only systemd knows stays as it is in a check.
    fn declared(&self) -> BTreeMap<String, String> {
        let Deployment { generation, instance, .. } = self.deployment;
        let of_conductor =
            variable::own(self.layout, self.model, generation, &instance.to_string(), Utf8PathBuf::into_string);
        let own = self.own();
        let known = |name: &str| {
            let known = own.get(name).or_else(|| of_conductor.get(name)).cloned();
            let of_credentials = (name == "CREDENTIALS_DIRECTORY").then(|| CREDENTIALS.to_owned());
            let known = known.or(of_credentials).or_else(|| std::env::var(name).ok());
            Some(known.unwrap_or_else(|| format!("${{{name}}}")))
        };
        let environment = &self.model.process.environment;
        let value = |name: &String| Some((name.clone(), variable::expand(environment, name, &str::to_owned, &known)?));
        environment.keys().filter_map(value).collect()
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

    /// Completes one pod; the first has the deployment's name, and others that name with their own appended.
    fn workload(&self, document: &Document, kind: &str, is_first: bool) -> Result<Complete, Diagnostic> {
        let mut pod = pod_of(document, kind)?;
        let mut metadata = pod.metadata.unwrap_or_default();
        let own_name = metadata.name.as_deref().unwrap_or("pod");
        metadata.name =
            Some(if is_first { self.deployment.to_string() } else { format!("{}-{own_name}", self.deployment) });
        let mut spec = pod.spec.unwrap_or_default();
        check(document, kind, &spec)?;
        let images = spec.all().filter_map(image).collect();
        self.complete(&mut spec);
        pod = Object { metadata: Some(metadata), spec: Some(spec), ..pod };
        let object = serde_json::to_value(pod).expect("maps have texts for keys");
        Ok(Complete { object, images })
    }

    fn complete(&self, spec: &mut PodSpec) {
        self.name_empty_dirs(spec);
        let mounts = self.mounts();
        for Mount { name, from, .. } in &mounts {
            let rest = fields([("hostPath", json!({ "path": from, "type": "Directory" }))]);
            let volume = Volume { name: Some((*name).to_owned()), empty_dir: None, rest };
            spec.volumes.get_or_insert_default().push(volume);
        }
        for container in spec.all_mut() {
            self.complete_container(container, &mounts);
        }
    }

    /// podman makes an emptyDir a volume of that name, which pods of two generations would share: it gets the
    /// deployment's.
    fn name_empty_dirs(&self, spec: &mut PodSpec) {
        let mut renamed = BTreeSet::new();
        for volume in spec.volumes.iter_mut().flatten().filter(|volume| volume.empty_dir.is_some()) {
            let name = volume.name.take().unwrap_or_default();
            volume.name = Some(self.own_name(&name));
            renamed.insert(name);
        }
        for mount in spec.all_mut().flat_map(|container| container.volume_mounts.iter_mut().flatten()) {
            if let Some(name) = mount.name.take() {
                mount.name = Some(if renamed.contains(&name) { self.own_name(&name) } else { name });
            }
        }
    }

    fn own_name(&self, name: &str) -> String {
        format!("{}-{name}", self.deployment)
    }

    fn complete_container(&self, container: &mut Container, mounts: &[Mount]) {
        let mut variables = self.declared();
        // `_prepare` has refused one that is missing.
        variables.extend(of_files(self.layout, self.model, self.files).unwrap_or_default());
        variables.extend(self.own());
        if mounts.iter().any(|mount| mount.path == CREDENTIALS) {
            variables.insert("CREDENTIALS_DIRECTORY".to_owned(), CREDENTIALS.to_owned());
        }
        // Variables of the file override these.
        let declared = container.env.get_or_insert_default();
        variables.retain(|name, _| declared.iter().all(|one| one.name.as_ref() != Some(name)));
        declared.extend(
            variables
                .into_iter()
                .map(|(name, value)| Named { name: Some(name), rest: fields([("value", value.into())]) }),
        );
        for Mount { name, path, read_only, .. } in mounts {
            let rest = fields([("mountPath", path.as_str().into()), ("readOnly", (*read_only).into())]);
            container.volume_mounts.get_or_insert_default().push(Named { name: Some((*name).to_owned()), rest });
        }
    }

    /// Returns the directories that every container mounts.
    fn mounts(&self) -> Vec<Mount> {
        let mut mounts = Vec::new();
        if self.model.listen.kind == ListenKind::Unix {
            let Deployment { service, generation, instance } = self.deployment;
            let dir = self.layout.socket_dir(service, generation, *instance).to_string();
            mounts.push(Mount { name: "conductor-socket", path: dir.clone(), from: dir, read_only: false });
        }
        if self.model.process.has_credentials() {
            let from = self.deployment.dir(self.layout).join("credentials/files").to_string();
            let path = CREDENTIALS.to_owned();
            mounts.push(Mount { name: "conductor-credentials", path, from, read_only: true });
        }
        mounts
    }
}

/// An object as podman gets it, and the images that it needs.
struct Complete {
    object: Value,
    images: Vec<(String, Policy)>,
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

fn image(container: &Container) -> Option<(String, Policy)> {
    let is_never = container.image_pull_policy.as_deref() == Some("Never");
    let policy = if is_never { Policy::Never } else { Policy::Missing };
    container.image.clone().map(|image| (image, policy))
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Fields {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Returns the pod of a workload: the object itself, or its template.
fn pod_of(document: &Document, kind: &str) -> Result<Object<PodSpec>, Diagnostic> {
    if kind == "Pod" {
        return manifest::read(document);
    }
    let controller: Object<ControllerSpec> = manifest::read(document)?;
    let ControllerSpec { replicas, template } = controller.spec.unwrap_or_default();
    if replicas.is_some_and(|replicas| replicas > 1) {
        let message = "the number of replicas is that of service.toml";
        return Err(document.error(
            &path!["spec", "replicas"],
            message,
            "write concurrency = … in service.toml instead",
        ));
    }
    let PodTemplate { metadata, spec } = template.unwrap_or_default();
    let name = controller.metadata.and_then(|metadata| metadata.name);
    let metadata = Some(Metadata { name, ..metadata.unwrap_or_default() });
    let rest = Fields::new();
    Ok(Object { api_version: Some("v1".to_owned()), kind: "Pod".to_owned(), metadata, spec, rest })
}

/// Checks that a pod has containers and nothing that parallel deployments cannot share.
fn check(document: &Document, kind: &str, spec: &PodSpec) -> Result<(), Diagnostic> {
    let here = if kind == "Pod" { path!["spec"] } else { path!["spec", "template", "spec"] };
    if spec.host_network == Some(true) {
        let message = "parallel deployments would share the host's ports";
        let remedy = "take hostNetwork out; [[route]] and [[port]] reach the pod";
        return Err(document.error(&here.join("hostNetwork"), message, remedy));
    }
    if spec.containers.as_ref().is_none_or(Vec::is_empty) {
        let remedy = "write containers: [{name: web, image: nginx}]";
        return Err(document.error(&here.join("containers"), "the pod has no containers", remedy));
    }
    for (list, containers) in [("initContainers", &spec.init_containers), ("containers", &spec.containers)] {
        for (index, container) in containers.iter().flatten().enumerate() {
            check_container(document, &here.join(list).join(index), container)?;
        }
    }
    Ok(())
}

fn check_container(document: &Document, here: &Path, container: &Container) -> Result<(), Diagnostic> {
    if container.name.as_ref().is_none_or(String::is_empty) {
        return Err(document.error(&here.join("name"), "the container has no name", "write name: web"));
    }
    if container.image.as_ref().is_none_or(String::is_empty) {
        let remedy = "write image: docker.io/library/nginx:1.27";
        return Err(document.error(&here.join("image"), "the container has no image", remedy));
    }
    for (index, port) in container.ports.iter().flatten().enumerate() {
        // Kubernetes reads 0 as a port that is not set.
        if port.host_port.is_some_and(|port| port != 0) {
            let message = "a port of the host belongs to one deployment alone";
            let remedy = "take hostPort out; [[route]] for HTTP and [[port]] for TCP reach the container";
            return Err(document.error(&here.join("ports").join(index).join("hostPort"), message, remedy));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
