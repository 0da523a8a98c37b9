//! The processes of a service: their engine, user, environment and credentials.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::declaration::Sandbox;
use crate::model::command::Command;
use crate::model::engine::Engine;

/// The processes of a service: their engine, user, environment and credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub engine: Engine,
    /// `config` with the engine's `environment` over it.
    pub(crate) environment: BTreeMap<String, String>,
    /// Files with variables that override `environment`: an absolute path or, with `./`, one of the service's files; after
    /// a `-` it may be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) environment_files: Vec<String>,
    /// The service's files that are rendered when a deployment starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) start_templates: Vec<Utf8PathBuf>,
    /// The variables of `service declare`, if there are such files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) variables: BTreeMap<String, String>,
    /// Where the processes start, absolute or among the service's files; None for the directory of the files itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<Utf8PathBuf>,
    /// The parts of the service's group that containers reach by their names, itself included, and their addresses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) parts: BTreeMap<String, Ipv4Addr>,
    /// The user of the processes, or of the hooks beside a container or pod.
    pub(crate) user: User,
    /// Paths of secrets by the name that the processes know them by.
    pub(crate) credentials: BTreeMap<String, Utf8PathBuf>,
    /// Paths of encrypted secrets by the name that the processes know them by.
    pub(crate) credentials_encrypted: BTreeMap<String, Utf8PathBuf>,
    pub(crate) sandbox: Sandbox,
}

impl Process {
    /// Returns the processes of a service without a program.
    pub(crate) fn none(user: User) -> Self {
        Self {
            engine: Engine::Exec { command: Command(Vec::new()) },
            environment: BTreeMap::new(),
            environment_files: Vec::new(),
            start_templates: Vec::new(),
            variables: BTreeMap::new(),
            working_dir: None,
            parts: BTreeMap::new(),
            user,
            credentials: BTreeMap::new(),
            credentials_encrypted: BTreeMap::new(),
            sandbox: Sandbox::Strict,
        }
    }

    /// Returns whether the service runs no program: the proxy alone answers for it.
    pub(crate) fn is_none(&self) -> bool {
        matches!(&self.engine, Engine::Exec { command: Command(words) } if words.is_empty())
    }

    /// Returns the parts that containers of the service know by name: none if their `/etc/hosts` is not podman's or is
    /// that of another container, and none that is declared as an option of podman's.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&String, &Ipv4Addr)> {
        let (networks, arguments) = (self.engine.networks(), self.engine.podman_args());
        let is_given = |argument: &String| argument == "--no-hosts" || argument.starts_with("--network=container:");
        let has_own = !arguments.iter().any(is_given) && !networks.iter().any(|it| it.starts_with("container:"));
        let is_declared = move |name: &str| arguments.iter().any(|one| one.starts_with(&format!("--add-host={name}:")));
        self.parts.iter().filter(move |(name, _)| has_own && !is_declared(name))
    }

    /// Returns whether there are secrets, encrypted or not.
    pub(crate) fn has_credentials(&self) -> bool {
        !self.credentials.is_empty() || !self.credentials_encrypted.is_empty()
    }
}

/// The user of processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum User {
    /// A user that exists only while a deployment runs, under a name that all generations share.
    Dynamic(String),
    /// A user of the host.
    Static(String),
}

impl User {
    /// Returns whether it is the superuser, as `User=` of systemd.exec(5) names it.
    pub(crate) fn is_root(&self) -> bool {
        matches!(self, Self::Static(name) if matches!(name.as_str(), "" | "0" | "root"))
    }
}
