//! What routes claim of a host, and where the claims of two services exclude each other.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::model::alias::Alias;
use crate::model::route::{Matching, Route, Security};
use crate::model::{Footprint, Tls};
use crate::names::ServiceName;
use crate::resolve::route;

/// The requests of a host that a route claims. Paths are compared without regard to case, as proxies may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    host: Option<String>,
    matching: Matching,
    security: Security,
}

impl Claim {
    /// Returns what a route claims.
    pub(crate) fn of(route: &Route) -> Self {
        let matching = route.matching.without_case();
        Self { host: route.host.clone(), matching, security: route.security.clone() }
    }

    /// Returns whether both cannot be served: the same requests of a host, or one host with and without TLS.
    fn excludes(&self, other: &Self) -> bool {
        self.host == other.host && (self.matching == other.matching || self.security != other.security)
    }
}

/// A route that another service has already, or whose host another service serves with another `tls` setting.
pub(crate) struct RouteConflict {
    pub(crate) owner: ServiceName,
    /// What the owner has.
    taken: Claim,
    /// What is claimed beside it.
    claim: Claim,
}

impl RouteConflict {
    /// Finds the owners of claims that exclude a route.
    pub(crate) fn all(owners: &BTreeMap<Claim, ServiceName>, route: &Route) -> Vec<Self> {
        let claim = Claim::of(route);
        let first = Claim { matching: Matching::below(""), ..claim.clone() };
        let of_host = owners.range(first..).take_while(|(other, _)| other.host == claim.host);
        let taken = of_host.filter(|(other, _)| claim.excludes(other));
        taken.map(|(taken, owner)| Self { owner: owner.clone(), taken: taken.clone(), claim: claim.clone() }).collect()
    }

    /// Finds the first conflict of a service's routes with those of others.
    pub(crate) fn between(service: &Footprint, others: impl Iterator<Item = Footprint>) -> Option<Self> {
        let mut owners = BTreeMap::new();
        for other in others.filter(|other| other.name != service.name) {
            owners.extend(other.routes.iter().map(|route| (Claim::of(route), other.name.clone())));
        }
        service.routes.iter().find_map(|route| Self::all(&owners, route).into_iter().next())
    }

    /// Finds the service whose routes exclude a function's alias, and the index of that route.
    pub(crate) fn of_alias<'a>(
        alias: &Alias,
        tls: Tls,
        mut services: impl Iterator<Item = (&'a ServiceName, &'a [Route])>,
    ) -> Option<(ServiceName, usize)> {
        let is_plain = alias.host.is_none() || tls == Tls::Off;
        let matching = Matching::below(alias.path.as_str()).without_case();
        let excludes = |route: &Route| {
            let claim = Claim::of(route);
            // With HTTPS, the service says by which certificate.
            claim.host == alias.host && (claim.matching == matching || is_plain != (claim.security == Security::Off))
        };
        services.find_map(|(service, routes)| Some((service.clone(), routes.iter().position(excludes)?)))
    }

    /// Returns whether both claim the same requests, and not one host with two certificates.
    fn is_about_requests(&self) -> bool {
        self.taken.matching == self.claim.matching
    }

    /// Returns whether routes, with which one of both services runs, have what the conflict is about: the path of a host, or
    /// how the host is served.
    fn is_settled_by(&self, claim: &Claim, routes: &[Route]) -> bool {
        routes.iter().map(Claim::of).any(|route| {
            let is_same = if self.is_about_requests() {
                route.matching == claim.matching
            } else {
                route.security == claim.security
            };
            route.host == claim.host && is_same
        })
    }

    /// Returns whether the service that claims runs with what the conflict is about, and the owner does not.
    pub(crate) fn is_won(&self, mine: &[Route], of_owner: &[Route]) -> bool {
        self.is_settled_by(&self.claim, mine) && !self.is_settled_by(&self.taken, of_owner)
    }

    /// Returns what is wrong with a service that runs, is not declared and claims what the owner has.
    pub(crate) fn lost(&self, service: &Footprint) -> Diagnostic {
        let Self { owner, taken, .. } = self;
        let (name, host) = (&service.name, taken.host.as_deref().unwrap_or("every host"));
        let path = &taken.matching.path;
        let message =
            format!("{name} runs and is no longer declared: {host}, path {path}, leads to the service {owner} now");
        let remedy =
            format!("`conductor daemon-reload` stops {name}; or declare it again, and {owner} with another route");
        Diagnostic::of_file(&service.source, message, remedy)
    }

    /// Returns the error of the service that loses, at the route in its document.
    pub(crate) fn error(&self, document: &Node, loser: &Footprint, winner: &ServiceName) -> Diagnostic {
        let mine = if loser.name == self.owner { &self.taken } else { &self.claim };
        let number = loser.routes.iter().position(|route| Claim::of(route) == *mine).expect("the loser claims it");
        let at = route::section(document, number);
        let Route { host, matching, .. } = &loser.routes[number];
        let path = &matching.path;
        let host = host.as_deref().unwrap_or("every host");
        if self.is_about_requests() {
            let message = format!("{host}, path {path}, is already routed to the service {winner}");
            let remedy = "give the route another host or path, or remove it from the other service";
            document.key_error(&at, message, remedy)
        } else {
            let message = format!("the service {winner} uses a different `tls` setting for {host}");
            document.key_error(&at, message, "write the same tls for all routes of a host")
        }
    }
}
