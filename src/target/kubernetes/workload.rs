//! A service as its objects are made of it: names, labels, files and environment.

use camino::Utf8Path;

use crate::diagnostic::Diagnostics;
use crate::model::{Engine, Model, Service, Systemd};
use crate::names::GenerationId;
use crate::target::kubernetes::environment::Environment;
use crate::target::kubernetes::files::Files;
use crate::target::kubernetes::image::Image;
use crate::target::kubernetes::names::{COMPONENT, SERVING, object_name};
use crate::target::kubernetes::options::Kubernetes;
use crate::target::kubernetes::ports::Ports;
use crate::target::kubernetes::yaml::{Yaml, map};
use crate::target::{Contents, Input};

/// A service that is rendered.
pub(super) struct Workload<'a> {
    pub(super) kubernetes: &'a Kubernetes,
    pub(super) service: &'a Service,
    pub(super) systemd: &'a Systemd,
    pub(super) id: &'a GenerationId,
    /// The directory of the service's files, as errors name it.
    pub(super) shown: &'a Utf8Path,
    pub(super) contents: &'a Contents,
    /// The name of its objects.
    pub(super) name: String,
    pub(super) ports: Ports,
    pub(super) files: Files,
    pub(super) image: Image,
    pub(super) environment: Environment,
}

impl<'a> Workload<'a> {
    pub(super) fn new(kubernetes: &'a Kubernetes, input: Input<'a>) -> Result<Self, Diagnostics> {
        let Input { model: Model { service, systemd }, id, shown, contents } = input;
        let ports = Ports::of(service);
        let files = Files::of(service, shown, contents)?;
        let image = Image::of(kubernetes, service, id, shown, &files)?;
        let name = object_name(&service.name);
        let environment = Environment::of(service, systemd, id, &ports, contents);
        Ok(Self { kubernetes, service, systemd, id, shown, contents, name, ports, files, image, environment })
    }

    /// Returns the labels that the pods which serve are found by.
    pub(super) fn selector(&self) -> Yaml {
        map! { "app.kubernetes.io/name" => &self.name, COMPONENT => SERVING }
    }

    /// Returns the labels of an object.
    pub(super) fn labels(&self) -> Yaml {
        let group = self.service.group.as_ref().map(|group| object_name(&group.name));
        map! {
            "app.kubernetes.io/name" => &self.name,
            "app.kubernetes.io/part-of" => group,
            "app.kubernetes.io/managed-by" => "conductor",
            "conductor/service" => self.service.name.as_str(),
            "conductor/generation" => self.id.as_str(),
        }
    }

    /// Returns the labels of pods: those that serve, or those of a command.
    pub(super) fn labels_of_pods(&self, component: &str) -> Yaml {
        let mut labels = self.labels();
        labels.set(COMPONENT, component.into());
        labels
    }

    /// Returns the metadata of an object of the service.
    pub(super) fn metadata(&self, name: &str) -> Yaml {
        self.kubernetes.metadata(name, self.labels(), map! {})
    }

    /// Returns the reference to the Deployment.
    pub(super) fn reference(&self) -> Yaml {
        map! { "apiVersion" => "apps/v1", "kind" => "Deployment", "name" => &self.name }
    }

    /// Returns whether the engine is `[exec]`, whose files are laid over an image.
    pub(super) fn is_exec(&self) -> bool {
        matches!(self.service.process.engine, Engine::Exec { .. })
    }
}
