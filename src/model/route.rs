//! Routes: which requests the reverse proxy takes for a service, and how it answers them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::declaration::Affinity;
use crate::names::ListenerName;

/// What the proxy does with the requests of one host that a route matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// None: every host.
    pub(crate) host: Option<String>,
    #[serde(rename = "tls")]
    pub(crate) security: Security,
    #[serde(flatten)]
    pub(crate) matching: Matching,
    #[serde(default, skip_serializing_if = "Answer::is_plain")]
    pub(crate) answer: Answer,
    #[serde(default, skip_serializing_if = "Handling::is_plain")]
    pub(crate) handling: Handling,
}

/// How a host is served; all routes of a host agree on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// Plain HTTP.
    Off,
    /// HTTPS with a certificate that the proxy gets by itself, by ACME (RFC 8555). Callers by plain HTTP are redirected.
    Auto,
    /// HTTPS as with `Auto`, with files.
    With {
        /// None: as with `Auto`.
        certificate: Option<Certificate>,
        /// The authorities that sign the certificates which clients must show, in PEM; None: clients need none.
        client_ca: Option<Utf8PathBuf>,
    },
}

/// A certificate with its chain, and its private key: files in PEM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Certificate {
    pub(crate) chain: Utf8PathBuf,
    pub(crate) key: Utf8PathBuf,
}

/// The requests of a host that a route is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Matching {
    /// A path prefix, on path boundaries; `/` is everything.
    pub(crate) path: String,
    /// Whether only the path itself matches, and nothing below it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) exact: bool,
    /// Ends of paths, one of which the request's must have; empty: any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) suffixes: BTreeSet<String>,
    /// Methods, in capitals; empty: all.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) methods: BTreeSet<String>,
    /// Fields of the request with their values, all of which it must have. Names are in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
}

/// What answers the requests of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// A listener of the service; None is that of `[listen]` itself.
    Service { listener: Option<ListenerName>, protocol: AppProtocol },
    /// Another address, a `Text`.
    Redirect { to: String, status: u16 },
    /// A `Text` of the proxy's.
    Respond { body: String, status: u16 },
    /// Files alone.
    Files,
}

/// What a listener speaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AppProtocol {
    Http,
    /// HTTP/2 without TLS, as gRPC speaks it (RFC 9113, section 3.3).
    H2c,
    /// FastCGI; programs and files are below this directory.
    FastCgi {
        root: Utf8PathBuf,
    },
}

/// What the proxy does with requests and answers on their way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Handling {
    /// Whether the route's path is taken off the request's.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) strip_prefix: bool,
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub(crate) request_headers: HeaderChanges,
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub(crate) response_headers: HeaderChanges,
    /// The largest body of a request in bytes; None: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_body: Option<u64>,
    #[serde(skip_serializing_if = "Timeouts::is_empty")]
    pub(crate) timeouts: Timeouts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) affinity: Option<Affinity>,
    /// Whether answers are compressed for clients that accept it.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) compress: bool,
    /// The directory whose files are served before the route's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Utf8PathBuf>,
    /// The path below that directory of the file that is served for what is no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallback: Option<String>,
    /// Addresses and networks of the clients that are served; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) clients: Vec<String>,
    /// A file with a line `USER:HASH` for each user, htpasswd(1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) basic_auth: Option<Utf8PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forward_auth: Option<ForwardAuth>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) access_log: bool,
    /// Files that replace the bodies of answers, by status: of those of the service, and of the proxy's own when the service
    /// does not answer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) error_pages: BTreeMap<u16, Utf8PathBuf>,
    /// Whether the proxy keeps connections to deployments open for further requests.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) keepalive: bool,
    /// Lines for the proxies' own configuration, by driver.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) snippets: BTreeMap<String, String>,
}

/// Changes of the fields of a message, in this order: removed, set, added. Values are `Text`s.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeaderChanges {
    pub(crate) remove: Vec<String>,
    pub(crate) set: BTreeMap<String, String>,
    pub(crate) add: BTreeMap<String, String>,
}

/// Time limits of the proxy; None: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timeouts {
    /// Between two reads of an answer from the deployment.
    pub(crate) read: Option<Duration>,
    /// Between two writes of a request to the deployment.
    pub(crate) write: Option<Duration>,
}

/// A server that is asked about each request: it passes if the answer's status is 2xx, and else that is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForwardAuth {
    /// `HOST:PORT`, or `unix/PATH`.
    pub(crate) server: String,
    /// The path that is asked for.
    pub(crate) path: String,
    /// Fields of its answer that the request is given.
    pub(crate) copied: Vec<String>,
}

impl Default for Answer {
    fn default() -> Self {
        Self::Service { listener: None, protocol: AppProtocol::Http }
    }
}

impl Answer {
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Route {
    /// Returns whether the proxy may use one connection to a deployment for several requests.
    pub(crate) fn keeps_connections(&self) -> bool {
        let is_h2c = matches!(self.answer, Answer::Service { protocol: AppProtocol::H2c, .. });
        self.handling.keepalive || is_h2c
    }
}

impl Handling {
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl HeaderChanges {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Timeouts {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Matching {
    /// Returns what matches all requests below a path.
    pub(crate) fn below(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            exact: false,
            suffixes: BTreeSet::new(),
            methods: BTreeSet::new(),
            headers: BTreeMap::new(),
        }
    }

    /// Returns this without regard to the case of the path, as proxies may compare paths.
    pub(crate) fn without_case(&self) -> Self {
        let suffixes = self.suffixes.iter().map(|suffix| suffix.to_ascii_lowercase()).collect();
        Self { path: self.path.to_ascii_lowercase(), suffixes, ..self.clone() }
    }

    /// Returns whether a location, a prefix of the path or a path, alone decides.
    pub(crate) fn is_by_path(&self) -> bool {
        self.suffixes.is_empty() && self.methods.is_empty() && self.headers.is_empty()
    }

    /// Returns whether every request matches.
    pub(crate) fn is_everything(&self) -> bool {
        self.path == "/" && !self.exact && self.is_by_path()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
