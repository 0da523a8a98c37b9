//! `service.toml` as people write it. `resolve` checks what a type cannot hold; `key` describes each key.

pub mod function;
pub mod host;
mod listen;
mod route;
mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use listen::Listener;
pub use listen::{Listen, ListenKind};
pub(crate) use route::Route;
pub use route::{Affinity, AppProtocol, Tls};
pub(crate) use value::{Hook, OneOrMany, Scalar, Texts, TimeSpan};

/// The file `service.toml`, with drop-ins merged.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    pub(crate) description: Option<String>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) slots: Option<u32>,
    #[serde(default)]
    pub(crate) config: BTreeMap<String, Scalar>,
    pub(crate) exec: Option<Exec>,
    pub(crate) container: Option<Container>,
    pub(crate) pod: Option<Pod>,
    #[serde(default)]
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) health: Health,
    #[serde(default)]
    pub(crate) route: Vec<Route>,
    #[serde(default)]
    pub(crate) port: Vec<Port>,
    #[serde(default)]
    pub(crate) deploy: Deploy,
    #[serde(default)]
    pub(crate) hooks: Hooks,
    #[serde(default)]
    pub(crate) resources: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) commands: BTreeMap<String, RunCommand>,
    #[serde(default)]
    pub(crate) service: Vec<Dependency>,
    #[serde(default)]
    pub(crate) condition: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    pub(crate) display: Vec<String>,
    #[serde(default)]
    pub(crate) install: Install,
    #[serde(default)]
    pub(crate) systemd: Systemd,
}

impl Declaration {
    /// Returns whether the service runs a program. For one that runs none the proxy answers alone.
    pub(crate) fn has_engine(&self) -> bool {
        self.exec.is_some() || self.container.is_some() || self.pod.is_some()
    }

    /// Returns the declaration without the keys of programs, which `conductor.toml` may give to all services of a host.
    pub(crate) fn without_program(self) -> Self {
        let Self { description, route, service, condition, display, install, .. } = self;
        Self {
            description,
            concurrency: None,
            slots: None,
            config: BTreeMap::new(),
            exec: None,
            container: None,
            pod: None,
            listen: Listen::none(),
            health: Health::default(),
            route: route.into_iter().map(|route| Route { listener: None, ..route }).collect(),
            port: Vec::new(),
            deploy: Deploy::default(),
            hooks: Hooks::default(),
            resources: BTreeMap::new(),
            commands: BTreeMap::new(),
            service,
            condition,
            display,
            install,
            systemd: Systemd::default(),
        }
    }
}

/// The keys of a `service.toml` outside of `[[part]]` that hold for the group.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) service: Vec<Dependency>,
    #[serde(default)]
    pub(crate) install: Install,
    #[serde(default)]
    pub(crate) condition: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    pub(crate) resources: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) systemd: Systemd,
}

/// `[exec]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Exec {
    /// Of a function with a directory of programs there is none.
    #[cfg_attr(feature = "cli", schemars(required))]
    pub(crate) command: Option<Vec<String>>,
    pub(crate) working_dir: Option<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) environment_file: Vec<String>,
    #[serde(default)]
    pub(crate) start_templates: Vec<String>,
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) credentials: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) credentials_encrypted: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) sandbox: Sandbox,
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
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) pull: Pull,
    pub(crate) digest: Option<String>,
    #[serde(default)]
    pub(crate) exec: Vec<String>,
    pub(crate) entrypoint: Option<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) environment_file: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    #[serde(default)]
    pub(crate) volume: Vec<String>,
    #[serde(default)]
    pub(crate) tmpfs: Vec<String>,
    #[serde(default)]
    pub(crate) secret: Vec<String>,
    #[serde(default)]
    pub(crate) network: Vec<String>,
    #[serde(default)]
    pub(crate) add_capability: Vec<String>,
    #[serde(default)]
    pub(crate) drop_capability: Vec<String>,
    #[serde(default)]
    pub(crate) read_only: bool,
    #[serde(default)]
    pub(crate) podman_args: Vec<String>,
    pub(crate) port: Option<u16>,
    #[serde(default)]
    pub(crate) credentials: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) credentials_encrypted: BTreeMap<String, String>,
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
    pub(crate) template: String,
    pub(crate) config_map: Option<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) environment_file: Vec<String>,
    #[serde(default)]
    pub(crate) network: Vec<String>,
    #[serde(default)]
    pub(crate) podman_args: Vec<String>,
    pub(crate) port: Option<u16>,
    #[serde(default)]
    pub(crate) credentials: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) credentials_encrypted: BTreeMap<String, String>,
}

/// `[[port]]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    pub(crate) listen: String,
    pub(crate) pass: Option<bool>,
    pub(crate) datagram: Option<bool>,
    pub(crate) proxy_protocol: Option<bool>,
    pub(crate) name: Option<String>,
    pub(crate) listener: Option<String>,
}

/// `[health]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    pub(crate) http: Option<String>,
    pub(crate) tcp: Option<bool>,
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) notify: Option<bool>,
    pub(crate) start: Option<TimeSpan>,
    pub(crate) status: Option<Vec<u16>>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Option<String>,
    pub(crate) interval: Option<TimeSpan>,
    pub(crate) timeout: Option<TimeSpan>,
    pub(crate) retries: Option<u32>,
    pub(crate) listener: Option<String>,
    pub(crate) live: Option<Live>,
}

/// `[health.live]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Live {
    pub(crate) http: Option<String>,
    pub(crate) tcp: Option<bool>,
    pub(crate) exec: Option<Vec<String>>,
    pub(crate) notify: Option<bool>,
    pub(crate) status: Option<Vec<u16>>,
    pub(crate) interval: Option<TimeSpan>,
    pub(crate) timeout: Option<TimeSpan>,
    pub(crate) failures: Option<u32>,
    pub(crate) listener: Option<String>,
}

/// `[deploy]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Deploy {
    #[serde(default)]
    pub(crate) strategy: Strategy,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    pub(crate) max_surge: Option<u32>,
    pub(crate) drain_timeout: Option<TimeSpan>,
    pub(crate) abandoned_timeout: Option<TimeSpan>,
    pub(crate) drain_signal: Option<String>,
    pub(crate) health_timeout: Option<TimeSpan>,
    pub(crate) restarted_at: Option<String>,
    pub(crate) autoscale: Option<Autoscale>,
}

/// `deploy.autoscale`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Autoscale {
    pub(crate) max: u32,
    pub(crate) cpu: u32,
}

/// A step of a canary.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) slots: u32,
    pub(crate) pause: TimeSpan,
}

/// The order in which deployments of two generations start and stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    #[default]
    Rolling,
    BlueGreen,
    Recreate,
    Canary,
}

/// `[hooks]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    pub(crate) release: Hook,
    pub(crate) post_release: Hook,
    pub(crate) verify: Hook,
    pub pre_start: Hook,
    pub(crate) post_start: Hook,
    pub(crate) pre_stop: Hook,
    pub(crate) pre_drain: Hook,
    pub(crate) drain: Vec<String>,
    pub(crate) post_stop: Hook,
    pub(crate) inside: Vec<String>,
    pub(crate) timeout: Option<TimeSpan>,
}

/// `[commands.NAME]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunCommand {
    pub(crate) description: Option<String>,
    pub(crate) exec: Vec<String>,
    #[serde(default)]
    pub(crate) scope: CommandScope,
    pub(crate) inside: Option<bool>,
    pub(crate) schedule: Option<OneOrMany>,
    pub(crate) persistent: Option<bool>,
    pub(crate) overlap: Option<Overlap>,
    pub(crate) randomized_delay: Option<TimeSpan>,
    pub(crate) timeout: Option<TimeSpan>,
    pub(crate) on_failure: Option<Vec<String>>,
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

/// What happens to a job that is due while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    #[default]
    Skip,
    Queue,
}

/// `[[service]]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    pub(crate) dir: String,
    #[serde(default)]
    pub(crate) vars: BTreeMap<String, Scalar>,
    pub name: Option<String>,
}

/// `[install]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Install {
    pub(crate) wanted_by: Option<Vec<String>>,
}

/// `[systemd.*]`: directives of the deployments' units, and of the service's slice.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Systemd {
    pub(crate) unit: BTreeMap<String, OneOrMany>,
    pub service: BTreeMap<String, OneOrMany>,
    pub(crate) socket: BTreeMap<String, OneOrMany>,
    pub(crate) slice: BTreeMap<String, OneOrMany>,
}
