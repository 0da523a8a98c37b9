//! Units as the manager lists them.

use std::collections::BTreeMap;

use crate::names::{Deployment, ServiceName};

/// The state of a unit, `ActiveState=`.
pub(crate) type State = String;

/// A unit as the manager lists it.
pub(crate) struct Listed {
    pub(crate) unit: String,
    pub(crate) state: State,
}

/// Returns whether a unit has a job, by the property `Job`.
pub(crate) fn has_job(job: &str) -> bool {
    !matches!(job, "" | "0")
}

/// Tells whether a unit is neither inactive nor failed.
pub(super) fn is_up(state: &str) -> bool {
    !matches!(state, "inactive" | "failed")
}

/// The services that systemd has in memory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// All units that are not deployments.
    others: BTreeMap<String, State>,
    pub(crate) deployments: BTreeMap<ServiceName, Vec<(Deployment, State)>>,
}

impl Listing {
    /// Returns the state of `NAME.service`; a unit that is not in memory is inactive.
    pub(crate) fn state(&self, name: &ServiceName) -> &str {
        self.others.get(&name.unit()).map_or("inactive", String::as_str)
    }

    /// Returns the deployments of a service, whatever their state.
    pub(crate) fn deployments(&self, name: &ServiceName) -> &[(Deployment, State)] {
        self.deployments.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns whether a deployment's unit is active: not failed, stopping or about to be restarted.
    pub(crate) fn is_active(&self, deployment: &Deployment) -> bool {
        self.deployments(&deployment.service).iter().any(|(there, state)| there == deployment && state == "active")
    }

    /// Returns the sockets of a service's ports that are open.
    pub(crate) fn open_ports(&self, name: &ServiceName) -> Vec<String> {
        let patterns = name.port_patterns();
        let is_port = |unit: &str| patterns.iter().any(|pattern| unit.starts_with(pattern.trim_end_matches('*')));
        let is_open = |(unit, state): &(&String, &State)| unit.ends_with(".socket") && is_up(state) && is_port(unit);
        self.others.iter().filter(is_open).map(|(unit, _)| unit.clone()).collect()
    }

    /// Returns the units of a service's jobs that are in memory, whatever their state: timers and what they start.
    pub(crate) fn jobs(&self, name: &ServiceName) -> Vec<String> {
        let prefix = name.job("");
        self.others.keys().filter(|unit| unit.starts_with(&prefix)).cloned().collect()
    }

    /// Returns the units of a service's canaries that are in memory, whatever their state: timers and what they start.
    pub(crate) fn canaries(&self, name: &ServiceName) -> Vec<String> {
        let pattern = name.canary_pattern();
        let prefix = pattern.trim_end_matches('*');
        self.others.keys().filter(|unit| unit.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn of(listed: Vec<Listed>) -> Self {
        let mut listing = Self::default();
        for Listed { unit, state } in listed {
            match Deployment::from_unit(&unit) {
                Some(one) => listing.deployments.entry(one.service.clone()).or_default().push((one, state)),
                None => drop(listing.others.insert(unit, state)),
            }
        }
        listing
    }
}
