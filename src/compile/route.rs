//! Routes that two services cannot both have, and which of the two keeps them.

use std::collections::BTreeMap;

use crate::compile::host::Host;
use crate::document::Node;
use crate::layout::Layout;
use crate::live::Live;
use crate::model::{Footprint, Route, Service};
use crate::names::ServiceName;
use crate::proxy::claim::{Claim, RouteConflict};
use crate::source::search;

/// The routes of a host's services by their owners, while services are held against each other one by one.
pub(super) struct RouteOwners<'a> {
    layout: &'a Layout,
    live: &'a BTreeMap<ServiceName, Live>,
    owners: BTreeMap<Claim, ServiceName>,
}

impl<'a> RouteOwners<'a> {
    /// Begins with the services that run although they have errors: they keep their routes.
    pub(super) fn new(
        layout: &'a Layout,
        live: &'a BTreeMap<ServiceName, Live>,
        broken: impl Iterator<Item = &'a ServiceName>,
    ) -> Self {
        let mut routes = Self { layout, live, owners: BTreeMap::new() };
        for name in broken {
            let of_it = routes.live_routes(name);
            routes.give(&of_it, name);
        }
        routes
    }

    /// Gives a service its routes, or removes from the host it or those that have them: the one that has a route already
    /// keeps it, else the first by name.
    pub(super) fn settle(&mut self, host: &mut Host<Footprint>, name: &ServiceName) {
        let Some(routes) = host.services.get(name).map(|footprint| footprint.routes.clone()) else { return };
        match self.contest(name, &routes) {
            Ok(won) => {
                for conflict in won {
                    let loser = conflict.owner.clone();
                    self.remove(host, &loser, &conflict, name);
                }
                self.give(&routes, name);
            }
            Err(lost) => self.remove(host, name, &lost, &lost.owner),
        }
    }

    /// Finds the conflicts of a service with others; an error is one that it loses. Each is examined: a service may win one
    /// route and lose another to the same owner.
    fn contest(&self, name: &ServiceName, routes: &[Route]) -> Result<Vec<RouteConflict>, Box<RouteConflict>> {
        let mut won: Vec<RouteConflict> = Vec::new();
        for conflict in routes.iter().flat_map(|route| RouteConflict::all(&self.owners, route)) {
            if !conflict.is_won(&self.live_routes(name), &self.live_routes(&conflict.owner)) {
                return Err(Box::new(conflict));
            }
            if won.iter().all(|other| other.owner != conflict.owner) {
                won.push(conflict);
            }
        }
        Ok(won)
    }

    /// Removes a service that loses. If it runs, it keeps the routes that it runs with, so that others lose those.
    fn remove(
        &mut self,
        host: &mut Host<Footprint>,
        loser: &ServiceName,
        conflict: &RouteConflict,
        winner: &ServiceName,
    ) {
        let Some(lost) = host.services.remove(loser) else { return };
        let error = |document: &Node| conflict.error(document, &lost, winner);
        let error = search::stored_error(self.layout, loser, error);
        host.fail(Some(loser.clone()), error.unwrap_or_default());
        self.owners.retain(|_, owner| owner != loser);
        let kept = self.live_routes(loser);
        while let Some(conflict) = kept.iter().find_map(|route| RouteConflict::all(&self.owners, route).pop()) {
            let other = conflict.owner.clone();
            self.remove(host, &other, &conflict, loser);
            self.owners.retain(|_, owner| *owner != other);
        }
        self.give(&kept, loser);
    }

    fn give(&mut self, routes: &[Route], name: &ServiceName) {
        self.owners.extend(routes.iter().map(|route| (Claim::of(route), name.clone())));
    }

    /// Reads the routes that a service runs with; of services without conflicts nobody asks.
    fn live_routes(&self, name: &ServiceName) -> Vec<Route> {
        let of_it = |live: &Live| -> Option<Service> { live.service(self.layout, live.current(self.layout)).ok() };
        self.live.get(name).and_then(of_it).map(|service| service.routes).unwrap_or_default()
    }
}
