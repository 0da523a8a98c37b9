//! Ports that two services cannot both listen on.

use std::net::{IpAddr, SocketAddr};

use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::model::{Footprint, Port};
use crate::names::ServiceName;
use crate::path;

/// A port of a service that another has already.
pub(crate) struct PortConflict {
    pub(crate) owner: ServiceName,
    /// The owner's port.
    taken: String,
    /// The index of the port in the declaration that loses.
    index: usize,
}

/// Ports and the services that have them; no two of these overlap.
#[derive(Default)]
pub(crate) struct PortOwners(Vec<(Port, ServiceName)>);

impl PortOwners {
    /// Collects the ports of services.
    pub(crate) fn of(services: impl Iterator<Item = Footprint>) -> Self {
        let mut owners = Self::default();
        for Footprint { name, ports, .. } in services {
            ports.iter().for_each(|port| owners.give(port, &name));
        }
        owners
    }

    /// Gives a port to a service, and takes those that overlap it from others.
    pub(crate) fn give(&mut self, port: &Port, name: &ServiceName) {
        self.0.retain(|(taken, owner)| owner == name || !collide(taken, port));
        self.0.push((port.clone(), name.clone()));
    }

    /// Returns whether a service other than `name` has a port that overlaps this one.
    pub(crate) fn is_taken(&self, port: &Port, name: &ServiceName) -> bool {
        self.owner(port, name).is_some()
    }

    /// Finds the first port of a service that another has.
    pub(crate) fn conflict(&self, service: &Footprint) -> Option<PortConflict> {
        service.ports.iter().enumerate().find_map(|(index, port)| {
            let (taken, owner) = self.owner(port, &service.name)?;
            Some(PortConflict { owner: owner.clone(), taken: taken.listen.clone(), index })
        })
    }

    fn owner(&self, port: &Port, name: &ServiceName) -> Option<&(Port, ServiceName)> {
        self.0.iter().find(|(taken, owner)| owner != name && collide(taken, port))
    }
}

impl PortConflict {
    /// Returns the error of the service that loses, at the port in its document.
    pub(crate) fn error(&self, document: &Node) -> Diagnostic {
        let message = format!("the service {} already listens on {}", self.owner, self.taken);
        let remedy = "write another address, or remove it from the other service";
        document.error(&path!["port", self.index, "listen"], message, remedy)
    }
}

/// Returns whether two ports cannot both be bound: TCP and UDP have numbers of their own.
fn collide(one: &Port, other: &Port) -> bool {
    one.protocol == other.protocol && overlap(&one.listen, &other.listen)
}

/// Returns whether two addresses of `ListenStream=`, systemd.socket(5), cannot both be bound: a port without an address
/// is one of all addresses, ip(7) and ipv6(7).
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    match (address(one), address(other)) {
        (Some((one, port)), Some((other, same))) => port == same && includes(one, other),
        _ => one == other,
    }
}

fn includes(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    let includes = |all: IpAddr, it: IpAddr| all.is_unspecified() && (all.is_ipv6() || it.is_ipv4());
    one == other || includes(one, other) || includes(other, one)
}

/// Reads an address with a port; None is every address.
fn address(listen: &str) -> Option<(Option<IpAddr>, u16)> {
    let port = listen.parse().map(|port| (None, port)).ok();
    port.or_else(|| listen.parse().map(|address: SocketAddr| (Some(address.ip()), address.port())).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_include_addresses() {
        let overlapping = [
            ("5432", "5432"),
            ("5432", "0.0.0.0:5432"),
            ("5432", "127.0.0.1:5432"),
            ("5432", "[::1]:5432"),
            ("[::]:5432", "127.0.0.1:5432"),
            ("[::]:5432", "0.0.0.0:5432"),
            ("0.0.0.0:5432", "127.0.0.1:5432"),
            ("[::1]:5432", "[0:0::1]:5432"),
            ("/run/db.sock", "/run/db.sock"),
            ("vsock:2:5432", "vsock:2:5432"),
        ];
        let apart = [
            ("5432", "5433"),
            ("127.0.0.1:5432", "127.0.0.2:5432"),
            ("0.0.0.0:5432", "[::1]:5432"),
            ("127.0.0.1:5432", "[::1]:5432"),
            ("5432", "vsock:2:5432"),
            ("/run/db.sock", "/run/web.sock"),
        ];
        for ((one, other), expected) in overlapping.map(|it| (it, true)).into_iter().chain(apart.map(|it| (it, false)))
        {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} and {other}");
        }
    }
}
