//! `function.toml` as people write it. `resolve` checks what a type cannot hold; `key` describes each key.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::declaration::{Container, Exec, OneOrMany, Scalar, TimeSpan, Tls};

/// The file `function.toml`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) address: bool,
    #[serde(default)]
    pub(crate) remote_user: RemoteUser,
    #[serde(default)]
    pub(crate) tls: Tls,
    #[serde(default)]
    pub(crate) interface: Interface,
    #[serde(default)]
    pub(crate) listen: Transport,
    #[serde(default)]
    pub(crate) mode: Mode,
    pub(crate) preload: Option<u32>,
    pub(crate) max_requests: Option<u32>,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) max_queue: Option<u32>,
    pub(crate) queue_timeout: Option<TimeSpan>,
    pub(crate) max_body: Option<String>,
    pub(crate) timeout: Option<TimeSpan>,
    pub(crate) idle_timeout: Option<TimeSpan>,
    pub(crate) path_info_strip: Option<u32>,
    #[serde(default)]
    pub(crate) network: bool,
    #[serde(default)]
    #[expect(dead_code, reason = "its files are gathered before the manifest is resolved")]
    pub(crate) files: Vec<String>,
    pub(crate) directory: Option<String>,
    #[serde(default)]
    pub(crate) interpreter: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) index: Vec<String>,
    #[serde(default, rename = "static")]
    pub(crate) static_files: BTreeMap<String, String>,
    pub(crate) state: Option<String>,
    pub(crate) cache: Option<String>,
    pub(crate) logs: Option<String>,
    #[serde(default)]
    pub(crate) read_write: Vec<String>,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    pub(crate) exec: Option<Exec>,
    pub(crate) container: Option<Container>,
    #[serde(default)]
    pub(crate) resources: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(crate) systemd: FunctionSystemd,
}

fn yes() -> bool {
    true
}

/// `[systemd]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FunctionSystemd {
    pub(crate) service: BTreeMap<String, OneOrMany>,
}

/// Whether a function's requests name a user whom the proxy has authenticated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum RemoteUser {
    /// A request that names one is refused.
    #[default]
    None,
    /// A request may name one.
    Optional,
    /// A request that names none is refused.
    Required,
}

/// The protocol that the gateway speaks with a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Interface {
    /// CGI, RFC 3875: a process for each request.
    #[default]
    Cgi,
    /// HTTP/1.1, by one of the transports.
    Http,
}

/// The way in which an `http` program receives its requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Requests on stdin, one after the other; answers on stdout.
    #[default]
    Stdio,
    /// On connections that it accepts from file descriptor 3, sd_listen_fds(3), many at a time.
    Socket,
}

/// The isolation of a function's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// One unit for all requests, started by the first.
    #[default]
    Pooled,
    /// One unit for each request.
    Isolated,
}

impl fmt::Display for Interface {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if *self == Self::Cgi { "cgi" } else { "http" })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if *self == Self::Pooled { "pooled" } else { "isolated" })
    }
}
