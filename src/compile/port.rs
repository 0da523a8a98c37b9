//! Ports that two services cannot both listen on, and addresses that two parts cannot both have.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::model::{Claim, Footprint};
use crate::names::ServiceName;
use crate::path;

/// A port of a service that another has already.
pub(crate) struct PortConflict {
    pub(crate) owner: ServiceName,
    /// The owner's.
    taken: Claim,
    /// The index of the port among the claims of the declaration that loses.
    index: usize,
}

/// Ports and the services that have them; no two of these overlap.
#[derive(Default)]
pub(crate) struct PortOwners(Vec<(Claim, ServiceName)>);

impl PortOwners {
    /// Collects the ports of services.
    pub(crate) fn of(services: impl Iterator<Item = Footprint>) -> Self {
        let mut owners = Self::default();
        for service in services {
            service.claims().for_each(|claim| owners.give(&claim, &service.name));
        }
        owners
    }

    /// Gives a port to a service, and takes those that overlap it from others.
    pub(crate) fn give(&mut self, port: &Claim, name: &ServiceName) {
        self.0.retain(|(taken, owner)| owner == name || !collide(taken, port));
        self.0.push((port.clone(), name.clone()));
    }

    /// Returns whether a service other than `name` has a port that overlaps this one.
    pub(crate) fn is_taken(&self, port: &Claim, name: &ServiceName) -> bool {
        self.owner(port, name).is_some()
    }

    /// Finds the first port of a service that another has.
    pub(crate) fn conflict(&self, service: &Footprint) -> Option<PortConflict> {
        service.claims().enumerate().find_map(|(index, port)| {
            let (taken, owner) = self.owner(&port, &service.name)?;
            Some(PortConflict { owner: owner.clone(), taken: taken.clone(), index })
        })
    }

    fn owner(&self, port: &Claim, name: &ServiceName) -> Option<&(Claim, ServiceName)> {
        self.0.iter().find(|(taken, owner)| owner != name && collide(taken, port))
    }
}

impl PortConflict {
    /// Returns whether it is the address of a part that another has.
    pub(crate) fn is_of_address(&self) -> bool {
        matches!(self.taken, Claim::Address(_))
    }

    /// Returns the error of the service that loses, at the port in its document.
    pub(crate) fn error(&self, document: &Node) -> Diagnostic {
        let owner = &self.owner;
        match &self.taken {
            Claim::Port(taken) => {
                let message = format!("the service {owner} already listens on {}", taken.listen);
                let remedy = "write another address, or remove it from the other service";
                document.error(&path!["port", self.index, "listen"], message, remedy)
            }
            Claim::Address(taken) => {
                let [first, second, block, last] = taken.octets();
                let other = Ipv4Addr::new(first, second, block, last.wrapping_add(1));
                let message = format!("the part {owner} already has the address {taken}");
                let remedy = format!("give one of the two another: address = \"{other}\"");
                document.error(&path![], message, remedy)
            }
        }
    }
}

/// Returns whether two services cannot both have these: of ports, TCP and UDP have numbers of their own; addresses of parts
/// are in a network namespace without ports of the host.
fn collide(one: &Claim, other: &Claim) -> bool {
    match (one, other) {
        (Claim::Port(one), Claim::Port(other)) => one.protocol == other.protocol && overlap(&one.listen, &other.listen),
        (Claim::Address(one), Claim::Address(other)) => one == other,
        (Claim::Port(_), Claim::Address(_)) | (Claim::Address(_), Claim::Port(_)) => false,
    }
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
