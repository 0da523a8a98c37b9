//! `conductor.toml`: the defaults of a host's services.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::declaration::{Deploy, Install, Scalar, Systemd, TimeSpan};

/// The file `conductor.toml`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    #[expect(dead_code, reason = "reading it into this type is what checks it; services take it as a document")]
    pub(crate) service: Defaults,
    #[serde(default)]
    pub(crate) proxy: Proxy,
    #[serde(default)]
    pub(crate) functions: Functions,
}

/// `[proxy]`: the host's reverse proxy.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Proxy {
    pub(crate) driver: Option<ProxyDriver>,
    pub(crate) trusted_proxies: Vec<String>,
}

/// The reverse proxy that serves routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProxyDriver {
    Caddy,
    Nginx,
    Haproxy,
    None,
}

impl ProxyDriver {
    /// Reads a driver's name.
    #[cfg(feature = "cli")]
    pub(crate) fn named(name: &str) -> Option<Self> {
        let known = [("caddy", Self::Caddy), ("nginx", Self::Nginx), ("haproxy", Self::Haproxy), ("none", Self::None)];
        known.into_iter().find(|(known, _)| *known == name).map(|(_, driver)| driver)
    }
}

/// `[functions]`: what holds for all functions of a host.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Functions {
    pub(crate) address: Option<bool>,
}

/// `[service]`: of `service.toml`, what makes sense for all services.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Defaults {
    pub(crate) slots: Option<u32>,
    pub(crate) config: BTreeMap<String, Scalar>,
    pub(crate) deploy: Deploy,
    pub(crate) hooks: HookDefaults,
    pub(crate) resources: BTreeMap<String, Scalar>,
    pub(crate) install: Install,
    pub(crate) systemd: Systemd,
}

/// `[service.hooks]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HookDefaults {
    pub(crate) timeout: Option<TimeSpan>,
}
