//! `[[route]]`

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{Texts, TimeSpan};

/// `[[route]]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Route {
    pub(crate) host: Vec<String>,
    pub(crate) path: Texts,
    pub(crate) exact: bool,
    pub(crate) suffix: Texts,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) tls: Tls,
    pub(crate) certificate: Option<String>,
    pub(crate) certificate_key: Option<String>,
    pub(crate) client_ca: Option<String>,
    pub(crate) listener: Option<String>,
    pub(crate) redirect: Option<String>,
    pub(crate) respond: Option<String>,
    pub(crate) status: Option<u16>,
    #[serde(rename = "static")]
    pub(crate) files: Option<String>,
    pub(crate) fallback: Option<String>,
    pub(crate) clients: Vec<String>,
    pub(crate) strip_prefix: bool,
    pub(crate) set_request_headers: BTreeMap<String, String>,
    pub(crate) add_request_headers: BTreeMap<String, String>,
    pub(crate) remove_request_headers: Vec<String>,
    pub(crate) set_response_headers: BTreeMap<String, String>,
    pub(crate) add_response_headers: BTreeMap<String, String>,
    pub(crate) remove_response_headers: Vec<String>,
    pub(crate) max_body: Option<String>,
    pub(crate) read_timeout: Option<TimeSpan>,
    pub(crate) write_timeout: Option<TimeSpan>,
    pub(crate) affinity: Option<Affinity>,
    pub(crate) compress: bool,
    pub(crate) basic_auth: Option<String>,
    pub(crate) forward_auth: Option<String>,
    pub(crate) forward_auth_headers: Vec<String>,
    pub(crate) access_log: bool,
    pub(crate) error_pages: BTreeMap<String, String>,
    pub(crate) keepalive: bool,
    pub(crate) snippet: BTreeMap<String, String>,
}

impl Route {
    /// Returns whether the proxy answers without a listener of the service.
    pub(crate) fn is_answered_by_proxy(&self) -> bool {
        let has_own = self.redirect.is_some() || self.respond.is_some() || self.files.is_some();
        has_own && self.listener.is_none()
    }
}

/// By what the requests of one client are led to one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Affinity {
    Cookie,
    Source,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AppProtocol {
    #[default]
    Http,
    H2c,
    FastCgi,
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
