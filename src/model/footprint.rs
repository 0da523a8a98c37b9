//! The footprint of a service on its host: what may conflict with other services, and what the proxy routes to it.

use std::net::Ipv4Addr;

use camino::Utf8PathBuf;

use crate::model::listen::Port;
use crate::model::route::Route;
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
    /// Whether it runs a program; else the proxy alone answers for it.
    pub(crate) has_program: bool,
    /// Fixed upstreams of the proxy.
    pub(crate) slots: u32,
    /// Addresses at which it is reached without a reverse proxy.
    pub(crate) ports: Vec<Port>,
    /// The address at which other parts reach it.
    pub(crate) address: Option<Ipv4Addr>,
    /// Services that are declared and started before what is declared.
    pub(crate) dependencies: Vec<ServiceName>,
}

/// What two services of a host cannot both have, besides routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    Port(Port),
    /// The address of a part.
    Address(Ipv4Addr),
}

impl Footprint {
    /// Returns what a service takes.
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            name: service.name.clone(),
            group: service.group.as_ref().map(|group| group.name.clone()),
            source: service.source.clone(),
            routes: service.routes.clone(),
            has_program: !service.process.is_none(),
            slots: service.slots,
            ports: service.ports.clone(),
            address: service.address().map(|address| *address.ip()),
            dependencies: service.dependencies().iter().map(|dependency| dependency.name.clone()).collect(),
        }
    }

    /// Lists what no other service may have too.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> {
        let ports = self.ports.iter().cloned().map(Claim::Port);
        ports.chain(self.address.map(Claim::Address))
    }

    /// Returns the service that people declare: this one, or its group.
    pub(crate) fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().unwrap_or(&self.name)
    }
}
