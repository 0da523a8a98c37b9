//! The declared settings that only systemd has: directives that are passed through, `install.wanted_by`, and unit
//! drop-ins.

use serde::{Deserialize, Serialize};

/// The declared settings of a service that only systemd has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Systemd {
    /// Directives for section `[Unit]` of the deployments' service.
    pub(crate) unit: Vec<Directive>,
    /// Directives for section `[Service]` of the deployments' service.
    pub service: Vec<Directive>,
    /// Directives for section `[Socket]` of the deployments' socket.
    pub(crate) socket: Vec<Directive>,
    /// Directives for section `[Slice]` of the service's slice.
    pub(crate) slice: Vec<Directive>,
    /// Directives for section `[Slice]` of the group's slice, which those of its parts are in.
    pub(crate) group_slice: Vec<Directive>,
    /// Units whose start starts the service or, for a part, its group: `install.wanted_by`.
    pub(crate) wanted_by: Vec<String>,
    /// Drop-ins for the deployments' service, in the order in which systemd applies them.
    pub(crate) drop_ins: Vec<DropIn>,
}

impl Systemd {
    /// Returns whether a deployment that crashes too often fails for good: `StartLimitIntervalSec=`, systemd.unit(5).
    pub(crate) fn has_start_limit(&self) -> bool {
        let is_limit = |directive: &&Directive| directive.name == "StartLimitIntervalSec";
        self.unit.iter().rfind(is_limit).is_some_and(|directive| !matches!(directive.value.as_str(), "" | "0"))
    }

    /// Returns whether the deployments have a `RuntimeDirectory=`, which all of them share.
    pub(crate) fn has_runtime_directory(&self) -> bool {
        self.sets("RuntimeDirectory")
    }

    /// Returns whether the deployments have an `EnvironmentFile=`, which may set any variable.
    pub(crate) fn has_environment_file(&self) -> bool {
        self.sets("EnvironmentFile")
    }

    fn sets(&self, name: &str) -> bool {
        self.service.iter().any(|directive| directive.name == name && !directive.value.is_empty())
    }
}

/// One line of a unit, its value in systemd's own syntax, systemd.syntax(7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    pub name: String,
    pub value: String,
}

/// A unit drop-in, taken into the generation as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropIn {
    /// `50-limits.conf`
    pub(crate) name: String,
    pub(crate) content: String,
}
