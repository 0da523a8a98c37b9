//! `service.toml` as people write it. Nothing here is checked beyond its type; `resolve` does that.

pub mod function;
pub mod host;

use std::collections::BTreeMap;

use serde::de::{self, Visitor};
use serde::{Deserialize, Serialize};

/// A whole `service.toml`, drop-ins merged.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// For people: `Description=` of the units.
    pub description: Option<String>,
    /// How many deployments run in parallel; 1 unless said.
    pub concurrency: Option<u32>,
    /// How many fixed upstreams the proxy knows; 12 unless said.
    pub slots: Option<u32>,
    /// The service's variables: environment of its processes and hooks.
    #[serde(default)]
    pub config: BTreeMap<String, Scalar>,
    /// The command that serves.
    pub exec: Option<Exec>,
    /// Or the image whose container serves.
    pub container: Option<Container>,
    /// Or the pod that serves.
    pub pod: Option<Pod>,
    /// Where it listens.
    #[serde(default)]
    pub listen: Listen,
    /// When a deployment is ready for traffic.
    #[serde(default)]
    pub health: Health,
    /// What the reverse proxy sends here.
    #[serde(default)]
    pub route: Vec<Route>,
    /// Ports on which it serves without a reverse proxy.
    #[serde(default)]
    pub port: Vec<Port>,
    /// How one generation replaces another.
    #[serde(default)]
    pub deploy: Deploy,
    /// Commands around the life of a deployment.
    #[serde(default)]
    pub hooks: Hooks,
    /// Limits of the whole service: directives of its slice in snake case, systemd.resource-control(5).
    #[serde(default)]
    pub resources: BTreeMap<String, Scalar>,
    /// Commands for people, by name: `conductor run`.
    #[serde(default)]
    pub commands: BTreeMap<String, RunCommand>,
    /// Other services that this one brings along.
    #[serde(default)]
    pub service: Vec<Dependency>,
    /// Where the service runs: systemd's `Condition…=` in snake case, without that word.
    #[serde(default)]
    pub condition: BTreeMap<String, OneOrMany>,
    /// Variables that listings show as columns.
    #[serde(default)]
    pub display: Vec<String>,
    /// What starts the service at boot.
    #[serde(default)]
    pub install: Install,
    /// Directives that are passed through.
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
    /// Limits of all parts together.
    #[serde(default)]
    pub resources: BTreeMap<String, Scalar>,
    /// `[systemd.slice]` alone.
    #[serde(default)]
    pub systemd: Systemd,
}

/// `[exec]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The program and its arguments; `./` is the declaration's directory.
    pub command: Vec<String>,
    /// Environment of the processes, over `config`.
    #[serde(default)]
    pub environment: BTreeMap<String, Scalar>,
    /// The user to run as; a dynamic user unless said.
    pub user: Option<String>,
    /// `LoadCredential=`: name to path.
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    /// `LoadCredentialEncrypted=`: name to path.
    #[serde(default)]
    pub credentials_encrypted: BTreeMap<String, String>,
    /// `"strict"`, the default, or `"none"`.
    #[serde(default)]
    pub sandbox: Sandbox,
}

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
    /// The image's name, with its registry.
    pub image: String,
    /// When the registry is asked for it.
    #[serde(default)]
    pub pull: Pull,
    /// The image itself, `sha256:…`: what `pull = "newer"` has found, wherever the name points by now.
    pub digest: Option<String>,
    /// Arguments of the image's entry point, or the command where it has none.
    #[serde(default)]
    pub exec: Vec<String>,
    /// Instead of the image's own entry point.
    pub entrypoint: Option<String>,
    /// Environment of the processes, over `config`.
    #[serde(default)]
    pub environment: BTreeMap<String, Scalar>,
    /// Within the container; the image's unless said.
    pub user: Option<String>,
    /// Within the container; the image's unless said.
    pub working_dir: Option<String>,
    /// `SOURCE:PATH[:OPTIONS]`; a source that starts with `./` is among the declaration's files.
    #[serde(default)]
    pub volume: Vec<String>,
    /// `PATH[:OPTIONS]`
    #[serde(default)]
    pub tmpfs: Vec<String>,
    /// `NAME[,OPTIONS]`, podman-secret(1).
    #[serde(default)]
    pub secret: Vec<String>,
    /// Networks; podman's default one unless said.
    #[serde(default)]
    pub network: Vec<String>,
    #[serde(default)]
    pub add_capability: Vec<String>,
    #[serde(default)]
    pub drop_capability: Vec<String>,
    /// The image cannot be written to.
    #[serde(default)]
    pub read_only: bool,
    /// Further options of podman-run(1).
    #[serde(default)]
    pub podman_args: Vec<String>,
    /// The TCP port on which it listens.
    pub port: Option<u16>,
    /// `LoadCredential=`: name to path.
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    /// `LoadCredentialEncrypted=`: name to path.
    #[serde(default)]
    pub credentials_encrypted: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// When the machine has no image of this name.
    #[default]
    Missing,
    /// Whenever the service is declared or reloaded by name; another image is another generation.
    Newer,
    /// Never.
    Never,
}

/// `[pod]`: Kubernetes YAML, run by podman-kube-play(1).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// The YAML file, rendered when a deployment starts.
    pub template: String,
    /// A file with ConfigMaps for it, rendered likewise.
    pub config_map: Option<String>,
    /// Environment of its containers, over `config`.
    #[serde(default)]
    pub environment: BTreeMap<String, Scalar>,
    /// Networks; that of podman's pods unless said.
    #[serde(default)]
    pub network: Vec<String>,
    /// Further options of podman-kube-play(1).
    #[serde(default)]
    pub podman_args: Vec<String>,
    /// The TCP port on which it listens.
    pub port: Option<u16>,
    /// `LoadCredential=`: name to path.
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    /// `LoadCredentialEncrypted=`: name to path.
    #[serde(default)]
    pub credentials_encrypted: BTreeMap<String, String>,
}

/// `[listen]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// `"activation"` for `[exec]`, `"tcp"` for containers and pods, unless said.
    #[serde(rename = "type")]
    pub kind: Option<ListenKind>,
    /// A deployment to which nobody is connected for so long stops until somebody connects; never unless said.
    pub idle_timeout: Option<TimeSpan>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ListenKind {
    /// systemd passes the listening socket, sd_listen_fds(3).
    #[default]
    Activation,
    /// The process binds `$CONDUCTOR_SOCKET`.
    Unix,
    /// The process binds `$PORT`.
    Tcp,
}

/// `[[port]]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// As `ListenStream=` has it: a port, an address with one, a path, `vsock:CID:PORT`.
    pub listen: String,
}

/// `[health]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Path of an HTTP GET.
    pub http: Option<String>,
    /// Ready when the process accepts a connection.
    pub tcp: Option<bool>,
    /// Ready when the command exits with 0.
    pub exec: Option<Vec<String>>,
    /// Ready when the process says so, sd_notify(3).
    pub notify: Option<bool>,
    /// HTTP statuses that count as healthy.
    pub status: Option<Vec<u16>>,
    /// Headers of the HTTP request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A regular expression that the HTTP answer's body must match.
    pub body: Option<String>,
    /// Between two attempts; 200 ms unless said.
    pub interval: Option<TimeSpan>,
    /// Of one attempt; 30 s unless said.
    pub timeout: Option<TimeSpan>,
    /// After so many attempts that fail the start has failed; no limit unless said.
    pub retries: Option<u32>,
}

/// `[[route]]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Host names; every host when left out.
    #[serde(default)]
    pub host: Vec<String>,
    /// Path prefix; `/` unless said.
    pub path: Option<String>,
    /// `"auto"`, the default: the proxy's automatic HTTPS; `"off"`: plain HTTP.
    #[serde(default)]
    pub tls: Tls,
}

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
    /// `"rolling"`, the default, `"blue-green"` or `"recreate"`.
    #[serde(default)]
    pub strategy: Strategy,
    /// How many new deployments start at a time; 1 unless said.
    pub max_surge: Option<u32>,
    /// How long requests in flight may take; 30 s unless said.
    pub drain_timeout: Option<TimeSpan>,
    /// How long a deployment may take to become healthy; 60 s unless said.
    pub health_timeout: Option<TimeSpan>,
    /// When `service restart` was last asked for, RFC 3339; another time is another generation.
    pub restarted_at: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// New deployments take over from old ones batch by batch.
    #[default]
    Rolling,
    /// All new ones start beside the old ones, then take over together.
    BlueGreen,
    /// The old ones stop before the new ones start: never do two generations run.
    Recreate,
}

/// `[hooks]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Before the process starts.
    pub pre_start: Hook,
    /// When it is healthy, before it takes traffic.
    pub post_start: Hook,
    /// When shutting down begins, before it leaves the balancer.
    pub pre_stop: Hook,
    /// When no request is in flight: waits for whatever else must end.
    pub drain: Vec<String>,
    /// When the processes are gone.
    pub post_stop: Hook,
    /// Of each hook that has none of its own; 30 s unless said.
    pub timeout: Option<TimeSpan>,
}

/// A command, empty for none, or a table that has it with a time limit of its own.
#[derive(Debug, Default)]
pub struct Hook {
    pub command: Vec<String>,
    pub timeout: Option<TimeSpan>,
}

/// `[commands.NAME]`
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RunCommand {
    /// For people.
    pub description: Option<String>,
    /// The program and its first arguments.
    pub exec: Vec<String>,
    /// In a deployment's context or in the service's.
    #[serde(default)]
    pub scope: CommandScope,
}

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
    /// Its declaration's directory, relative to this one's.
    pub dir: String,
    /// Variables for its templates.
    #[serde(default)]
    pub vars: BTreeMap<String, Scalar>,
    /// Its name, if it is not the directory's.
    pub name: Option<String>,
}

/// `[install]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Units that start the service; `multi-user.target` unless said, a user's manager's `default.target`.
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

/// A directive's value, or several lines of it.
#[derive(Debug)]
pub enum OneOrMany {
    One(Scalar),
    Many(Vec<Scalar>),
}

/// A string, number or boolean, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar(pub String);

/// A time span as systemd.time(7) writes it (`"1min 30s"`); a bare number counts seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeSpan(pub String);

/// Keys of the interface that are to come, so that nobody is told that they do not exist.
pub const LATER: &[&str] = &["route.keepalive", "route.headers", "route.timeouts", "route.snippet"];

struct ScalarVisitor(&'static str);

impl Visitor<'_> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor("a string, a number, true or false")).map(Self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Span;
        impl Visitor<'_> for Span {
            type Value = TimeSpan;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a time span like \"30s\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<TimeSpan, E> {
                Ok(TimeSpan(value.to_string()))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<TimeSpan, E> {
                Ok(TimeSpan(value.to_owned()))
            }
        }
        deserializer.deserialize_any(Span)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a string, a number, true, false, or an array of them")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<OneOrMany, E> {
                ScalarVisitor("").visit_bool(value).map(|text| OneOrMany::One(Scalar(text)))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<OneOrMany, E> {
                ScalarVisitor("").visit_i64(value).map(|text| OneOrMany::One(Scalar(text)))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<OneOrMany, E> {
                ScalarVisitor("").visit_f64(value).map(|text| OneOrMany::One(Scalar(text)))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(Scalar(value.to_owned())))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = items.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany::Many(values))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Timed {
            command: Vec<String>,
            timeout: Option<TimeSpan>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Hook;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an array")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, words: A) -> Result<Hook, A::Error> {
                let command = Vec::deserialize(de::value::SeqAccessDeserializer::new(words))?;
                Ok(Hook { command, timeout: None })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, keys: A) -> Result<Hook, A::Error> {
                let Timed { command, timeout } = Timed::deserialize(de::value::MapAccessDeserializer::new(keys))?;
                Ok(Hook { command, timeout })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
