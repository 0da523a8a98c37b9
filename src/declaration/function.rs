//! `function.toml` as people write it. Nothing here is checked beyond its type; `resolve` does that.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::declaration::{Container, Exec, Scalar, TimeSpan, Tls};
use crate::model::function::{Interface, Mode, Transport};

/// A whole `function.toml`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// For people, and whose aliases these are: a newer function of the same name takes them over.
    pub name: String,
    /// Where the reverse proxy sends requests here: `/path`, `host` or `host/path`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Of aliases with a host: `"auto"`, the default, is the proxy's automatic HTTPS.
    #[serde(default)]
    pub tls: Tls,
    /// `"cgi"`, the default, or `"http"`.
    #[serde(default)]
    pub interface: Interface,
    /// How an `http` program receives its requests: `"stdio"`, the default, or `"socket"`.
    #[serde(default)]
    pub listen: Transport,
    /// `"pooled"`, the default, or `"isolated"`.
    #[serde(default)]
    pub mode: Mode,
    /// `http` workers kept warm; none unless said.
    pub preload: Option<u32>,
    /// An `http` worker is replaced after so many requests; 1000 unless said.
    pub max_requests: Option<u32>,
    /// Requests at a time; 64 unless said, 8 of isolated containers.
    pub max_concurrency: Option<u32>,
    /// Requests that wait for their turn; 1024 unless said.
    pub max_queue: Option<u32>,
    /// Of a request; 30 s unless said.
    pub timeout: Option<TimeSpan>,
    /// Without a request for so long, no process stays; 5 min unless said.
    pub idle_timeout: Option<TimeSpan>,
    /// Segments of the path that belong to SCRIPT_NAME; none unless said.
    pub path_info_strip: Option<u32>,
    /// Whether its processes have the machine's network.
    #[serde(default)]
    pub network: bool,
    /// Files and directories beside the manifest that travel with it.
    #[serde(default)]
    pub files: Vec<String>,
    /// The program.
    pub exec: Option<Exec>,
    /// Or the image whose container it is.
    pub container: Option<Container>,
    /// Limits of all its processes: directives of its slice in snake case, systemd.resource-control(5).
    #[serde(default)]
    pub resources: BTreeMap<String, Scalar>,
}
