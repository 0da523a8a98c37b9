//! The routing table: which hosts and paths lead to which service or function, whatever the proxy.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use camino::Utf8PathBuf;

use super::passwords;
use crate::layout::Layout;
use crate::model::alias::{Alias, below};
use crate::model::function::Function;
use crate::model::programs::Static;
use crate::model::route::{Answer, AppProtocol, Handling, Matching, Route, Security};
use crate::model::{Footprint, Tls};
use crate::names::{FunctionId, ListenerName, ServiceName};

/// The routes of all services and functions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RoutingTable {
    /// Listeners of services with routes, by name.
    pub(crate) upstreams: Vec<Upstreams>,
    /// Sites, by host and TLS.
    pub(crate) sites: Vec<Site>,
    /// Addresses and networks of proxies before this one, which are believed.
    pub(crate) trusted: Vec<String>,
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
    pub(crate) security: Security,
    /// The most particular first, so that a proxy may try them in order.
    pub(crate) matches: Vec<Match>,
    /// The functions, if this site serves them by their IDs.
    pub(crate) functions: Option<Functions>,
}

/// What is done with some requests of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) matching: Matching,
    /// What the proxy serves before it asks the backend.
    pub(crate) files: Option<Files>,
    pub(crate) backend: Backend,
    pub(crate) handling: Handling,
    /// The service whose route it is; None for functions.
    pub(crate) service: Option<ServiceName>,
    /// Where the proxy finds the users that may call; None: everybody may.
    pub(crate) users: Option<Utf8PathBuf>,
}

/// What answers requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A listener of a service, over its upstreams.
    Service(Reached, AppProtocol),
    /// A function, over the path of its socket, with the path by which it is found.
    Function(Utf8PathBuf, String),
    Redirect {
        to: String,
        status: u16,
    },
    Respond {
        body: String,
        status: u16,
    },
    /// Nothing: 404.
    Nothing,
}

impl Match {
    /// Returns whether requests lead to a function.
    pub(crate) fn is_of_function(&self) -> bool {
        matches!(self.backend, Backend::Function(..))
    }
}

/// Files that the proxy serves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    /// A file or a directory.
    pub(crate) path: Utf8PathBuf,
    /// Suffixes of files that a function runs: their text is not served.
    pub(crate) programs: Vec<String>,
    /// Whether `index.html` answers for its directory.
    pub(crate) has_index: bool,
    /// The path of the file that is served for what is no file.
    pub(crate) fallback: Option<String>,
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
    /// Those that are, for a proxy that cannot find a socket by a request.
    pub(crate) declared: Vec<FunctionId>,
}

/// What the proxy serves of functions.
#[derive(Default)]
pub(crate) struct FunctionRoutes {
    pub(crate) aliases: Vec<FunctionRoute>,
    /// Whether functions are served by their IDs.
    pub(crate) has_addresses: bool,
    /// The functions that are not.
    pub(crate) withdrawn: Vec<FunctionId>,
    /// The functions that are.
    pub(crate) declared: Vec<FunctionId>,
}

/// A function's alias, and the link through which the proxy reaches the function; or where its files are.
pub(crate) struct FunctionRoute {
    alias: Alias,
    tls: Tls,
    files: Option<Files>,
    backend: Backend,
}

impl FunctionRoute {
    /// Returns the route of an address that leads to a function or to its files, over the link that says so.
    pub(crate) fn new(function: &Function, alias: Alias, link: Utf8PathBuf) -> Self {
        let files = function.static_files.iter().find(|it| it.at == alias).map(|Static { path, .. }| Files {
            path: path.clone(),
            programs: function.programs.iter().flat_map(|it| it.interpreters.keys().cloned()).collect(),
            has_index: false,
            fallback: None,
        });
        let is_above = |other: &&Alias| other.host == alias.host && below(&other.path, alias.path.as_bytes()).is_some();
        let mount = function.aliases.iter().filter(is_above).max_by_key(|other| other.path.len());
        let backend = match (mount, &files) {
            (Some(mount), _) => Backend::Function(link, mount.path.clone()),
            (None, None) => Backend::Function(link, alias.path.clone()),
            (None, Some(_)) => Backend::Nothing,
        };
        Self { tls: function.tls, alias, files, backend }
    }

    /// Returns whether the proxy serves files at this address.
    pub(crate) fn has_files(&self) -> bool {
        self.files.is_some()
    }

    /// Returns whether its host needs a certificate that the proxy gets by itself.
    pub(crate) fn is_automatic(&self) -> bool {
        alias_tls(&self.alias, self.tls) == Tls::Auto
    }

    fn to_match(&self) -> Match {
        Match {
            matching: Matching::below(self.alias.path.clone()),
            files: self.files.clone(),
            backend: self.backend.clone(),
            handling: Handling::default(),
            service: None,
            users: None,
        }
    }
}

/// The sites of hosts, each with what is matched.
type Sites = BTreeMap<Option<String>, (Security, BTreeMap<Matching, Match>)>;

impl RoutingTable {
    /// Collects the routes of services and, where there are some, of functions.
    ///
    /// If two claim the same requests of a host, the first in the list has them, and services come first.
    pub(crate) fn new(layout: &Layout, services: &[&Footprint], functions: Option<&FunctionRoutes>) -> Self {
        let mut sites = Sites::new();
        for &service in services {
            for route in &service.routes {
                let site = sites.entry(route.host.clone()).or_insert_with(|| (route.security.clone(), BTreeMap::new()));
                site.1.entry(route.matching.clone()).or_insert_with(|| Match::of(layout, service, route));
            }
        }
        for route in functions.map_or(&[][..], |functions| &functions.aliases) {
            let security =
                || if alias_tls(&route.alias, route.tls) == Tls::Off { Security::Off } else { Security::Auto };
            let site = sites.entry(route.alias.host.clone()).or_insert_with(|| (security(), BTreeMap::new()));
            site.1.entry(Matching::below(route.alias.path.clone())).or_insert_with(|| route.to_match());
        }
        let addressed = functions.filter(|functions| functions.has_addresses);
        if addressed.is_some() {
            sites.entry(None).or_insert((Security::Off, BTreeMap::new()));
        }
        let functions = |host: &Option<String>| Some(by_id(layout, addressed.filter(|_| host.is_none())?));
        let sites = sites.into_iter().map(|(host, (security, matches))| Site {
            functions: functions(&host),
            host,
            security,
            matches: most_particular_first(matches),
        });
        let sites = sites.collect();
        let mut upstreams: Vec<_> = services.iter().flat_map(|service| Upstreams::of(layout, service)).collect();
        upstreams.sort_by(|one, other| one.reached.cmp(&other.reached));
        Self { upstreams, sites, trusted: Vec::new() }
    }
}

impl RoutingTable {
    /// Lists the files of users that routes name.
    pub(crate) fn password_files(&self) -> BTreeSet<&Utf8PathBuf> {
        let matches = self.sites.iter().flat_map(|site| &site.matches);
        matches.filter_map(|it| it.handling.basic_auth.as_ref()).collect()
    }
}

impl Match {
    fn of(layout: &Layout, service: &Footprint, route: &Route) -> Self {
        let backend = match &route.answer {
            Answer::Service { protocol, .. } => {
                Backend::Service(Reached::of(service, route).expect("it leads to a listener"), protocol.clone())
            }
            Answer::Redirect { to, status } => Backend::Redirect { to: to.clone(), status: *status },
            Answer::Respond { body, status } => Backend::Respond { body: body.clone(), status: *status },
            Answer::Files => Backend::Nothing,
        };
        let files = route.handling.files.as_ref().map(|dir| Files {
            path: layout.served_files(&service.name).join(dir),
            programs: Vec::new(),
            has_index: true,
            fallback: route.handling.fallback.clone(),
        });
        let users = route.handling.basic_auth.as_ref().map(|file| passwords::place(layout, file));
        let (matching, handling) = (route.matching.clone(), route.handling.clone());
        Self { matching, files, backend, handling, service: Some(service.name.clone()), users }
    }
}

impl Reached {
    /// Returns the listener that a route leads to, None if it leads to none.
    fn of(service: &Footprint, route: &Route) -> Option<Self> {
        let Answer::Service { listener, .. } = &route.answer else { return None };
        Some(Self { service: service.name.clone(), listener: listener.clone() })
    }
}

impl Upstreams {
    /// Lists those of a service that routes lead to.
    fn of(layout: &Layout, service: &Footprint) -> Vec<Self> {
        let reached: BTreeSet<_> = service.routes.iter().filter_map(|route| Reached::of(service, route)).collect();
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

/// Orders what is matched so that the first is meant: a longer path before a shorter one, a path itself before all below
/// it, then one with a longer end of the path, one with methods, then one with more fields, as in Kubernetes' Gateway API.
fn most_particular_first(matches: BTreeMap<Matching, Match>) -> Vec<Match> {
    let mut matches: Vec<_> = matches.into_values().collect();
    matches.sort_by_cached_key(|it| {
        let Matching { path, exact, suffixes, methods, headers } = &it.matching;
        let suffix = suffixes.iter().map(String::len).max();
        (
            Reverse(path.len()),
            path.clone(),
            Reverse(*exact),
            Reverse(suffix),
            methods.is_empty(),
            Reverse(headers.len()),
        )
    });
    matches
}

fn by_id(layout: &Layout, routes: &FunctionRoutes) -> Functions {
    Functions {
        sockets: layout.function_sockets(),
        units: layout.generator().to_owned(),
        withdrawn: routes.withdrawn.clone(),
        declared: routes.declared.clone(),
    }
}
