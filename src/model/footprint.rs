//! The footprint of a service on its host: what may conflict with other services, and what the proxy routes to it.

use camino::Utf8PathBuf;

use crate::model::listen::{Port, Route};
use crate::model::service::Service;
use crate::names::ServiceName;

/// What of a service concerns the others of its host. It is small: a host's services are held against each other
/// without all that is in their models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    pub name: ServiceName,
    /// The service that it is a part of.
    pub(crate) group: Option<ServiceName>,
    /// The `service.toml` that it comes from.
    pub(crate) source: Utf8PathBuf,
    pub(crate) routes: Vec<Route>,
    /// Fixed upstreams of the proxy.
    pub(crate) slots: u32,
    /// Addresses at which it is reached without a reverse proxy.
    pub(crate) ports: Vec<Port>,
    /// Services that are declared and started before what is declared.
    pub(crate) dependencies: Vec<ServiceName>,
}

impl Footprint {
    /// Returns what a service takes.
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            group: service.group.as_ref().map(|group| group.name.clone()),
            source: service.source.clone(),
            routes: service.routes.clone(),
            slots: service.slots,
            ports: service.ports.clone(),
            dependencies: service.dependencies().iter().map(|dependency| dependency.name.clone()).collect(),
        }
    }

    /// Returns the service that people declare: this one, or its group.
    pub(crate) fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().unwrap_or(&self.name)
    }
}
