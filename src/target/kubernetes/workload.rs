//! A service as its objects are made of it: names, labels, files and the order of all objects.

use camino::Utf8PathBuf;

use crate::diagnostic::Diagnostics;
use crate::model::{Engine, Model, Service, Systemd};
use crate::names::{GenerationId, ServiceName};
use crate::target::Contents;
use crate::target::kubernetes::config_map::Files;
use crate::target::kubernetes::environment::Environment;
use crate::target::kubernetes::image::Image;
use crate::target::kubernetes::ports::Ports;
use crate::target::kubernetes::yaml::{self, Yaml, map};
use crate::target::kubernetes::{
    Kubernetes, RouteApi, autoscaler, deployment, gateway, image, ingress, job, network, pod, policy, secrets, service,
    volume,
};
use crate::tree::Tree;

/// A service that is rendered.
pub(super) struct Workload<'a> {
    pub(super) kubernetes: &'a Kubernetes,
    pub(super) service: &'a Service,
    pub(super) systemd: &'a Systemd,
    pub(super) id: &'a GenerationId,
    pub(super) contents: &'a Contents,
    /// The name of its objects.
    pub(super) name: String,
    pub(super) ports: Ports,
    pub(super) files: Files,
    pub(super) image: Image,
    pub(super) environment: Environment,
}

/// Returns the name of a service's objects: a Service of Kubernetes has a label of DNS, RFC 1035.
pub(super) fn object_name(name: &ServiceName) -> String {
    let name = name.as_str().replace(['.', '_'], "-");
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("s{name}") }
}

impl<'a> Workload<'a> {
    pub(super) fn new(
        kubernetes: &'a Kubernetes,
        model: &'a Model,
        id: &'a GenerationId,
        contents: &'a Contents,
    ) -> Result<Self, Diagnostics> {
        let Model { service, systemd } = model;
        let ports = Ports::of(service);
        let files = Files::of(service, contents)?;
        let image = Image::of(kubernetes, service, id, &files)?;
        let name = object_name(&service.name);
        let environment = Environment::of(service, systemd, id, &ports, contents);
        Ok(Self { kubernetes, service, systemd, id, contents, name, ports, files, image, environment })
    }

    /// Renders all objects: those that others refer to come first.
    pub(super) fn tree(&self) -> Result<Tree, Diagnostics> {
        let mut tree = Tree::default();
        let mut add = |file: &str, objects: Vec<Yaml>| {
            if !objects.is_empty() {
                tree.file(self.path(file), format!("{}{}", secrets::needed(self, &objects), yaml::write(&objects)));
            }
        };
        add("10-service-account.yaml", vec![self.service_account()]);
        add("15-config-map.yaml", self.config_maps()?);
        add("20-persistent-volume-claim.yaml", volume::claims(self));
        add("25-service.yaml", service::render(self));
        add("30-network-policy.yaml", network::render(self));
        add("35-job.yaml", job::release(self)?);
        add("40-deployment.yaml", vec![deployment::render(self)?]);
        add("45-pod-disruption-budget.yaml", vec![policy::render(self)]);
        add("50-horizontal-pod-autoscaler.yaml", autoscaler::render(self));
        add("55-cron-job.yaml", job::scheduled(self)?);
        match &self.kubernetes.routes {
            RouteApi::Ingress => add("60-ingress.yaml", ingress::render(self)),
            RouteApi::Gateway(gateway) => add("60-http-route.yaml", gateway::render(self, gateway)),
        }
        image::build_context(self, &mut tree);
        Ok(tree)
    }

    fn path(&self, file: &str) -> Utf8PathBuf {
        Utf8PathBuf::from(&self.name).join(file)
    }

    /// Returns the labels that the service's pods are found by.
    pub(super) fn selector(&self) -> Yaml {
        map! { "app.kubernetes.io/name" => &self.name }
    }

    /// Returns the labels of an object, or of pods that serve.
    pub(super) fn labels(&self) -> Yaml {
        self.labels_of(&self.name)
    }

    /// Returns the labels of pods that do not serve, under another name.
    pub(super) fn labels_of(&self, name: &str) -> Yaml {
        let group = self.service.group.as_ref().map(|group| object_name(&group.name));
        map! {
            "app.kubernetes.io/name" => name,
            "app.kubernetes.io/part-of" => group,
            "app.kubernetes.io/managed-by" => "conductor",
            "conductor/service" => self.service.name.as_str(),
            "conductor/generation" => self.id.as_str(),
        }
    }

    /// Returns the metadata of an object of the service.
    pub(super) fn metadata(&self, name: &str) -> Yaml {
        self.kubernetes.metadata(name, self.labels(), map! {})
    }

    /// Returns the reference to the Deployment.
    pub(super) fn reference(&self) -> Yaml {
        map! { "apiVersion" => "apps/v1", "kind" => "Deployment", "name" => &self.name }
    }

    fn config_maps(&self) -> Result<Vec<Yaml>, Diagnostics> {
        match &self.service.process.engine {
            Engine::Pod(declared) => pod::config_maps(self, declared),
            Engine::Exec { .. } | Engine::Container(_) => Ok(self.files.config_maps(self)),
        }
    }

    fn service_account(&self) -> Yaml {
        map! {
            "apiVersion" => "v1",
            "kind" => "ServiceAccount",
            "metadata" => self.metadata(&self.name),
            "automountServiceAccountToken" => false,
        }
    }

    /// Returns whether the engine is `[exec]`, whose files are laid over an image.
    pub(super) fn is_exec(&self) -> bool {
        matches!(self.service.process.engine, Engine::Exec { .. })
    }
}
