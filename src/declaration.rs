//! `service.toml` as people write it. `resolve` checks what a type cannot hold; `key` describes each key.

pub mod function;
pub mod host;
mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use value::{Hook, OneOrMany, Scalar, TimeSpan};

/// A whole `service.toml`, drop-ins merged.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    pub description: Option<String>,
    pub concurrency: Option<u32>,
    pub slots: Option<u32>,
    #[serde(default)]
    pub config: BTreeMap<String, Scalar>,
    pub exec: Option<Exec>,
    pub container: Option<Container>,
    pub pod: Option<Pod>,
    #[serde(default)]
    pub listen: Listen,
    #[serde(default)]
    pub health: Health,
    #[serde(default)]
    pub route: Vec<Route>,
    #[serde(default)]
    pub port: Vec<Port>,
    #[serde(default)]
    pub deploy: Deploy,
    #[serde(default)]
    pub hooks: Hooks,
    #[serde(default)]
    pub resources: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub commands: BTreeMap<String, RunCommand>,
    #[serde(default)]
    pub service: Vec<Dependency>,
    #[serde(default)]
    pub condition: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    pub display: Vec<String>,
    #[serde(default)]
    pub install: Install,
    #[serde(default)]
    pub systemd: Systemd,
}

/// What stands in a `service.toml` beside its `[[part]]` sections and concerns all of them together.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub description: Option<String>,
    #[serde(default)]
    pub service: Vec<Dependency>,
    #[serde(default)]
    pub install: Install,
    #[serde(default)]
    pub condition: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    pub resources: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub systemd: Systemd,
}

/// `[exec]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Exec {
    pub command: Vec<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, Scalar>,
    pub user: Option<String>,
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    #[serde(default)]
    pub credentials_encrypted: BTreeMap<String, String>,
    #[serde(default)]
    pub sandbox: Sandbox,
}

/// Whether systemd confines the processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    #[default]
    Strict,
    None,
}

/// `[container]`: one image, run by podman-run(1); keys are those of podman-systemd.unit(5) in snake case.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub image: String,
    #[serde(default)]
    pub pull: Pull,
    pub digest: Option<String>,
    #[serde(default)]
    pub exec: Vec<String>,
    pub entrypoint: Option<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, Scalar>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    #[serde(default)]
    pub volume: Vec<String>,
    #[serde(default)]
    pub tmpfs: Vec<String>,
    #[serde(default)]
    pub secret: Vec<String>,
    #[serde(default)]
    pub network: Vec<String>,
    #[serde(default)]
    pub add_capability: Vec<String>,
    #[serde(default)]
    pub drop_capability: Vec<String>,
    #[serde(default)]
    pub read_only: bool,
    #[serde(default)]
    pub podman_args: Vec<String>,
    pub port: Option<u16>,
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    #[serde(default)]
    pub credentials_encrypted: BTreeMap<String, String>,
}

/// When conductor pulls an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    #[default]
    Missing,
    Newer,
    Never,
}

/// `[pod]`: Kubernetes YAML, run by podman-kube-play(1).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pod {
    pub template: String,
    pub config_map: Option<String>,
    #[serde(default)]
    pub environment: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub network: Vec<String>,
    #[serde(default)]
    pub podman_args: Vec<String>,
    pub port: Option<u16>,
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    #[serde(default)]
    pub credentials_encrypted: BTreeMap<String, String>,
}

/// `[listen]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Listen {
    #[serde(rename = "type")]
    pub kind: Option<ListenKind>,
    pub idle_timeout: Option<TimeSpan>,
}

/// How a process gets its listening socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ListenKind {
    #[default]
    Activation,
    Unix,
    Tcp,
}

/// `[[port]]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Port {
    pub listen: String,
}

/// `[health]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Health {
    pub http: Option<String>,
    pub tcp: Option<bool>,
    pub exec: Option<Vec<String>>,
    pub notify: Option<bool>,
    pub status: Option<Vec<u16>>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub interval: Option<TimeSpan>,
    pub timeout: Option<TimeSpan>,
    pub retries: Option<u32>,
}

/// `[[route]]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    #[serde(default)]
    pub host: Vec<String>,
    pub path: Option<String>,
    #[serde(default)]
    pub tls: Tls,
}

/// Whether the proxy serves a host over HTTPS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    #[default]
    Auto,
    Off,
}

/// `[deploy]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    #[serde(default)]
    pub strategy: Strategy,
    pub max_surge: Option<u32>,
    pub drain_timeout: Option<TimeSpan>,
    pub health_timeout: Option<TimeSpan>,
    pub restarted_at: Option<String>,
}

/// In which order deployments of two generations start and stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    #[default]
    Rolling,
    BlueGreen,
    Recreate,
}

/// `[hooks]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    pub pre_start: Hook,
    pub post_start: Hook,
    pub pre_stop: Hook,
    pub drain: Vec<String>,
    pub post_stop: Hook,
    pub timeout: Option<TimeSpan>,
}

/// `[commands.NAME]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunCommand {
    pub description: Option<String>,
    pub exec: Vec<String>,
    #[serde(default)]
    pub scope: CommandScope,
}

/// What a command runs beside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CommandScope {
    #[default]
    Deployment,
    Service,
}

/// `[[service]]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    pub dir: String,
    #[serde(default)]
    pub vars: BTreeMap<String, Scalar>,
    pub name: Option<String>,
}

/// `[install]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Install {
    pub wanted_by: Option<Vec<String>>,
}

/// `[systemd.*]`: directives of the deployments' units, and of the service's slice.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Systemd {
    pub unit: BTreeMap<String, OneOrMany>,
    pub service: BTreeMap<String, OneOrMany>,
    pub socket: BTreeMap<String, OneOrMany>,
    pub slice: BTreeMap<String, OneOrMany>,
}
