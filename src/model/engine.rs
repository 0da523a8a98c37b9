//! The engine of a service: a command, a container or a pod, and its properties.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::declaration::{ListenKind, Pull};
use crate::model::command::Command;

/// The engine of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A program of the host or of the declaration.
    Exec { command: Command },
    /// A container of one image.
    Container(Container),
    /// Containers that Kubernetes YAML describes.
    Pod(Pod),
}

/// The way in which systemd learns that an engine has started, and its main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The engine is the main process, and it has started once it is executed.
    Executed,
    /// The engine notifies systemd of its start and its main process, sd_notify(3).
    Announced,
    /// The engine's command ends once all has started, and the main process is in a file.
    Recorded,
}

impl Engine {
    /// Returns the section of a declaration that describes the engine.
    pub(crate) fn section(&self) -> &'static str {
        match self {
            Self::Exec { .. } => "exec",
            Self::Container(_) => "container",
            Self::Pod(_) => "pod",
        }
    }

    /// Returns how it is known that the engine has started.
    pub(crate) fn readiness(&self) -> Readiness {
        match self {
            Self::Exec { .. } => Readiness::Executed,
            Self::Container(_) => Readiness::Announced,
            Self::Pod(_) => Readiness::Recorded,
        }
    }

    /// Returns whether something runs the processes for the engine: it needs root and the host's mounts, confines the
    /// processes itself, gives them credentials and sockets, and removes what they leave.
    pub(crate) fn is_privileged(&self) -> bool {
        match self {
            Self::Exec { .. } => false,
            Self::Container(_) | Self::Pod(_) => true,
        }
    }

    /// Returns whether the processes come out of images, which may have to be pulled.
    pub(crate) fn has_images(&self) -> bool {
        match self {
            Self::Exec { .. } => false,
            Self::Container(_) | Self::Pod(_) => true,
        }
    }

    /// Returns whether deployments have networks of their own, with addresses that are known once they run.
    pub(crate) fn has_own_network(&self) -> bool {
        match self {
            Self::Exec { .. } => false,
            Self::Container(_) | Self::Pod(_) => true,
        }
    }

    /// Returns the networks that the declaration names.
    pub(crate) fn networks(&self) -> &[String] {
        match self {
            Self::Exec { .. } => &[],
            Self::Container(container) => &container.network,
            Self::Pod(pod) => &pod.network,
        }
    }

    /// Returns the declared options of podman.
    pub(crate) fn podman_args(&self) -> &[String] {
        match self {
            Self::Exec { .. } => &[],
            Self::Container(container) => &container.podman_args,
            Self::Pod(pod) => &pod.podman_args,
        }
    }

    /// Returns the port that the processes listen on in their own network, where they listen on TCP.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Exec { .. } => None,
            Self::Container(container) => container.port,
            Self::Pod(pod) => pod.port,
        }
    }

    /// Returns the default of `listen.type`.
    pub(crate) fn default_listener(&self) -> ListenKind {
        match self {
            Self::Exec { .. } => ListenKind::Activation,
            Self::Container(_) | Self::Pod(_) => ListenKind::Tcp,
        }
    }

    /// Returns whether the processes can take a socket that is there before them.
    pub(crate) fn takes_sockets(&self) -> bool {
        match self {
            Self::Exec { .. } | Self::Container(_) => true,
            Self::Pod(_) => false,
        }
    }

    /// Returns whether some variables of a deployment's environment are known only once it is prepared, whatever it
    /// listens on.
    pub(crate) fn has_environment_file(&self) -> bool {
        match self {
            Self::Exec { .. } => false,
            Self::Container(_) | Self::Pod(_) => true,
        }
    }
}

/// One image, and how podman-run(1) runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub(crate) image: String,
    /// No part of what runs: only who declares it asks for it.
    #[serde(skip)]
    pub(crate) pull: Pull,
    /// `sha256:…`, of the image's manifest.
    pub(crate) digest: Option<String>,
    pub(crate) exec: Vec<String>,
    pub(crate) entrypoint: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    /// A source that starts with `./` is among the service's files.
    pub(crate) volume: Vec<String>,
    pub(crate) tmpfs: Vec<String>,
    pub(crate) secret: Vec<String>,
    pub(crate) network: Vec<String>,
    pub(crate) add_capability: Vec<String>,
    pub(crate) drop_capability: Vec<String>,
    pub(crate) read_only: bool,
    pub(crate) podman_args: Vec<String>,
    /// The port on which it listens, for TCP.
    pub(crate) port: Option<u16>,
}

impl Container {
    /// Returns the image to run: by its digest where that is known.
    pub(crate) fn reference(&self) -> String {
        match &self.digest {
            // The digest alone identifies the image; the tag is only where it was found.
            Some(digest) => format!("{}@{digest}", without_tag(&self.image)),
            None => self.image.clone(),
        }
    }
}

/// Returns an image's name without `:TAG`; a colon before a slash is a registry's port.
pub fn without_tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// Kubernetes YAML, and how podman-kube-play(1) runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// The YAML, among the service's files.
    pub(crate) template: Utf8PathBuf,
    /// ConfigMaps for it, among the service's files.
    pub(crate) config_map: Option<Utf8PathBuf>,
    /// The variables that the service was declared with, for the templates.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) network: Vec<String>,
    pub(crate) podman_args: Vec<String>,
    /// The port on which it listens, for TCP.
    pub(crate) port: Option<u16>,
}
