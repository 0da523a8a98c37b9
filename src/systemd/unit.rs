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

/// The services that systemd has in memory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    services: BTreeMap<String, State>,
    pub(crate) deployments: BTreeMap<ServiceName, Vec<(Deployment, State)>>,
}

impl Listing {
    /// Returns the state of `NAME.service`; a unit that is not in memory is inactive.
    pub(crate) fn state(&self, name: &ServiceName) -> &str {
        self.services.get(&name.unit()).map_or("inactive", String::as_str)
    }

    /// Returns the deployments of a service, whatever their state.
    pub(crate) fn deployments(&self, name: &ServiceName) -> &[(Deployment, State)] {
        self.deployments.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn of(listed: Vec<Listed>) -> Self {
        let mut listing = Self::default();
        for Listed { unit, state } in listed {
            match Deployment::from_unit(&unit) {
                Some(one) => listing.deployments.entry(one.service.clone()).or_default().push((one, state)),
                None => drop(listing.services.insert(unit, state)),
            }
        }
        listing
    }
}
