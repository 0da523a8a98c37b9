//! `conductor.toml`: what holds for each service of a host that does not say otherwise.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::declaration::{Deploy, Install, Scalar, Systemd, TimeSpan};

/// A whole `conductor.toml`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Keys of `service.toml`, under those of each service. A part of a service is one of its own.
    #[serde(default)]
    pub service: Defaults,
}

/// `[service]`: of `service.toml`, what makes sense for all services.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// How many fixed upstreams the proxy knows of a service.
    pub slots: Option<u32>,
    /// Variables of all services.
    pub config: BTreeMap<String, Scalar>,
    /// How one generation replaces another.
    pub deploy: Deploy,
    /// How long hooks may take.
    pub hooks: HookDefaults,
    /// Limits of each service: directives of its slice in snake case, systemd.resource-control(5).
    pub resources: BTreeMap<String, Scalar>,
    /// What starts services at boot.
    pub install: Install,
    /// Directives that are passed through.
    pub systemd: Systemd,
}

/// `[service.hooks]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HookDefaults {
    /// Of each hook that has none of its own.
    pub timeout: Option<TimeSpan>,
}
