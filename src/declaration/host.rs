//! `conductor.toml`: what holds for each service of a host that does not say otherwise.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::declaration::{Deploy, Install, Scalar, Systemd, TimeSpan};

/// A whole `conductor.toml`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub service: Defaults,
}

/// `[service]`: of `service.toml`, what makes sense for all services.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    pub slots: Option<u32>,
    pub config: BTreeMap<String, Scalar>,
    pub deploy: Deploy,
    pub hooks: HookDefaults,
    pub resources: BTreeMap<String, Scalar>,
    pub install: Install,
    pub systemd: Systemd,
}

/// `[service.hooks]`
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct HookDefaults {
    pub timeout: Option<TimeSpan>,
}
