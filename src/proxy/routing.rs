//! The routing table: which hosts and paths lead to which service or function, whatever the proxy; and its conflicts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use camino::Utf8PathBuf;

use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::layout::Layout;
use crate::model::alias::{Alias, below};
use crate::model::function::Function;
use crate::model::programs::Static;
use crate::model::{Footprint, Route, Tls};
use crate::names::{FunctionId, ListenerName, ServiceName};
use crate::resolve::routes;

/// The routes of all services and functions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RoutingTable {
    /// Listeners of services with routes, by name.
    pub(crate) upstreams: Vec<Upstreams>,
    /// Sites, by host and TLS.
    pub(crate) sites: Vec<Site>,
}

/// A listener of a service; as text, its name in a proxy's configuration: `shop`, or `shop@metrics` for a further one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reached {
    service: ServiceName,
    /// None: that of `[listen]` itself.
    listener: Option<ListenerName>,
}

impl Display for Reached {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { service, listener } = self;
        match listener {
            None => service.fmt(out),
            Some(listener) => write!(out, "{service}@{listener}"),
        }
    }
}

/// The fixed upstreams of one listener of a service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upstreams {
    pub(crate) reached: Reached,
    /// Its slots: unix sockets. One that is missing has no deployment.
    pub(crate) slots: Vec<Utf8PathBuf>,
}

/// The routes of one host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// The host; None for all hosts without a site of their own.
    pub(crate) host: Option<String>,
    pub(crate) tls: Tls,
    /// The longest path first, so that a proxy may try them in order.
    pub(crate) matches: Vec<Match>,
    /// The functions, if this site serves them by their IDs.
    pub(crate) functions: Option<Functions>,
}

/// The backend of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// A path prefix, on path boundaries; `/` is everything.
    pub(crate) path: String,
    pub(crate) backend: Backend,
}

/// A service, a function or files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A listener of a service, over its upstreams.
    Service(Reached),
    /// A function, over the path of its socket.
    Function(Utf8PathBuf),
    /// Files of the host, beside a function.
    Files(Files),
}

impl Backend {
    /// Returns whether requests lead to a function.
    pub(crate) fn is_function(&self) -> bool {
        matches!(self, Self::Function(_) | Self::Files(Files { function: Some(_), .. }))
    }
}

/// Files that the proxy serves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// A file or a directory.
    pub(crate) path: Utf8PathBuf,
    /// Suffixes of files that the function runs: their text is not served.
    pub(crate) programs: Vec<String>,
    /// The socket of the function that answers for all that is no file, if this address is the function's, too.
    pub(crate) function: Option<Utf8PathBuf>,
}

/// All functions that are declared, by their IDs: another function with an address changes nothing here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Functions {
    /// The directory of the functions' sockets, each named after its function.
    pub(crate) sockets: Utf8PathBuf,
    /// The directory with a unit for each declared function's socket. The proxy cannot see the functions themselves.
    pub(crate) units: Utf8PathBuf,
    /// The functions that are not served by their IDs, whatever is there.
    pub(crate) withdrawn: Vec<FunctionId>,
}

/// What the proxy serves of functions.
#[derive(Default)]
pub(crate) struct FunctionRoutes {
    pub(crate) aliases: Vec<FunctionRoute>,
    /// Whether functions are served by their IDs.
    pub(crate) has_addresses: bool,
    /// The functions that are not.
    pub(crate) withdrawn: Vec<FunctionId>,
}

/// A function's alias, and the link through which the proxy reaches the function; or where its files are.
pub(crate) struct FunctionRoute {
    alias: Alias,
    tls: Tls,
    backend: Backend,
}

impl FunctionRoute {
    /// Returns the route of an address that leads to a function or to its files, over the link that says so.
    pub(crate) fn new(function: &Function, alias: Alias, link: Utf8PathBuf) -> Self {
        let is_above = |other: &Alias| other.host == alias.host && below(&other.path, alias.path.as_bytes()).is_some();
        let is_functions = function.aliases.iter().any(is_above);
        let backend = match function.static_files.iter().find(|it| it.at == alias) {
            None => Backend::Function(link),
            Some(Static { path, .. }) => Backend::Files(Files {
                path: path.clone(),
                programs: function.programs.iter().flat_map(|it| it.interpreters.keys().cloned()).collect(),
                function: is_functions.then_some(link),
            }),
        };
        Self { alias, tls: function.tls, backend }
    }
}

impl RoutingTable {
    /// Collects the routes of services and, where there are some, of functions.
    ///
    /// If two claim one path of a host, the first in the list has it, and services come first.
    pub(crate) fn new(layout: &Layout, services: &[&Footprint], functions: Option<&FunctionRoutes>) -> Self {
        let mut sites: BTreeMap<(Option<String>, bool), BTreeMap<String, Backend>> = BTreeMap::new();
        let key = |host: Option<&str>, tls| (host.map(str::to_owned), tls == Tls::Off);
        for &service in services {
            for route in &service.routes {
                let backend = Backend::Service(Reached::of(service, route));
                let site = sites.entry(key(route.host.as_deref(), route.tls)).or_default();
                site.entry(route.path.clone()).or_insert(backend);
            }
        }
        for FunctionRoute { alias, tls, backend } in functions.map_or(&[][..], |functions| &functions.aliases) {
            let site = sites.entry(key(alias.host.as_deref(), alias_tls(alias, *tls))).or_default();
            site.entry(alias.path.clone()).or_insert_with(|| backend.clone());
        }
        let addressed = functions.filter(|functions| functions.has_addresses);
        if addressed.is_some() {
            sites.entry(key(None, Tls::Off)).or_default();
        }
        let functions = |host: &Option<String>| Some(by_id(layout, addressed.filter(|_| host.is_none())?));
        let sites = sites.into_iter().map(|((host, plain), matches)| Site {
            functions: functions(&host),
            host,
            tls: if plain { Tls::Off } else { Tls::Auto },
            matches: longest_first(matches),
        });
        let sites = sites.collect();
        let mut upstreams: Vec<_> = services.iter().flat_map(|service| Upstreams::of(layout, service)).collect();
        upstreams.sort_by(|one, other| one.reached.cmp(&other.reached));
        Self { upstreams, sites }
    }
}

impl Reached {
    fn of(service: &Footprint, route: &Route) -> Self {
        Self { service: service.name.clone(), listener: route.listener.clone() }
    }
}

impl Upstreams {
    /// Lists those of a service that routes lead to.
    fn of(layout: &Layout, service: &Footprint) -> Vec<Self> {
        let reached: BTreeSet<_> = service.routes.iter().map(|route| Reached::of(service, route)).collect();
        let of_listener = |reached: Reached| {
            let slot = |number| layout.slot(&service.name, number, reached.listener.as_ref());
            Self { slots: (1..=service.slots).map(slot).collect(), reached }
        };
        reached.into_iter().map(of_listener).collect()
    }
}

/// No name of a host means no name for a certificate.
fn alias_tls(alias: &Alias, tls: Tls) -> Tls {
    if alias.host.is_none() { Tls::Off } else { tls }
}

fn longest_first(matches: BTreeMap<String, Backend>) -> Vec<Match> {
    let mut matches: Vec<_> = matches.into_iter().map(|(path, backend)| Match { path, backend }).collect();
    matches.sort_by_key(|it| (Reverse(it.path.len()), it.path.clone()));
    matches
}

fn by_id(layout: &Layout, routes: &FunctionRoutes) -> Functions {
    let withdrawn = routes.withdrawn.clone();
    Functions { sockets: layout.function_sockets(), units: layout.generator().to_owned(), withdrawn }
}

/// A host and path that a route claims. Paths are compared without regard to case, as proxies may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    host: Option<String>,
    path: String,
    plain: bool,
}

impl Claim {
    /// Returns what a route claims.
    pub(crate) fn of(route: &Route) -> Self {
        Self { host: route.host.clone(), path: route.path.to_ascii_lowercase(), plain: route.tls == Tls::Off }
    }

    /// Returns whether both cannot be served: one path of a host, or one host with and without TLS.
    fn excludes(&self, other: &Self) -> bool {
        self.host == other.host && (self.path == other.path || self.plain != other.plain)
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
        let first = Claim { host: claim.host.clone(), path: String::new(), plain: false };
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
        let route =
            Route { host: alias.host.clone(), path: alias.path.clone(), tls: alias_tls(alias, tls), listener: None };
        let claim = Claim::of(&route);
        services.find_map(|(service, routes)| {
            let index = routes.iter().position(|route| claim.excludes(&Claim::of(route)))?;
            Some((service.clone(), index))
        })
    }

    /// Returns whether routes, with which one of both services runs, have what the conflict is about: the path of a host, or
    /// how the host is served.
    fn is_settled_by(&self, claim: &Claim, routes: &[Route]) -> bool {
        routes.iter().map(Claim::of).any(|route| {
            let is_same =
                if self.taken.path == self.claim.path { route.path == claim.path } else { route.plain == claim.plain };
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
        let message = format!(
            "{name} runs and is no longer declared: {host}, path {}, leads to the service {owner} now",
            taken.path
        );
        let remedy =
            format!("`conductor daemon-reload` stops {name}; or declare it again, and {owner} with another route");
        Diagnostic::of_file(&service.source, message, remedy)
    }

    /// Returns the error of the service that loses, at the route in its document.
    pub(crate) fn error(&self, document: &Node, loser: &Footprint, winner: &ServiceName) -> Diagnostic {
        let mine = if loser.name == self.owner { &self.taken } else { &self.claim };
        let route = loser.routes.iter().position(|route| Claim::of(route) == *mine).expect("the loser claims it");
        let at = routes::section(document, route);
        let Route { host, path, .. } = &loser.routes[route];
        let host = host.as_deref().unwrap_or("every host");
        if self.taken.path == self.claim.path {
            let message = format!("{host}, path {path}, is already routed to the service {winner}");
            let remedy = "give the route another host or path, or remove it from the other service";
            document.key_error(&at, message, remedy)
        } else {
            let message = format!("the service {winner} uses a different `tls` setting for {host}");
            document.key_error(&at, message, "write the same tls for all routes of a host")
        }
    }
}
