//! A function as it will be, and the digest that is its name.

use std::fmt;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::alias::Alias;
use crate::model::{Directive, File, Process, Tls};
use crate::names::{FunctionId, hex};

/// The protocol that the gateway speaks with a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// CGI, RFC 3875: a process for each request.
    #[default]
    Cgi,
    /// HTTP/1.1, by one of the transports.
    Http,
}

/// How an `http` program receives its requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// From stdin, one after the other; it answers on stdout.
    #[default]
    Stdio,
    /// On connections that it accepts from file descriptor 3, sd_listen_fds(3), many at a time.
    Socket,
}

/// How many units serve a function's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
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

/// Everything that is known of a function: what its ID is the digest of. A field that is added later must be left out
/// of the canonical form while it has its default, or every function would get another ID.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub name: String,
    pub aliases: Vec<Alias>,
    pub tls: Tls,
    pub interface: Interface,
    pub listen: Transport,
    pub mode: Mode,
    pub preload: u32,
    pub max_requests: u32,
    pub max_concurrency: u32,
    pub max_queue: u32,
    pub timeout: Duration,
    pub idle_timeout: Duration,
    pub path_info_strip: u32,
    pub network: bool,
    pub process: Process,
    /// Directives of the function's slice.
    pub resources: Vec<Directive>,
    /// What travels with the manifest, by path.
    pub files: Vec<File>,
}

impl Function {
    /// The digest of the canonical form: JSON with fields in the order of the type and sorted maps.
    pub fn id(&self) -> FunctionId {
        let mut hasher = Sha256::new();
        hasher.update("conductor function\n");
        hasher.update(serde_json::to_vec(self).expect("a model serializes"));
        FunctionId::of_digest(hex(&hasher.finalize()))
    }
}

/// A function that compiled.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub id: FunctionId,
    pub function: Function,
    /// Where its files are, as the units name it.
    pub dir: Utf8PathBuf,
}
