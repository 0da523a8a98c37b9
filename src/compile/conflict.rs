//! Services that exclude each other: two with one route, port or name, cycles of dependencies, and a service that
//! becomes parts while it runs.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use crate::compile::host::{self, Host};
use crate::compile::port::PortOwners;
use crate::compile::route::RouteOwners;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Node;
use crate::layout::Layout;
use crate::live::{self, Live};
use crate::model::{Claim, Footprint, Service};
use crate::names::ServiceName;
use crate::path;
use crate::proxy::claim::RouteConflict;
use crate::source::search;

/// Removes the services and functions that lose a conflict, with an error for each.
pub(super) fn refuse(layout: &Layout, host: &mut Host<Footprint>, live: &BTreeMap<ServiceName, Live>) {
    refuse_other_kinds(layout, host, live);
    refuse_taken_routes(layout, host, live);
    refuse_taken_ports(layout, host, live);
    refuse_cycles(layout, host);
}

/// A service that runs in one piece and is declared in parts, or the other way round: one `NAME.service` cannot be both
/// while it runs.
fn refuse_other_kinds(layout: &Layout, host: &mut Host<Footprint>, live: &BTreeMap<ServiceName, Live>) {
    if live.is_empty() {
        return;
    }
    let runs_as_parts = parts_that_run(layout, live);
    let conflicts: Vec<_> = host
        .services
        .iter()
        .filter_map(|(name, footprint)| Some((name.clone(), other_kind(footprint, live, &runs_as_parts)?)))
        .collect();
    for (name, error) in conflicts {
        host.refuse(name, error.into());
    }
}

/// Services whose parts run.
fn parts_that_run(layout: &Layout, live: &BTreeMap<ServiceName, Live>) -> BTreeSet<ServiceName> {
    let dotted = live.keys().filter(|name| name.split_part().is_some());
    dotted.filter_map(|name| Some(live_model(layout, live, name)?.group?.name)).collect()
}

fn other_kind(
    service: &Footprint,
    live: &BTreeMap<ServiceName, Live>,
    runs_as_parts: &BTreeSet<ServiceName>,
) -> Option<Diagnostic> {
    let declared = service.declared_as();
    let runs = match &service.group {
        Some(_) if live.contains_key(declared) => "without parts",
        None if runs_as_parts.contains(declared) => "in parts",
        _ => return None,
    };
    let remedy = format!("`systemctl stop {declared}` before it becomes the other");
    Some(Diagnostic::of_file(&service.source, format!("{declared} runs {runs}, and is declared otherwise"), remedy))
}

/// Returns the error of a part, or of a service that would have the name of one.
pub(crate) fn taken_name(name: &ServiceName, here: &Utf8Path, there: &Utf8Path) -> Diagnostic {
    let message = format!("{name} is already declared by {there}");
    Diagnostic::of_file(here, message, "give one of the two another name")
}

/// Returns the conflict of a new service with running ones.
pub(crate) fn refuse_other_kind(layout: &Layout, service: &Footprint) -> Result<(), Diagnostics> {
    let live = live::known(layout);
    let error = other_kind(service, &live, &parts_that_run(layout, &live));
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Two services that claim the same host and path: the one that has it already keeps it, else the
/// first by name.
fn refuse_taken_routes(layout: &Layout, host: &mut Host<Footprint>, live: &BTreeMap<ServiceName, Live>) {
    let broken: Vec<_> = broken(host, live).cloned().collect();
    let names: Vec<_> = host.services.keys().cloned().collect();
    let mut owners = RouteOwners::new(layout, live, broken.iter());
    for name in &names {
        owners.settle(host, name);
    }
}

/// Lists what runs although its declaration does not compile.
fn broken<'a>(
    host: &'a Host<Footprint>,
    live: &'a BTreeMap<ServiceName, Live>,
) -> impl Iterator<Item = &'a ServiceName> {
    live.keys().filter(|name| !host.services.contains_key(*name) && host.may_declare(name))
}

/// Finds the services that run, are not declared, and have lost routes to declared ones.
pub(super) fn lost_routes(host: &Host<Footprint>) -> BTreeMap<ServiceName, Diagnostic> {
    let undeclared = host.kept.iter().filter(|kept| !host.may_declare(&kept.name));
    let lost = |kept: &Footprint| {
        let conflict = RouteConflict::between(kept, host.services.values().cloned())?;
        Some((kept.name.clone(), conflict.lost(kept)))
    };
    undeclared.filter_map(lost).collect()
}

/// The model that speaks for a service that is live.
fn live_model(layout: &Layout, live: &BTreeMap<ServiceName, Live>, name: &ServiceName) -> Option<Service> {
    let live = live.get(name)?;
    live.service(layout, live.current(layout)).ok()
}

/// Lists the ports, and the address of a part, that a service has while it runs.
fn live_claims(layout: &Layout, live: &BTreeMap<ServiceName, Live>, name: &ServiceName) -> Vec<Claim> {
    live_model(layout, live, name).map_or_else(Vec::new, |model| Footprint::of(&model).claims().collect())
}

/// Two services that listen on the same port, or two parts with the same address: the one that has it already keeps it, else
/// the first by name.
fn refuse_taken_ports(layout: &Layout, host: &mut Host<Footprint>, live: &BTreeMap<ServiceName, Live>) {
    let mut owners = PortOwners::default();
    // What runs although its declaration is broken keeps its ports.
    for name in broken(host, live) {
        live_claims(layout, live, name).iter().for_each(|port| owners.give(port, name));
    }
    for (name, footprint) in &host.services {
        for port in footprint.claims() {
            // The live model is read for services in a conflict only.
            if !owners.is_taken(&port, name) || live_claims(layout, live, name).contains(&port) {
                owners.give(&port, name);
            }
        }
    }
    let conflicts: Vec<_> =
        host.services.values().filter_map(|it| Some((it.name.clone(), owners.conflict(it)?))).collect();
    for (name, conflict) in conflicts {
        let error = search::stored_error(layout, &name, |document| conflict.error(document)).unwrap_or_default();
        // Of a part without its address, the other parts would reach another service's by its name.
        let group = host.services.get(&name).filter(|_| conflict.is_of_address()).map(|it| it.declared_as().clone());
        let parts: Vec<_> = group.iter().flat_map(|group| declared_as(host, group)).map(|it| it.name.clone()).collect();
        parts.into_iter().filter(|part| *part != name).for_each(|part| host.refuse(part, error.clone()));
        host.refuse(name, error);
    }
}

/// Services that depend on each other in a cycle, each to be ready before the next: systemd would leave one out by chance.
/// Here it is the first by name.
fn refuse_cycles(layout: &Layout, host: &mut Host<Footprint>) {
    let declared: BTreeSet<_> = host.services.values().map(|it| it.declared_as().clone()).collect();
    for name in declared {
        let Some(cycle) = cycle(host, &name, &name, &mut BTreeSet::new()) else { continue };
        let dependency = dependencies_of(host, &name).position(|dependency| *dependency == cycle[1]);
        let at = path!["service", dependency.unwrap_or_default()];
        let names: Vec<_> = cycle.iter().map(ServiceName::as_str).collect();
        let message = format!("services depend on each other: {}", names.join(" → "));
        let error = |document: &Node| document.key_error(&at, message, "remove one of these dependencies");
        let Some(error) = search::stored_error(layout, &name, error) else { continue };
        let mine: Vec<_> = declared_as(host, &name).map(|it| it.name.clone()).collect();
        mine.into_iter().for_each(|name| host.refuse(name, error.clone()));
    }
}

/// Returns the services that are declared under a name: its own, or its parts.
fn declared_as<'a>(host: &'a Host<Footprint>, name: &'a ServiceName) -> impl Iterator<Item = &'a Footprint> {
    host::declared_as(&host.services, name, Footprint::declared_as)
}

/// Returns the dependencies of a declared service.
fn dependencies_of<'a>(host: &'a Host<Footprint>, name: &'a ServiceName) -> impl Iterator<Item = &'a ServiceName> {
    declared_as(host, name).next().into_iter().flat_map(|footprint| &footprint.dependencies)
}

/// Returns the path of dependencies from a service to `end`, over services that have not been `seen`; None without one.
fn cycle(
    host: &Host<Footprint>,
    from: &ServiceName,
    end: &ServiceName,
    seen: &mut BTreeSet<ServiceName>,
) -> Option<Vec<ServiceName>> {
    let rest = dependencies_of(host, from).find_map(|dependency| {
        if dependency == end {
            return Some(vec![end.clone()]);
        }
        seen.insert(dependency.clone()).then(|| cycle(host, dependency, end, seen)).flatten()
    });
    rest.map(|rest| [vec![from.clone()], rest].concat())
}
