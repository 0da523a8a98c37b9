//! The whole pipeline: what is on disk becomes a tree for systemd and the proxy.
//!
//! The generator, `render`, `check` and the hooks all come through here: what a preview shows is
//! what systemd gets.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::cgi::{alias::Alias, function, source};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Node;
use crate::generation::{Digests, Id, hex};
use crate::layout::{Layout, Scope};
use crate::live::{self, Live};
use crate::model::{Route, Service, ServiceName, Tls};
use crate::part;
use crate::path;
use crate::render;
use crate::resolve::{resolve, routes};
use crate::sources::{self, Each, Site, Written};
use crate::tree::{Entry, Tree};

/// Below the generator's directory; systemd ignores directories there.
pub const OUTPUT: &str = "conductor";
/// Below `conductor/`: digests of the proxy's files in the format of sha256sum(1).
pub const MANIFEST: &str = "SHA256SUMS";

/// One compiled service.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub service: Service,
    pub digests: Digests,
    pub id: Id,
    /// Its units.
    pub units: Tree,
}

/// A compiled host.
#[derive(Debug, Default)]
pub struct Host {
    pub services: BTreeMap<ServiceName, Compiled>,
    pub functions: BTreeMap<function::Id, function::Compiled>,
    /// What did not compile, by service; errors that belong to none are under None.
    pub errors: BTreeMap<Option<ServiceName>, Diagnostics>,
    /// Everything that belongs into the generator's directory.
    pub tree: Tree,
}

impl Host {
    /// What compiled of a declaration, unless its unit is somebody else's. A part gives way to a service that is
    /// declared by its name.
    fn take(&mut self, others: &UnitFiles, site: &Site, name: ServiceName, outcome: Result<Compiled, Diagnostics>) {
        match outcome.and_then(|compiled| others.refuse(&name, site).map(|()| compiled)) {
            Ok(compiled) => {
                let source = compiled.service.source.clone();
                if let Some(part) = self.services.insert(name.clone(), compiled) {
                    self.fail(Some(name.clone()), taken_name(&name, &part.service.source, &source).into());
                }
            }
            Err(errors) => self.fail(Some(name), errors),
        }
    }

    /// The services that are declared under a name: its own, or its parts.
    pub fn declared_as<'a>(&'a self, name: &'a ServiceName) -> impl Iterator<Item = &'a Compiled> {
        let from_it = self.services.range(name..).take_while(|(other, _)| other.as_str().starts_with(name.as_str()));
        from_it.map(|(_, compiled)| compiled).filter(move |compiled| compiled.service.declared_as() == name)
    }

    /// Whether a service is declared, be it that its declaration does not compile: what a broken one declares
    /// nobody knows, so that it may have any part.
    pub fn declares(&self, name: &ServiceName) -> bool {
        let broken = |name: &ServiceName| self.errors.contains_key(&Some(name.clone()));
        self.declared_as(name).next().is_some()
            || self.services.contains_key(name)
            || broken(name)
            || part::split(name).is_some_and(|(whole, _)| broken(&whole))
    }

    /// Everything that is wrong.
    pub fn into_errors(self) -> Diagnostics {
        Diagnostics(self.errors.into_values().flat_map(|errors| errors.0).collect()).distinct()
    }

    fn fail(&mut self, name: Option<ServiceName>, errors: Diagnostics) {
        self.errors.entry(name).or_default().0.extend(errors.0);
    }
}

/// Compiles one service whose declaration's files are read at `dir` and shown at `shown`.
///
/// # Errors
/// Everything that is wrong with it; a declaration that has parts is not one service.
pub fn compile_at(
    layout: &Layout,
    site: &Site,
    dir: &Utf8Path,
    shown: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Compiled, Diagnostics> {
    let mut services = compile_each(layout, site, dir, shown, systemd)?;
    match (services.pop(), services.is_empty()) {
        (Some((name, outcome)), true) if name == site.name => outcome,
        (last, _) => {
            let names: Vec<_> = services.into_iter().chain(last).map(|(name, _)| name.to_string()).collect();
            let remedy = format!("name one of them: {}", names.join(", "));
            let path = shown.join(sources::DECLARATION);
            Err(Diagnostic::of_file(&path, format!("{} has parts", site.name), remedy).into())
        }
    }
}

/// Compiles all that a declaration declares: one service, or its parts.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn compile_all(
    layout: &Layout,
    site: &Site,
    dir: &Utf8Path,
    shown: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Vec<Compiled>, Diagnostics> {
    let (mut services, mut errors) = (Vec::new(), Diagnostics::default());
    for (_, outcome) in compile_each(layout, site, dir, shown, systemd)? {
        match outcome {
            Ok(compiled) => services.push(compiled),
            Err(wrong) => errors.0.extend(wrong.0),
        }
    }
    errors.distinct().into_result().map(|()| services)
}

/// Compiles what a declaration declares, part by part where it has some.
///
/// # Errors
/// What is wrong with all of it together.
pub fn compile_each(
    layout: &Layout,
    site: &Site,
    dir: &Utf8Path,
    shown: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Each<Compiled>, Diagnostics> {
    let compile = |written| compile_written(layout, written, dir, shown, systemd);
    let services = guarded(shown, "declaration", || sources::written(layout, site, dir, shown))?;
    let compiled =
        services.into_iter().map(|(name, written)| (name, guarded(shown, "declaration", || written.and_then(compile))));
    Ok(compiled.collect())
}

/// Compiles what is written for one service.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile_written(
    layout: &Layout,
    written: Written,
    dir: &Utf8Path,
    shown: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Compiled, Diagnostics> {
    let declared = sources::load(layout, written, dir, shown)?;
    let service = resolve(&declared, systemd)?;
    if layout.scope == Scope::User && !service.routes.is_empty() {
        let remedy = "take [[route]] out, or declare the service for the system's manager";
        return Err(declared
            .document
            .key_error(&path!["route"], "the system's proxy has no users' services", remedy)
            .into());
    }
    let digests = Digests::of(&service);
    let id = digests.id();
    let units = render::units::render(layout, &service, &id, systemd);
    Ok(Compiled { service, digests, id, units })
}

/// A bug in conductor is an error like others: it must not take others with it.
fn guarded<T>(shown: &Utf8Path, what: &str, work: impl FnOnce() -> Result<T, Diagnostics>) -> Result<T, Diagnostics> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let remedy = format!("this is a bug in conductor: please report it with the {what}");
        Err(Diagnostic::of_file(shown, "the compiler failed", remedy).into())
    })
}

/// Compiles a service where it is declared in the search path.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile_site(layout: &Layout, site: &Site, systemd: Option<u16>) -> Result<Compiled, Diagnostics> {
    compile_at(layout, site, &layout.at(&site.dir), &site.dir, systemd)
}

/// Compiles everything that is declared, beside what is live.
pub fn compile(layout: &Layout, systemd: Option<u16>) -> Host {
    let mut host = Host::default();
    let (sites, errors) = sources::find(layout);
    if !errors.0.is_empty() {
        host.fail(None, errors);
    }
    let others = UnitFiles::list(layout);
    let compile = |site: &Site| {
        others.refuse(&site.name, site)?;
        compile_each(layout, site, &layout.at(&site.dir), &site.dir, systemd)
    };
    for (site, services) in sites.iter().zip(in_parallel(&sites, compile)) {
        match services {
            Ok(services) => services.into_iter().for_each(|(name, outcome)| host.take(&others, site, name, outcome)),
            Err(errors) => host.fail(Some(site.name.clone()), errors),
        }
    }
    let live = live::all(layout);
    refuse_other_kinds(layout, &mut host, &live);
    refuse_taken_routes(layout, &mut host, &live);
    refuse_taken_ports(layout, &mut host, &live);
    refuse_circles(layout, &mut host);
    let kept: Vec<Service> = live.values().filter_map(|live| keep_live(layout, &mut host, live)).collect();
    for compiled in host.services.values() {
        host.tree.extend(compiled.units.clone());
    }
    let aliases = compile_functions(layout, &mut host, systemd, &kept);
    let compiled = host.services.values().map(|compiled| &compiled.service);
    host.tree.extend(proxy_with(layout, &compiled.chain(&kept).collect::<Vec<_>>(), aliases.as_deref()));
    host
}

/// A service that runs in one piece and is declared in parts, or the other way round: one `NAME.service` cannot be both
/// while it runs.
fn refuse_other_kinds(layout: &Layout, host: &mut Host, live: &BTreeMap<ServiceName, Live>) {
    if live.is_empty() {
        return;
    }
    let runs_as_parts = parts_that_run(layout, live);
    let clashes: Vec<_> = host
        .services
        .iter()
        .filter_map(|(name, compiled)| {
            let error = other_kind(&compiled.service, live, &runs_as_parts)?;
            Some((name.clone(), error))
        })
        .collect();
    for (name, error) in clashes {
        host.services.remove(&name);
        host.fail(Some(name), error.into());
    }
}

/// Services whose parts run.
fn parts_that_run(layout: &Layout, live: &BTreeMap<ServiceName, Live>) -> BTreeSet<ServiceName> {
    let dotted = live.keys().filter(|name| part::split(name).is_some());
    dotted.filter_map(|name| Some(live_model(layout, live, name)?.whole?.name)).collect()
}

fn other_kind(
    service: &Service,
    live: &BTreeMap<ServiceName, Live>,
    runs_as_parts: &BTreeSet<ServiceName>,
) -> Option<Diagnostic> {
    let declared = service.declared_as();
    let runs = match &service.whole {
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

/// What `work` makes of each item, in their order, half of it made by a second thread.
fn in_parallel<T: Sync, U: Send>(items: &[T], work: impl Fn(&T) -> U + Sync) -> Vec<U> {
    let (here, there) = items.split_at(items.len() / 2);
    let all = |items: &[T]| items.iter().map(&work).collect::<Vec<_>>();
    thread::scope(|scope| {
        let helper = thread::Builder::new().spawn_scoped(scope, || all(there));
        let mut done = all(here);
        // Where there can be no thread, or it ended badly, the work is done here.
        let rest = helper.ok().and_then(|helper| helper.join().ok());
        done.extend(rest.unwrap_or_else(|| all(there)));
        done
    })
}

/// Lays the units of what is live under what compiled. What did not compile speaks from its
/// snapshot; the service that it is there is returned.
fn keep_live(layout: &Layout, host: &mut Host, live: &Live) -> Option<Service> {
    let compiled = host.services.get(&live.name).map(|compiled| compiled.id.clone());
    let speaks = if compiled.is_none() { Some(live.current(layout)) } else { None };
    for id in &live.generations {
        let units = match speaks {
            _ if compiled.as_ref() == Some(id) => continue,
            Some(current) if current == id => live.units(layout, id),
            _ => live.deployment_units(layout, id),
        };
        match units {
            Ok(units) => host.tree.extend(units),
            Err(error) => host.fail(Some(live.name.clone()), unreadable(layout, live, id, &error)),
        }
    }
    let id = speaks?;
    let model = live.model(layout, id);
    model.map_err(|error| host.fail(Some(live.name.clone()), unreadable(layout, live, id, &error))).ok()
}

fn unreadable(layout: &Layout, live: &Live, id: &Id, error: &std::io::Error) -> Diagnostics {
    let path = layout.snapshot(&live.name, id);
    let remedy = "restart the service: its running deployments have lost their configuration";
    Diagnostic::of_file(&path, format!("the snapshot cannot be read: {error}"), remedy).into()
}

/// Compiles all functions beside the services. Returned are the aliases that the proxy is told of; None where there
/// is no function.
fn compile_functions(
    layout: &Layout,
    host: &mut Host,
    systemd: Option<u16>,
    kept: &[Service],
) -> Option<Vec<render::caddy::Aliased>> {
    let found: Vec<_> = source::find(layout).into_iter().collect();
    let load = |(id, dir): &(function::Id, Utf8PathBuf)| {
        guarded(dir, "function", || source::load_stored(layout, id, dir, systemd))
    };
    for loaded in in_parallel(&found, load) {
        match loaded {
            Ok(compiled) => {
                host.tree.extend(render::cgi::render(layout, &compiled, systemd));
                host.functions.insert(compiled.id.clone(), compiled);
            }
            Err(errors) => host.fail(None, errors),
        }
    }
    if host.functions.is_empty() || layout.scope == Scope::User {
        return None;
    }
    let mut told = Vec::new();
    for (alias, owned) in source::aliases(layout) {
        let Some(compiled) = host.functions.get(&owned.id) else { continue };
        let tls = compiled.function.tls;
        let services = host.services.values().map(|it| &it.service).chain(kept);
        match Clash::of_alias(&alias, tls, services) {
            None => told.push(render::caddy::Aliased { alias, tls, link: owned.link }),
            Some((owner, _)) => {
                let message = format!("{alias} is routed to the service {owner} already");
                let remedy = "take the route out of the service, or the alias out of the function";
                host.fail(None, Diagnostic::of_file(&owned.link, message, remedy).into());
            }
        }
    }
    Some(told)
}

/// The proxy's configuration for these services, and its manifest.
pub fn proxy(layout: &Layout, services: &[&Service]) -> Tree {
    proxy_with(layout, services, None)
}

/// The same where there are functions, with their aliases.
pub fn proxy_with(layout: &Layout, services: &[&Service], aliases: Option<&[render::caddy::Aliased]>) -> Tree {
    let mut tree = Tree::default();
    let mut manifest = String::new();
    for (path, content) in render::caddy::render(layout, services, aliases) {
        let path = Utf8PathBuf::from(OUTPUT).join("proxy").join(path);
        let relative = path.strip_prefix(OUTPUT).unwrap_or(&path);
        manifest.push_str(&format!("{}  {relative}\n", hex(&Sha256::digest(&content))));
        tree.file(path, content);
    }
    tree.file(format!("{OUTPUT}/{MANIFEST}"), manifest);
    tree
}

/// Two services that claim the same host and path: the one that has it already keeps it, else the
/// first by name.
fn refuse_taken_routes(layout: &Layout, host: &mut Host, live: &BTreeMap<ServiceName, Live>) {
    let names: Vec<_> = host.services.keys().cloned().collect();
    // The routes that a service has already, read only for those that quarrel.
    let holds = |name: &ServiceName, clash: &Clash| {
        let model = live_model(layout, live, name);
        model.is_some_and(|model| model.routes.iter().any(|route| clash.is_about(route)))
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
        let clash = routes.iter().find_map(|route| Clash::find(&owners, route));
        let Some(clash) = clash else {
            owners.extend(routes.iter().map(|route| (Claim::of(route), name.clone())));
            continue;
        };
        let (loser, winner) = if holds(&name, &clash) && !holds(&clash.owner, &clash) {
            (&clash.owner, &name)
        } else {
            (&name, &clash.owner)
        };
        if let Some(lost) = host.services.remove(loser) {
            host.fail(Some(loser.clone()), clash.told(layout, &lost.service, winner));
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
    let clash = |compiled: &Compiled| PortClash::find(&owners, &compiled.service);
    let clashes: Vec<_> = host.services.iter().filter_map(|(name, it)| Some((name.clone(), clash(it)?))).collect();
    for (name, clash) in clashes {
        host.services.remove(&name);
        let Some(site) = sources::find_one(layout, &name) else { continue };
        let document = sources::stored_document(layout, &site);
        host.fail(Some(name), document.map_or_else(|error| error, |document| clash.error(&document)).into());
    }
}

/// A port that another service has already.
pub struct PortClash {
    owner: ServiceName,
    port: String,
    /// Which of the declaration's it is.
    index: usize,
}

impl PortClash {
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
fn refuse_circles(layout: &Layout, host: &mut Host) {
    let declared: BTreeSet<_> = host.services.values().map(|it| it.service.declared_as().clone()).collect();
    for name in declared {
        let Some(circle) = circle(host, &name, &name, &mut BTreeSet::new()) else { continue };
        let brought = brought_by(host, &name).position(|brought| *brought == circle[1]);
        let at = path!["service", brought.unwrap_or_default()];
        let names: Vec<_> = circle.iter().map(ServiceName::as_str).collect();
        let message = format!("services bring each other along: {}", names.join(" → "));
        let Some(site) = sources::find_one(layout, &name) else { continue };
        let document = sources::stored_document(layout, &site);
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
    let brings = host.declared_as(name).next().map(|compiled| compiled.service.brings());
    brings.into_iter().flatten().map(|brought| &brought.name)
}

/// The way from a service to `end` over what it brings along, if there is one that has not been `seen`.
fn circle(
    host: &Host,
    from: &ServiceName,
    end: &ServiceName,
    seen: &mut BTreeSet<ServiceName>,
) -> Option<Vec<ServiceName>> {
    let rest = brought_by(host, from).find_map(|brought| {
        if brought == end {
            return Some(vec![end.clone()]);
        }
        seen.insert(brought.clone()).then(|| circle(host, brought, end, seen)).flatten()
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
pub struct Clash {
    pub owner: ServiceName,
    /// What the owner has.
    taken: Claim,
    /// What is claimed beside it.
    claim: Claim,
}

impl Clash {
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
        let clashes =
            |other: &Claim| other.host == claim.host && (other.path == claim.path || other.plain != claim.plain);
        routes.find(|((_, other), _)| clashes(other)).map(|((index, _), service)| (service.name.clone(), index))
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
        let Some(site) = sources::find_one(layout, &loser.name) else { return Diagnostics::default() };
        let document = sources::stored_document(layout, &site);
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
    pub fn refuse(&self, name: &ServiceName, site: &Site) -> Result<(), Diagnostics> {
        let all = self.0.get(&format!("{name}.service"));
        let Some((_, path)) = all.into_iter().flatten().find(|(here, _)| !is_masked(here)) else { return Ok(()) };
        let message = format!("{name}.service is another unit already: {path}");
        Err(Diagnostic::of_file(&site.dir, message, "give the service another name").into())
    }
}

/// Whether systemd takes a unit file for a mask, which belongs to nobody: a link to /dev/null, or an
/// empty file.
fn is_masked(path: &Utf8Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_dir() && found.len() == 0)
}

/// The text of a file in a tree.
pub fn text<'a>(tree: &'a Tree, path: &Utf8Path) -> Option<&'a str> {
    match tree.get(path)? {
        Entry::File { content, .. } => std::str::from_utf8(content).ok(),
        Entry::Symlink { .. } => None,
    }
}
