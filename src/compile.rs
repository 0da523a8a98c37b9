//! Compiling a host: from the declarations on disk to a tree for a target and the proxy.
//!
//! The generator, `render`, `check` and the hooks all come through here: a preview shows what systemd gets. Nothing is
//! rendered but the proxy's configuration, which is of all services together; units are when somebody asks for them.

pub mod canary;
pub(crate) mod conflict;
#[cfg(feature = "cli")]
pub mod export;
pub mod functions;
pub mod host;
pub(crate) mod port;
mod route;
pub(crate) mod unit_files;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use camino::{Utf8Path, Utf8PathBuf};

use crate::compile::conflict::taken_name;
use crate::compile::functions::load_stored_function;
use crate::compile::host::{Compiled, Host};
use crate::compile::unit_files::UnitFiles;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Node;
use crate::generation::Digests;
use crate::layout::{Layout, Scope};
use crate::live::{self, Live};
use crate::model::alias::Alias;
use crate::model::{Footprint, Model, Service};
use crate::names::{self, ServiceName};
use crate::parallel::in_parallel;
use crate::path;
use crate::proxy::chosen::Chosen;
use crate::proxy::claim::RouteConflict;
use crate::proxy::driver::Driver;
use crate::proxy::files;
use crate::proxy::routing::{FunctionRoute, FunctionRoutes};
use crate::resolve::resolve;
use crate::resolve::route::section;
use crate::source;
use crate::source::search::{self, Location, PerService, Written};
use crate::source::settings;
use crate::target::Vocabulary;

/// Compiles one service whose declaration's files are read at `dir` and shown at `shown`.
///
/// # Errors
/// Everything that is wrong with it; a declaration that has parts is not one service.
pub fn compile_at(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Vocabulary,
) -> Result<Compiled, Diagnostics> {
    let mut services = compile_each(layout, location, dir, shown, target)?;
    match (services.pop(), services.is_empty()) {
        (Some((name, outcome)), true) if name == location.name => outcome,
        (last, _) => {
            let names: Vec<_> = services.into_iter().chain(last).map(|(name, _)| name.to_string()).collect();
            let remedy = format!("name one of them: {}", names.join(", "));
            let path = shown.join(source::DECLARATION);
            Err(Diagnostic::of_file(&path, format!("{} has parts", location.name), remedy).into())
        }
    }
}

/// Compiles all that a declaration declares: one service, or its parts.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(crate) fn compile_all(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Vocabulary,
) -> Result<Vec<Compiled>, Diagnostics> {
    let (mut services, mut errors) = (Vec::new(), Diagnostics::default());
    for (_, outcome) in compile_each(layout, location, dir, shown, target)? {
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
/// The errors of all services together.
pub(crate) fn compile_each(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Vocabulary,
) -> Result<PerService<Compiled>, Diagnostics> {
    let compile = |written| compile_written(layout, written, dir, shown, target);
    let services = guarded(shown, "declaration", || search::written(layout, location, dir, shown))?;
    let compiled =
        services.into_iter().map(|(name, written)| (name, guarded(shown, "declaration", || written.and_then(compile))));
    Ok(compiled.collect())
}

/// Compiles what is written for one service.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn compile_written(
    layout: &Layout,
    written: Written,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Vocabulary,
) -> Result<Compiled, Diagnostics> {
    let declared = search::load(layout, written, dir, shown)?;
    let model = resolve(&declared, target.systemd())?;
    target.refuse(&declared, &model).into_result()?;
    let service = &model.service;
    if layout.scope == Scope::User && !service.routes.is_empty() {
        let remedy = "take [[route]] out, or declare the service for the system's manager";
        return Err(declared
            .document
            .key_error(&path!["route"], "the system's proxy has no users' services", remedy)
            .into());
    }
    refuse_unsupported(layout, &declared.document, service)?;
    let digests = Digests::of(&model);
    let id = digests.id();
    let Model { service, systemd } = model;
    Ok(Compiled { service, systemd, digests, id })
}

/// Refuses routes that this host's proxy cannot express.
fn refuse_unsupported(layout: &Layout, document: &Node, service: &Service) -> Result<(), Diagnostic> {
    if service.routes.is_empty() {
        return Ok(());
    }
    let Some(driver) = Chosen::of_host(layout).driver else { return Ok(()) };
    for (number, route) in service.routes.iter().enumerate() {
        if let Some((key, why)) = driver.unsupported(route) {
            let message = format!("with {}, {why}", driver.title());
            let at = section(document, number).join(key);
            return Err(document.key_error(&at, message, "remove it, or use another proxy"));
        }
    }
    Ok(())
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
pub(crate) fn compile_located(
    layout: &Layout,
    location: &Location,
    target: &dyn Vocabulary,
) -> Result<Compiled, Diagnostics> {
    compile_at(layout, location, &layout.at(&location.dir), &location.dir, target)
}

/// Compiles everything that is declared, beside what is live.
pub fn compile(layout: &Layout, target: &dyn Vocabulary) -> Host {
    let (host, compiled) = survey(layout, target, &live::known(layout), |services| services);
    let Host { services: footprints, functions, errors, kept, lost, proxy, is_complete } = host;
    let services = compiled.into_iter().flatten().map(|compiled| (compiled.service.name.clone(), compiled));
    let services = services.filter(|(name, _)| footprints.contains_key(name)).collect();
    Host { services, functions, errors, kept, lost, proxy, is_complete }
}

/// Compiles everything that is declared, beside what is live. What compiles of a declaration is handed to `each` at once,
/// in any order and by two threads, so that models need not be in memory together; what `each` makes of them is returned
/// by name. The host has only those services that lose to no other.
pub fn survey<T: Send>(
    layout: &Layout,
    target: &dyn Vocabulary,
    live: &BTreeMap<ServiceName, Live>,
    each: impl Fn(Vec<Compiled>) -> T + Sync,
) -> (Host<Footprint>, Vec<T>) {
    let mut host = Host::default();
    let chosen = Chosen::of_host(layout);
    // The choice is made once for all services.
    let layout = &chosen.made(layout);
    let (search::Found { locations, errors }, others) = match find(layout) {
        Ok(found) => found,
        Err(error) => {
            host.is_complete = false;
            host.fail(None, error.into());
            Default::default()
        }
    };
    host.errors.extend(errors);
    let survey = |location: &Location| {
        let (names, compiled) = declaration(layout, location, &locations, &others, target)?;
        guarded(&location.dir, "declaration", || Ok((names, each(compiled))))
    };
    let mut made = Vec::new();
    for (location, outcome) in locations.iter().zip(in_parallel(&locations, survey)) {
        match outcome {
            Ok((names, of_it)) => {
                made.push(of_it);
                names.into_iter().for_each(|(name, outcome)| match outcome {
                    Ok(footprint) => drop(host.services.insert(name, footprint)),
                    Err(errors) => host.fail(Some(name), errors),
                });
            }
            Err(errors) => host.fail(Some(location.name.clone()), errors),
        }
    }
    conflict::refuse(layout, &mut host, live);
    host.kept = live.values().filter_map(|live| keep_live(layout, &mut host, live)).collect();
    host.lost = conflict::lost_routes(&host);
    // Services and functions report a file that cannot be read at all.
    if let (Err(error), Ok(_)) = (settings::trusted_proxies(layout), settings::defaults(layout)) {
        host.fail(None, error.into());
    }
    let functions = compile_functions(layout, chosen.driver, &mut host, target);
    let services: Vec<_> = host.services.values().chain(&host.kept).collect();
    host.proxy = files::render(layout, chosen.driver, &services, functions.as_ref());
    (host, made)
}

/// Finds all declarations, and the units of other people beside them.
fn find(layout: &Layout) -> Result<(search::Found, UnitFiles), Diagnostic> {
    Ok((search::find(layout)?, UnitFiles::list(layout)?))
}

/// Compiles a declaration among the others of a host. A part gives way to a service that is declared by its name, and
/// everything to units of other people.
fn declaration(
    layout: &Layout,
    location: &Location,
    locations: &[Location],
    others: &UnitFiles,
    target: &dyn Vocabulary,
) -> Result<(PerService<Footprint>, Vec<Compiled>), Diagnostics> {
    others.refuse(&location.name, location)?;
    let (mut footprints, mut compiled) = (Vec::new(), Vec::new());
    for (name, outcome) in compile_each(layout, location, &layout.at(&location.dir), &location.dir, target)? {
        let owner = locations.binary_search_by(|other| other.name.cmp(&name)).ok().map(|index| &locations[index]);
        let outcome = outcome.and_then(|of_it| {
            others.refuse(&name, location)?;
            match owner.filter(|owner| owner.name != location.name) {
                Some(owner) => {
                    Err(taken_name(&name, &of_it.service.source, &owner.dir.join(source::DECLARATION)).into())
                }
                None => Ok(of_it),
            }
        });
        footprints.push((name, outcome.as_ref().map(|of_it| Footprint::of(&of_it.service)).map_err(Clone::clone)));
        compiled.extend(outcome);
    }
    Ok((footprints, compiled))
}

/// Returns what a live service takes that did not compile: its snapshot speaks for it.
fn keep_live(layout: &Layout, host: &mut Host<Footprint>, live: &Live) -> Option<Footprint> {
    if host.services.contains_key(&live.name) {
        return None;
    }
    let id = live.current(layout);
    match live.service(layout, id) {
        Ok(service) => Some(Footprint::of(&service)),
        Err(error) => {
            host.fail(Some(live.name.clone()), live.unreadable(layout, id, &error));
            None
        }
    }
}

type Functions = (Vec<(names::FunctionId, Utf8PathBuf)>, BTreeMap<Alias, source::functions::Owned>);

fn find_functions(layout: &Layout) -> Result<Functions, Diagnostic> {
    let found = source::functions::find(layout)?.into_iter().collect();
    Ok((found, source::functions::aliases(layout)?))
}

/// Compiles all functions beside the services. Returns what the proxy serves of them; None where there is no function.
fn compile_functions(
    layout: &Layout,
    driver: Option<Driver>,
    host: &mut Host<Footprint>,
    target: &dyn Vocabulary,
) -> Option<FunctionRoutes> {
    let (found, aliases) = match find_functions(layout) {
        Ok(found) => found,
        Err(error) => {
            host.is_complete = false;
            host.fail(None, error.into());
            return None;
        }
    };
    let load = |(id, dir): &(names::FunctionId, Utf8PathBuf)| {
        guarded(dir, "function", || load_stored_function(layout, id, dir, target.systemd()))
    };
    for loaded in in_parallel(&found, load) {
        match loaded {
            Ok(compiled) => drop(host.functions.insert(compiled.id.clone(), compiled)),
            Err(errors) => host.fail(None, errors),
        }
    }
    if host.functions.is_empty() || layout.scope == Scope::User {
        return None;
    }
    Some(FunctionRoutes {
        aliases: alias_routes(driver, host, aliases),
        has_addresses: settings::has_function_addresses(layout).unwrap_or_else(|error| {
            // An address that the file withdraws must not be served because of a mistake in it.
            host.fail(None, error.into());
            false
        }),
        withdrawn: host.functions.values().filter(|it| !it.function.address).map(|it| it.id.clone()).collect(),
        declared: host.functions.values().filter(|it| it.function.address).map(|it| it.id.clone()).collect(),
    })
}

/// Returns the routes of the aliases that no service has and that the proxy can serve.
fn alias_routes(
    driver: Option<Driver>,
    host: &mut Host<Footprint>,
    aliases: BTreeMap<Alias, source::functions::Owned>,
) -> Vec<FunctionRoute> {
    let mut routes = Vec::new();
    for (alias, owned) in aliases {
        let Some(compiled) = host.functions.get(&owned.id) else { continue };
        let tls = compiled.function.tls;
        let services = || host.services.values().chain(&host.kept).map(|it| (&it.name, &it.routes[..]));
        let mut others = services().flat_map(|(_, routes)| routes);
        // On the site of a service, its certificate counts.
        let is_on_site = alias.host.is_some() && others.any(|route| route.host == alias.host);
        match RouteConflict::of_alias(&alias, tls, services()) {
            None => {
                let route = FunctionRoute::new(&compiled.function, alias, owned.link.clone());
                match driver.and_then(|driver| driver.refuses(&route, is_on_site)) {
                    None => routes.push(route),
                    Some((why, remedy)) => host.fail(None, Diagnostic::of_file(&owned.link, why, remedy).into()),
                }
            }
            Some((owner, _)) => {
                let message = format!("{alias} is already routed to the service {owner}");
                let remedy = "remove the route from the service, or the alias from the function";
                host.fail(None, Diagnostic::of_file(&owned.link, message, remedy).into());
            }
        }
    }
    routes
}
