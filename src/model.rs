//! A service as it will be: resolved, checked, and complete. Past here nothing is optional by
//! accident and no text can break the format it is rendered into.

pub mod alias;
pub mod function;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

pub use crate::declaration::CommandScope;
pub use crate::declaration::ListenKind;
pub use crate::declaration::Pull;
pub use crate::declaration::Sandbox;
pub use crate::declaration::Strategy;
pub use crate::declaration::Tls;
use crate::names::ServiceName;

/// Everything that is known of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    /// What it is a part of.
    pub group: Option<Group>,
    pub description: String,
    /// Deployments in parallel, 1 to `slots`.
    pub concurrency: u32,
    /// Fixed upstreams of the proxy.
    pub slots: u32,
    pub process: Process,
    pub listen: Listen,
    pub health: Health,
    pub routes: Vec<Route>,
    /// Where it is reached without a reverse proxy, as `ListenStream=` has it.
    pub ports: Vec<String>,
    pub deploy: Deploy,
    pub hooks: Hooks,
    /// Commands for people, by name.
    pub commands: BTreeMap<String, RunCommand>,
    /// Services that this one brings along and needs.
    pub dependencies: Vec<Dependency>,
    /// Where the service runs: all of these must hold.
    pub conditions: Vec<Directive>,
    /// Variables that listings show as columns.
    pub display: Vec<String>,
    /// Directives of the service's slice.
    pub slice: Vec<Directive>,
    /// Units whose start starts the service.
    pub wanted_by: Vec<String>,
    pub passthrough: Passthrough,
    /// Unit drop-ins for the deployments, in the order in which systemd applies them.
    pub drop_ins: Vec<DropIn>,
    /// The declaration's files, by path.
    pub files: Vec<File>,
    /// The `service.toml` that it comes from: `SourcePath=`.
    pub source: Utf8PathBuf,
}

impl Service {
    /// The service that people declare: itself, or what it is a part of.
    pub fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().map_or(&self.name, |group| &group.name)
    }

    /// Returns the slice of its deployments, systemd.slice(5).
    pub fn slice_name(&self) -> String {
        self.name.slice(self.declared_as())
    }

    /// Services that are brought along by what is declared.
    pub fn dependencies(&self) -> &[Dependency] {
        self.group.as_ref().map_or(&self.dependencies, |group| &group.dependencies)
    }

    /// Units whose start starts what is declared.
    pub fn wanted_by(&self) -> &[String] {
        self.group.as_ref().map_or(&self.wanted_by, |group| &group.wanted_by)
    }
}

/// What the parts of a service have together: one unit that starts, reloads and stops them, and one slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: ServiceName,
    pub description: String,
    pub dependencies: Vec<Dependency>,
    pub conditions: Vec<Directive>,
    /// Directives of the slice that those of the parts are in.
    pub slice: Vec<Directive>,
    pub wanted_by: Vec<String>,
}

/// What is executed, as whom and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub engine: Engine,
    /// `config` with the engine's `environment` over it.
    pub environment: BTreeMap<String, String>,
    /// Of the processes or, beside a container or pod, of the hooks.
    pub user: User,
    /// Name to path, `LoadCredential=`.
    pub credentials: BTreeMap<String, Utf8PathBuf>,
    /// Name to path, `LoadCredentialEncrypted=`.
    pub credentials_encrypted: BTreeMap<String, Utf8PathBuf>,
    pub sandbox: Sandbox,
}

/// What serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Exec { command: Command },
    Container(Container),
    Pod(Pod),
}

impl Engine {
    /// Whether podman runs it.
    pub fn is_podman(&self) -> bool {
        match self {
            Self::Exec { .. } => false,
            Self::Container(_) | Self::Pod(_) => true,
        }
    }
}

/// One image, and how podman-run(1) runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub image: String,
    /// No part of what runs: only who declares it asks for it.
    #[serde(skip)]
    pub pull: Pull,
    /// `sha256:…`, of the image's manifest.
    pub digest: Option<String>,
    pub exec: Vec<String>,
    pub entrypoint: Option<String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    /// A source that starts with `./` is among the service's files.
    pub volume: Vec<String>,
    pub tmpfs: Vec<String>,
    pub secret: Vec<String>,
    pub network: Vec<String>,
    pub add_capability: Vec<String>,
    pub drop_capability: Vec<String>,
    pub read_only: bool,
    pub podman_args: Vec<String>,
    /// Where it listens, if on TCP.
    pub port: Option<u16>,
}

impl Container {
    /// What podman is told to run: the image itself where its digest is known.
    pub fn reference(&self) -> String {
        match &self.digest {
            // A tag beside a digest is none of podman's business: it says where the digest was found.
            Some(digest) => format!("{}@{digest}", without_tag(&self.image)),
            None => self.image.clone(),
        }
    }
}

/// An image's name without `:TAG`; a colon before a slash is a registry's port.
pub fn without_tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// Kubernetes YAML, and how podman-kube-play(1) runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Among the service's files.
    pub template: Utf8PathBuf,
    /// Likewise.
    pub config_map: Option<Utf8PathBuf>,
    /// Those that the service was declared with: the templates' variables.
    pub variables: BTreeMap<String, String>,
    pub network: Vec<String>,
    pub podman_args: Vec<String>,
    /// Where it listens, if on TCP.
    pub port: Option<u16>,
}

/// Where a deployment listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    pub kind: ListenKind,
    /// A deployment to which nobody is connected for so long stops until somebody connects.
    pub idle_timeout: Option<Duration>,
}

impl Listen {
    /// Whether callers reach it through systemd-socket-proxyd(8): what takes no unix socket does, and what is
    /// not there all the time.
    pub fn is_bridged(&self) -> bool {
        self.kind == ListenKind::Tcp || self.idle_timeout.is_some()
    }

    /// Whether systemd holds the socket that callers reach.
    pub fn has_socket(&self) -> bool {
        self.kind == ListenKind::Activation || self.is_bridged()
    }
}

/// A program and its arguments; a first word that starts with `./` is among the service's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Command(pub Vec<String>);

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join(" "))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum User {
    /// `DynamicUser=yes` under a name that all generations share.
    Dynamic(String),
    Static(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub check: Check,
    /// Between two attempts.
    pub interval: Duration,
    /// Of one attempt.
    pub timeout: Duration,
    /// So many attempts may be made, 1 or more; None: as many as time allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// A GET of `path` is answered with one of `status`; an empty list means 200 to 399.
    Http {
        path: String,
        status: Vec<u16>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        /// A regular expression that the answer's body matches.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// The process accepts a connection.
    Tcp,
    /// The command, run as the service's user in its sandbox, exits with 0.
    Exec { command: Command },
    /// The process says READY=1, sd_notify(3).
    Notify,
}

/// What the proxy sends here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// None: every host.
    pub host: Option<String>,
    /// A path prefix, on path boundaries; `/` is everything.
    pub path: String,
    pub tls: Tls,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    pub strategy: Strategy,
    /// New deployments that start at a time, with the rolling strategy.
    pub max_surge: u32,
    pub drain_timeout: Duration,
    pub health_timeout: Duration,
    /// Part of the generation, so that the same configuration rolls: RFC 3339, UTC.
    pub restarted_at: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    pub pre_start: Option<Hook>,
    pub post_start: Option<Hook>,
    pub pre_stop: Option<Hook>,
    /// Has what requests in flight leave of `drain_timeout`.
    pub drain: Option<Command>,
    pub post_stop: Option<Hook>,
}

/// A command that is ended when its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub command: Command,
    pub timeout: Duration,
}

/// A command for people: `conductor run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCommand {
    pub description: Option<String>,
    pub exec: Command,
    pub scope: CommandScope,
}

/// Another service that is declared and started first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub name: ServiceName,
    /// As declared: relative to the declaration's directory.
    pub dir: Utf8PathBuf,
    pub vars: BTreeMap<String, String>,
}

/// One line of a unit, its value in systemd's own syntax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    pub name: String,
    pub value: String,
}

/// Lines for the deployments' units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passthrough {
    pub unit: Vec<Directive>,
    pub service: Vec<Directive>,
    pub socket: Vec<Directive>,
}

/// A unit drop-in, taken into the generation as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropIn {
    /// `50-limits.conf`
    pub name: String,
    pub content: String,
}

/// One file of the declaration, relative to its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub path: Utf8PathBuf,
    pub kind: FileKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// SHA-256 of its content in hex.
    Regular {
        executable: bool,
        size: u64,
        sha256: String,
    },
    Directory,
    /// Relative, and within the declaration.
    Symlink {
        target: Utf8PathBuf,
    },
}
