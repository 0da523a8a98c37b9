//! A pod's file: the declared template, rendered for one deployment and completed with what every deployment has.

mod base64;
mod complete;
mod config;
mod kind;
mod manifest;
mod note;
mod place;
pub(crate) mod probe;
pub(crate) mod text;
mod volume;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::complete::Completion;
use self::config::Configs;
use self::kind::WORKLOADS;
use self::manifest::{Container, ControllerSpec, Fields, Metadata, Object, PodSpec, PodTemplate};
use self::note::Reached;
use self::place::Place;
use self::probe::{Probes, Readiness};
use self::text::Text;
use self::volume::Files;
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
use crate::names::listener::variable as of_listener;
use crate::source::read;
use crate::template::{self, Piece};
use crate::{atomic, path, variable};

/// The record in the DEPLOYMENTDIR of what hooks need to know of the pod's file.
const PREPARED: &str = "pod.json";

/// The annotation with the container that commands run in, as for `kubectl exec`.
const MAIN_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

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

/// What a pod's files become.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    /// What podman gets.
    pub(crate) objects: Vec<Value>,
    /// The images of all containers, in order.
    pub(crate) images: Vec<(String, Policy)>,
    /// What is not used, or not as Kubernetes does.
    pub(crate) notes: Vec<Diagnostic>,
    volumes: Vec<Files>,
    prepared: Prepared,
    /// The pod that callers reach.
    reached: Option<Reached>,
}

/// What hooks need to know of a pod's file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Prepared {
    /// The name of the container in which commands run, podman-exec(1).
    pub(crate) container: String,
    /// The names that podman may give the pods.
    pub(crate) pods: Vec<String>,
    pub(crate) probes: Vec<Readiness>,
}

/// Writes the file that `podman kube play` reads and the pod's checks into the DEPLOYMENTDIR, and the files of its
/// ConfigMaps and Secrets.
///
/// # Errors
/// If a template cannot be rendered, a file is not YAML or contains no pod, or the file system refuses an operation.
pub(crate) fn write(layout: &Layout, deployment: &Deployment, model: &Service, pod: &Pod) -> Result<()> {
    let files = layout.at(&layout.files(&deployment.service, &deployment.generation));
    let setting = Setting { layout, deployment, model, pod, files: &files, shown: &files };
    let dir = layout.at(&deployment.dir(layout));
    let mut rendered = setting.render().map_err(Diagnostics::from)?;
    volume::create_above(&layout.on_host(&layout.volumes(deployment)))?;
    rendered.volumes.iter().try_for_each(|files| files.write(&|path| layout.on_host(path)))?;
    // podman creates a volume for a claim, and refuses a claim whose volume exists.
    rendered.objects.retain(|object| object["kind"] != "PersistentVolumeClaim" || !exists("volume", name(object)));
    let prepared = serde_json::to_vec(&rendered.prepared).map_err(io::Error::from)?;
    atomic::write(&dir.join(PREPARED), &prepared)?;
    Ok(atomic::write(&dir.join("pod.yaml"), text(&rendered.objects).as_bytes())?)
}

/// Reads what hooks need to know of a deployment's pod.
///
/// # Errors
/// If the deployment is not prepared.
pub(crate) fn prepared(layout: &Layout, deployment: &Deployment) -> io::Result<Prepared> {
    let bytes = fs::read(layout.at(&deployment.dir(layout)).join(PREPARED))?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Returns the names that podman may give the pod of an object: of another kind than Pod, 4.3 gives it a number.
fn names_of(kind: &str, name: &str) -> Vec<String> {
    if kind == "Pod" { vec![name.to_owned()] } else { vec![format!("{name}-pod"), format!("{name}-pod-0")] }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Writes objects as JSON, which is also YAML and needs no rules for quotes.
fn text(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object:#}\n")).collect()
}

impl Setting<'_> {
    /// Renders the pod's files, without writing anything.
    ///
    /// # Errors
    /// The first value that is wrong, with its place in the rendered file.
    pub(crate) fn render(&self) -> Result<Rendered, Diagnostic> {
        let documents = self.documents(&self.pod.template)?;
        if !documents.iter().any(|document| WORKLOADS.contains(&kind_of(document).as_str())) {
            let message = "the file contains no pod";
            let remedy = format!("write a document with kind: {}", WORKLOADS.join(" or kind: "));
            let others = documents.iter().map(|document| (document, kind_of(document)));
            let mut others = others.filter(|(_, kind)| !kind::is_configuration(kind));
            let error = others.find_map(|(document, kind)| kind::note(document, &kind).err());
            return Err(
                error.unwrap_or_else(|| Diagnostic::of_file(&self.shown.join(&self.pod.template), message, remedy))
            );
        }
        let mut rendered = Rendered::default();
        let configs = self.configs(&documents)?;
        for document in &documents {
            match kind_of(document).as_str() {
                kind if WORKLOADS.contains(&kind) => self.workload(document, kind, &configs, &mut rendered)?,
                "PersistentVolumeClaim" => rendered.objects.push(document.value()),
                kind if config::Kind::of(kind).is_some() => {}
                kind => rendered.notes.push(kind::note(document, kind)?),
            }
        }
        Ok(rendered)
    }

    /// Reads the ConfigMaps and Secrets of the pod's file and of `pod.config_map`.
    fn configs(&self, documents: &[Document]) -> Result<Configs, Diagnostic> {
        let mut configs = Configs::default();
        for document in documents {
            if let Some(kind) = config::Kind::of(&kind_of(document)) {
                configs.add(kind, document)?;
            }
        }
        for path in self.pod.config_map.iter().filter(|path| **path != self.pod.template) {
            for document in self.documents(path)? {
                let kind = kind_of(&document);
                let remedy = format!("write it in {}", self.pod.template);
                let other = || document.error(&path!["kind"], format!("config_map is no place for {kind:?}"), remedy);
                configs.add(config::Kind::of(&kind).ok_or_else(other)?, &document)?;
            }
        }
        Ok(configs)
    }

    fn documents(&self, path: &Utf8Path) -> Result<Vec<Document>, Diagnostic> {
        let shown = self.shown.join(path);
        let template = fs::read_to_string(self.files.join(path)).map_err(|error| read::unreadable(&shown, &error))?;
        let pieces = template::render_pieces(&shown, &template, &self.variables())?;
        // Errors have positions in the rendered text, so that its path says that it is rendered.
        let is_same = pieces.iter().map(Piece::text).collect::<String>() == template;
        let path = if is_same { shown } else { format!("{shown} (rendered)").into() };
        let documents = Document::parse(Text::new(path, pieces))?;
        let documents: Vec<_> = documents.into_iter().flat_map(Document::flattened).collect();
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
        for listener in self.model.listen.all() {
            match listener.kind {
                ListenKind::Tcp => {
                    let port = self.model.port_inside(listener);
                    own.extend(port.map(|port| (of_listener("PORT", listener.name), port.to_string())));
                }
                ListenKind::Unix => {
                    let socket = self.deployment.own_socket(self.layout, listener.name);
                    own.insert(of_listener("CONDUCTOR_SOCKET", listener.name), socket.to_string());
                }
                ListenKind::Activation | ListenKind::None => {}
            }
        }
        own
    }

    /// Completes one pod; the first has the deployment's name, and others that name with their own appended.
    fn workload(
        &self,
        document: &Document,
        kind: &str,
        configs: &Configs,
        rendered: &mut Rendered,
    ) -> Result<(), Diagnostic> {
        let at = Place::new(document, if kind == "Pod" { path!["spec"] } else { path!["spec", "template", "spec"] });
        rendered.notes.extend(note::of_strategy(document, self.model.deploy.strategy));
        let mut pod = pod_of(document, kind)?;
        let mut metadata = pod.metadata.unwrap_or_default();
        let own_name = metadata.name.take().unwrap_or_else(|| "pod".to_owned());
        let name = match &rendered.reached {
            None => self.deployment.to_string(),
            Some(_) => format!("{}-{own_name}", self.deployment),
        };
        let mut spec = pod.spec.unwrap_or_default();
        check(document, kind, &spec)?;
        rendered.notes.extend(note::of_fields(&at, &mut spec));
        match &rendered.reached {
            Some(first) => rendered.notes.push(first.note_of_another(&Place::new(document, path!["kind"]))),
            None => {
                let port = self.pod.port.filter(|_| self.model.listen.kind == ListenKind::Tcp);
                let reached = Reached { pod: own_name, port };
                rendered.notes.extend(reached.note_of_ports(&at, &spec));
                rendered.reached = Some(reached);
                rendered.prepared.container = format!("{name}-{}", main_container(document, kind, &metadata, &spec)?);
            }
        }
        rendered.prepared.pods.extend(names_of(kind, &name));
        rendered.images.extend(spec.all().filter_map(image));
        self.take_probes(&at, &name, &mut spec, rendered)?;
        let dir = self.layout.volumes(self.deployment).join(rendered.objects.len().to_string());
        rendered.volumes.extend(volume::own(configs, &at, &mut spec, &dir)?);
        for (list, containers) in [("initContainers", &mut spec.init_containers), ("containers", &mut spec.containers)]
        {
            for (index, container) in containers.iter_mut().flatten().enumerate() {
                configs.resolve(&at.join(list).join(index), container)?;
            }
        }
        self.completion().complete(&mut spec);
        metadata.name = Some(name);
        pod = Object { metadata: Some(metadata), spec: Some(spec), ..pod };
        rendered.objects.push(serde_json::to_value(pod).expect("maps have texts for keys"));
        Ok(())
    }

    fn take_probes(
        &self,
        at: &Place,
        pod: &str,
        spec: &mut PodSpec,
        rendered: &mut Rendered,
    ) -> Result<(), Diagnostic> {
        let mut probes = Probes::default();
        for (index, container) in spec.containers.iter_mut().flatten().enumerate() {
            probes.add(&at.join("containers").join(index), pod, container, &self.model.health)?;
        }
        rendered.prepared.probes.extend(probes.checks);
        rendered.notes.extend(probes.notes);
        Ok(())
    }

    /// Returns what every container of the deployment has.
    fn completion(&self) -> Completion {
        let mut variables = self.declared();
        // `_prepare` has refused one that is missing.
        variables.extend(of_files(self.layout, self.model, self.files).unwrap_or_default());
        variables.extend(self.own());
        Completion::new(self.layout, self.deployment, self.model, variables)
    }
}

/// Returns the container in which commands of the pod run: the first, or that of kubectl's annotation.
fn main_container(document: &Document, kind: &str, metadata: &Metadata, spec: &PodSpec) -> Result<String, Diagnostic> {
    let mut names = spec.containers.iter().flatten().filter_map(|container| container.name.as_deref());
    let named = metadata.annotations.as_ref().and_then(|annotations| annotations.get(MAIN_CONTAINER)?.as_str());
    let Some(named) = named else { return Ok(names.next().unwrap_or_default().to_owned()) };
    if names.any(|name| name == named) {
        return Ok(named.to_owned());
    }
    let of_pod = if kind == "Pod" { path!["metadata"] } else { path!["spec", "template", "metadata"] };
    let at = of_pod.join("annotations").join(MAIN_CONTAINER);
    let known: Vec<_> = spec.containers.iter().flatten().filter_map(|container| container.name.as_deref()).collect();
    Err(document.error(&at, format!("there is no container {named:?}"), format!("write one of {}", known.join(", "))))
}

fn kind_of(document: &Document) -> String {
    document.get(&path!["kind"]).and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
}

fn image(container: &Container) -> Option<(String, Policy)> {
    let is_never = container.image_pull_policy.as_deref() == Some("Never");
    let policy = if is_never { Policy::Never } else { Policy::Missing };
    container.image.clone().map(|image| (image, policy))
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
