//! What cannot stand side by side: two services with one route, port or name, circles of services that bring each other
//! along, a service that becomes parts while it runs, and units that are somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::compile::{Compiled, Host};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Node;
use crate::layout::Layout;
use crate::live::{self, Live};
use crate::model::alias::Alias;
use crate::model::{Route, Service, Tls};
use crate::names::ServiceName;
use crate::path;
use crate::resolve::routes;
use crate::source::search::{self, Location};

/// Takes out of a host what loses, and says why.
pub(super) fn refuse(layout: &Layout, host: &mut Host, live: &BTreeMap<ServiceName, Live>) {
    refuse_other_kinds(layout, host, live);
    refuse_taken_routes(layout, host, live);
    refuse_taken_ports(layout, host, live);
    refuse_cycles(layout, host);
}

/// A service that runs in one piece and is declared in parts, or the other way round: one `NAME.service` cannot be both
/// while it runs.
fn refuse_other_kinds(layout: &Layout, host: &mut Host, live: &BTreeMap<ServiceName, Live>) {
    if live.is_empty() {
        return;
    }
    let runs_as_parts = parts_that_run(layout, live);
    let conflicts: Vec<_> = host
        .services
        .iter()
        .filter_map(|(name, compiled)| {
            let error = other_kind(&compiled.service, live, &runs_as_parts)?;
            Some((name.clone(), error))
        })
        .collect();
    for (name, error) in conflicts {
        host.services.remove(&name);
        host.fail(Some(name), error.into());
    }
}

/// Services whose parts run.
fn parts_that_run(layout: &Layout, live: &BTreeMap<ServiceName, Live>) -> BTreeSet<ServiceName> {
    let dotted = live.keys().filter(|name| name.split_part().is_some());
    dotted.filter_map(|name| Some(live_model(layout, live, name)?.group?.name)).collect()
}

fn other_kind(
    service: &Service,
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

/// What is said of a part, or of a service that would be called like one.
pub fn taken_name(name: &ServiceName, here: &Utf8Path, there: &Utf8Path) -> Diagnostic {
    let message = format!("{name} is declared already, by {there}");
    Diagnostic::of_file(here, message, "give one of the two another name")
}

/// Why a service cannot be declared while what runs runs.
pub fn refuse_other_kind(layout: &Layout, service: &Service) -> Result<(), Diagnostics> {
    let live = live::all(layout);
    let error = other_kind(service, &live, &parts_that_run(layout, &live));
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// Two services that claim the same host and path: the one that has it already keeps it, else the
/// first by name.
fn refuse_taken_routes(layout: &Layout, host: &mut Host, live: &BTreeMap<ServiceName, Live>) {
    let names: Vec<_> = host.services.keys().cloned().collect();
    // The routes that a service has already, read only for those that quarrel.
    let holds = |name: &ServiceName, conflict: &RouteConflict| {
        let model = live_model(layout, live, name);
        model.is_some_and(|model| model.routes.iter().any(|route| conflict.is_about(route)))
    };
    let mut owners: BTreeMap<Claim, ServiceName> = BTreeMap::new();
    // What runs although its declaration is broken keeps its routes.
    for name in host.errors.keys().flatten() {
        let model = live_model(layout, live, name);
        let routes = model.map(|model| model.routes).unwrap_or_default();
        owners.extend(routes.iter().map(|route| (Claim::of(route), name.clone())));
    }
    for name in names {
        let Some(compiled) = host.services.get(&name) else { continue };
        let routes = compiled.service.routes.clone();
        let conflict = routes.iter().find_map(|route| RouteConflict::find(&owners, route));
        let Some(conflict) = conflict else {
            owners.extend(routes.iter().map(|route| (Claim::of(route), name.clone())));
            continue;
        };
        let (loser, winner) = if holds(&name, &conflict) && !holds(&conflict.owner, &conflict) {
            (&conflict.owner, &name)
        } else {
            (&name, &conflict.owner)
        };
        if let Some(lost) = host.services.remove(loser) {
            host.fail(Some(loser.clone()), conflict.told(layout, &lost.service, winner));
        }
        if loser != &name {
            owners.retain(|_, owner| owner != loser);
            owners.extend(routes.iter().map(|route| (Claim::of(route), name.clone())));
        }
    }
}

/// The model that speaks for a service that is live.
fn live_model(layout: &Layout, live: &BTreeMap<ServiceName, Live>, name: &ServiceName) -> Option<Service> {
    let live = live.get(name)?;
    live.model(layout, live.current(layout)).ok()
}

/// Two services that listen on the same port: the one that has it already keeps it, else the first by name.
fn refuse_taken_ports(layout: &Layout, host: &mut Host, live: &BTreeMap<ServiceName, Live>) {
    let mut owners: BTreeMap<String, ServiceName> = BTreeMap::new();
    for (name, Compiled { service, .. }) in &host.services {
        for port in &service.ports {
            // Read only of those that quarrel.
            let has_it = || live_model(layout, live, name).is_some_and(|model| model.ports.contains(port));
            if !owners.contains_key(port) || has_it() {
                owners.insert(port.clone(), name.clone());
            }
        }
    }
    let conflict = |compiled: &Compiled| PortConflict::find(&owners, &compiled.service);
    let conflicts: Vec<_> = host.services.iter().filter_map(|(name, it)| Some((name.clone(), conflict(it)?))).collect();
    for (name, conflict) in conflicts {
        host.services.remove(&name);
        let Some(location) = search::find_one(layout, &name) else { continue };
        let document = search::stored_document(layout, &location);
        host.fail(Some(name), document.map_or_else(|error| error, |document| conflict.error(&document)).into());
    }
}

/// A port that another service has already.
pub struct PortConflict {
    owner: ServiceName,
    port: String,
    /// Which of the declaration's it is.
    index: usize,
}

impl PortConflict {
    /// The first of a service's ports that another owns.
    fn find(owners: &BTreeMap<String, ServiceName>, service: &Service) -> Option<Self> {
        service.ports.iter().enumerate().find_map(|(index, port)| {
            let owner = owners.get(port).filter(|owner| **owner != service.name)?;
            Some(Self { owner: owner.clone(), port: port.clone(), index })
        })
    }

    /// The first of a service's ports that one of the others has.
    pub fn between<'a>(service: &Service, others: impl Iterator<Item = &'a Compiled>) -> Option<Self> {
        let others = others.map(|other| (&other.service.name, other)).filter(|(name, _)| **name != service.name);
        let owners =
            others.flat_map(|(name, other)| other.service.ports.iter().map(|port| (port.clone(), name.clone())));
        Self::find(&owners.collect(), service)
    }

    /// What its service is told, at the port in its document.
    pub fn error(&self, document: &Node) -> Diagnostic {
        let Self { owner, port, index } = self;
        let message = format!("the service {owner} listens on {port} already");
        let remedy = "write another address, or take it out of the other service";
        document.error(&path!["port", *index, "listen"], message, remedy)
    }
}

/// Services that bring each other along, each to be ready before the next: systemd would leave one out
/// by chance. Here it is the first by name.
fn refuse_cycles(layout: &Layout, host: &mut Host) {
    let declared: BTreeSet<_> = host.services.values().map(|it| it.service.declared_as().clone()).collect();
    for name in declared {
        let Some(cycle) = cycle(host, &name, &name, &mut BTreeSet::new()) else { continue };
        let dependency = brought_by(host, &name).position(|dependency| *dependency == cycle[1]);
        let at = path!["service", dependency.unwrap_or_default()];
        let names: Vec<_> = cycle.iter().map(ServiceName::as_str).collect();
        let message = format!("services bring each other along: {}", names.join(" → "));
        let Some(location) = search::find_one(layout, &name) else { continue };
        let document = search::stored_document(layout, &location);
        let error = document.map_or_else(
            |error| error,
            |document| document.key_error(&at, message, "take one of them out of the circle"),
        );
        let mine: Vec<_> = host.declared_as(&name).map(|it| it.service.name.clone()).collect();
        for name in mine {
            host.services.remove(&name);
            host.fail(Some(name), error.clone().into());
        }
    }
}

/// The services that one brings along.
fn brought_by<'a>(host: &'a Host, name: &'a ServiceName) -> impl Iterator<Item = &'a ServiceName> {
    let dependencies = host.declared_as(name).next().map(|compiled| compiled.service.dependencies());
    dependencies.into_iter().flatten().map(|dependency| &dependency.name)
}

/// The way from a service to `end` over what it brings along, if there is one that has not been `seen`.
fn cycle(
    host: &Host,
    from: &ServiceName,
    end: &ServiceName,
    seen: &mut BTreeSet<ServiceName>,
) -> Option<Vec<ServiceName>> {
    let rest = brought_by(host, from).find_map(|dependency| {
        if dependency == end {
            return Some(vec![end.clone()]);
        }
        seen.insert(dependency.clone()).then(|| cycle(host, dependency, end, seen)).flatten()
    });
    rest.map(|rest| [vec![from.clone()], rest].concat())
}

/// A host and path; Caddy does not tell capitals apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    host: Option<String>,
    path: String,
    plain: bool,
}

impl Claim {
    fn of(route: &Route) -> Self {
        Self { host: route.host.clone(), path: route.path.to_ascii_lowercase(), plain: route.tls == Tls::Off }
    }
}

/// A route that another service has already, or whose host it serves in the other way.
pub struct RouteConflict {
    pub owner: ServiceName,
    /// What the owner has.
    taken: Claim,
    /// What is claimed beside it.
    claim: Claim,
}

impl RouteConflict {
    fn find(owners: &BTreeMap<Claim, ServiceName>, route: &Route) -> Option<Self> {
        let claim = Claim::of(route);
        let first = Claim { host: claim.host.clone(), path: String::new(), plain: false };
        let taken = owners
            .range(first..)
            .take_while(|(other, _)| other.host == claim.host)
            .find(|(other, _)| other.path == claim.path || other.plain != claim.plain);
        taken.map(|(taken, owner)| Self { owner: owner.clone(), taken: taken.clone(), claim })
    }

    /// The service that has an alias of a function already, or serves its host in the other way, and by which of its
    /// routes.
    pub fn of_alias<'a>(
        alias: &Alias,
        tls: Tls,
        services: impl Iterator<Item = &'a Service>,
    ) -> Option<(ServiceName, usize)> {
        let tls = if alias.host.is_none() { Tls::Off } else { tls };
        let claim = Claim::of(&Route { host: alias.host.clone(), path: alias.path.clone(), tls });
        let claims =
            |service: &'a Service| service.routes.iter().map(Claim::of).enumerate().map(move |it| (it, service));
        let mut routes = services.flat_map(claims);
        let conflicts =
            |other: &Claim| other.host == claim.host && (other.path == claim.path || other.plain != claim.plain);
        routes.find(|((_, other), _)| conflicts(other)).map(|((index, _), service)| (service.name.clone(), index))
    }

    /// The first clash of a service's routes with those of others.
    pub fn between<'a>(service: &Service, others: impl Iterator<Item = &'a Compiled>) -> Option<Self> {
        let others = others.map(|other| (&other.service.name, other)).filter(|(name, _)| **name != service.name);
        let claims =
            others.flat_map(|(name, other)| other.service.routes.iter().map(|route| (Claim::of(route), name.clone())));
        let owners = claims.collect();
        service.routes.iter().find_map(|route| Self::find(&owners, route))
    }

    fn is_about(&self, route: &Route) -> bool {
        let claim = Claim::of(route);
        claim.host == self.claim.host && claim.path == self.claim.path
    }

    /// What a declared service is told that loses. Its document is read again: only now does anybody
    /// ask where its routes are written.
    fn told(&self, layout: &Layout, loser: &Service, winner: &ServiceName) -> Diagnostics {
        let Some(location) = search::find_one(layout, &loser.name) else { return Diagnostics::default() };
        let document = search::stored_document(layout, &location);
        document.map_or_else(|error| error, |document| self.error(&document, loser, winner)).into()
    }

    /// What the loser is told, at the route in its document.
    pub fn error(&self, document: &Node, loser: &Service, winner: &ServiceName) -> Diagnostic {
        let mine = if loser.name == self.owner { &self.taken } else { &self.claim };
        let route = loser.routes.iter().position(|route| Claim::of(route) == *mine).expect("the loser claims it");
        let at = routes::section(document, route);
        let Route { host, path, tls: _ } = &loser.routes[route];
        let host = host.as_deref().unwrap_or("every host");
        if self.taken.path == self.claim.path {
            let message = format!("{host}, path {path}, is routed to the service {winner} already");
            let remedy = "give the route another host or path, or take it out of the other service";
            document.key_error(&at, message, remedy)
        } else {
            let message = format!("the service {winner} routes {host} with another tls");
            document.key_error(&at, message, "write the same tls for all routes of a host")
        }
    }
}

/// Unit files of others: a generated unit must neither hide one nor be hidden. By name, in the order in which systemd
/// looks for them: where each is, and how it is called there.
pub struct UnitFiles(BTreeMap<String, Vec<(Utf8PathBuf, Utf8PathBuf)>>);

impl UnitFiles {
    pub fn list(layout: &Layout) -> Self {
        let mut files: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for dir in layout.unit_file_dirs() {
            let here = layout.at(dir);
            // /lib is a link to /usr/lib on merged systems.
            if !seen.insert(here.canonicalize_utf8().unwrap_or_else(|_| here.clone())) {
                continue;
            }
            for entry in here.read_dir_utf8().into_iter().flatten().flatten() {
                let place = (entry.path().to_owned(), dir.join(entry.file_name()));
                files.entry(entry.file_name().to_owned()).or_default().push(place);
            }
        }
        Self(files)
    }

    /// # Errors
    /// If the unit of a service that is declared at `site` belongs to somebody else.
    pub fn refuse(&self, name: &ServiceName, location: &Location) -> Result<(), Diagnostics> {
        let all = self.0.get(&name.unit());
        let Some((_, path)) = all.into_iter().flatten().find(|(here, _)| !is_masked(here)) else { return Ok(()) };
        let message = format!("{name}.service is another unit already: {path}");
        Err(Diagnostic::of_file(&location.dir, message, "give the service another name").into())
    }
}

/// Whether systemd takes a unit file for a mask, which belongs to nobody: a link to /dev/null, or an
/// empty file.
fn is_masked(path: &Utf8Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_dir() && found.len() == 0)
}
