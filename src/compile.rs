//! The whole pipeline: what is on disk becomes a tree for a target and the proxy.
//!
//! The generator, `render`, `check` and the hooks all come through here: a preview shows what systemd gets.

pub(crate) mod conflict;
pub mod functions;
pub mod host;
pub(crate) mod unit_files;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

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
use crate::model::{Model, Service};
use crate::names::{self, GenerationId, ServiceName};
use crate::path;
use crate::proxy::driver::Driver;
use crate::proxy::files;
use crate::proxy::routing::{FunctionRoute, RouteConflict};
use crate::resolve::resolve;
use crate::resolve::routes::section;
use crate::source;
use crate::source::search::{self, Location, PerService, Written};
use crate::target::Target;

/// Compiles one service whose declaration's files are read at `dir` and shown at `shown`.
///
/// # Errors
/// Everything that is wrong with it; a declaration that has parts is not one service.
pub fn compile_at(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Target,
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
    target: &dyn Target,
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
/// What is wrong with all of it together.
pub(crate) fn compile_each(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Target,
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
    target: &dyn Target,
) -> Result<Compiled, Diagnostics> {
    let declared = search::load(layout, written, dir, shown)?;
    let model = resolve(&declared, target.systemd())?;
    let service = &model.service;
    if layout.scope == Scope::User && !service.routes.is_empty() {
        let remedy = "take [[route]] out, or declare the service for the system's manager";
        return Err(declared
            .document
            .key_error(&path!["route"], "the system's proxy has no users' services", remedy)
            .into());
    }
    refuse_unsupported(&declared.document, service)?;
    let digests = Digests::of(&model);
    let id = digests.id();
    let units = target.service(layout, &model, &id);
    let Model { service, systemd } = model;
    Ok(Compiled { service, systemd, digests, id, units })
}

/// Refuses routes that this host's proxy cannot express.
fn refuse_unsupported(document: &Node, service: &Service) -> Result<(), Diagnostic> {
    let driver = Driver::of_host();
    for (number, route) in service.routes.iter().enumerate() {
        if let Some(what) = driver.unsupported(route) {
            let message = format!("{} has no {what}", driver.title());
            return Err(document.key_error(&section(document, number), message, "remove it, or use another proxy"));
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
    target: &dyn Target,
) -> Result<Compiled, Diagnostics> {
    compile_at(layout, location, &layout.at(&location.dir), &location.dir, target)
}

/// Compiles everything that is declared, beside what is live.
pub fn compile(layout: &Layout, target: &dyn Target) -> Host {
    let mut host = Host::default();
    let (locations, errors) = search::find(layout);
    if !errors.0.is_empty() {
        host.fail(None, errors);
    }
    let others = UnitFiles::list(layout);
    let compile = |location: &Location| {
        others.refuse(&location.name, location)?;
        compile_each(layout, location, &layout.at(&location.dir), &location.dir, target)
    };
    for (location, services) in locations.iter().zip(in_parallel(&locations, compile)) {
        match services {
            Ok(services) => {
                services.into_iter().for_each(|(name, outcome)| take(&mut host, &others, location, name, outcome));
            }
            Err(errors) => host.fail(Some(location.name.clone()), errors),
        }
    }
    let live = live::all(layout);
    conflict::refuse(layout, &mut host, &live);
    let kept: Vec<Service> = live.values().filter_map(|live| keep_live(layout, &mut host, live)).collect();
    for compiled in host.services.values() {
        host.tree.extend(compiled.units.clone());
    }
    let aliases = compile_functions(layout, &mut host, target, &kept);
    let compiled = host.services.values().map(|compiled| &compiled.service);
    host.tree.extend(files::render(layout, &compiled.chain(&kept).collect::<Vec<_>>(), aliases.as_deref()));
    host
}

/// Takes what compiled of a declaration into a host, unless its unit is somebody else's. A part gives way to a service
/// that is declared by its name.
fn take(
    host: &mut Host,
    others: &UnitFiles,
    location: &Location,
    name: ServiceName,
    outcome: Result<Compiled, Diagnostics>,
) {
    match outcome.and_then(|compiled| others.refuse(&name, location).map(|()| compiled)) {
        Ok(compiled) => {
            let source = compiled.service.source.clone();
            if let Some(part) = host.services.insert(name.clone(), compiled) {
                host.fail(Some(name.clone()), taken_name(&name, &part.service.source, &source).into());
            }
        }
        Err(errors) => host.fail(Some(name), errors),
    }
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
    let model = live.service(layout, id);
    model.map_err(|error| host.fail(Some(live.name.clone()), unreadable(layout, live, id, &error))).ok()
}

fn unreadable(layout: &Layout, live: &Live, id: &GenerationId, error: &std::io::Error) -> Diagnostics {
    let path = layout.snapshot(&live.name, id);
    let remedy = "restart the service: its running deployments have lost their configuration";
    Diagnostic::of_file(&path, format!("the snapshot cannot be read: {error}"), remedy).into()
}

/// Compiles all functions beside the services. Returned are the aliases that the proxy is told of; None where there
/// is no function.
fn compile_functions(
    layout: &Layout,
    host: &mut Host,
    target: &dyn Target,
    kept: &[Service],
) -> Option<Vec<FunctionRoute>> {
    let found: Vec<_> = source::functions::find(layout).into_iter().collect();
    let load = |(id, dir): &(names::FunctionId, Utf8PathBuf)| {
        guarded(dir, "function", || load_stored_function(layout, id, dir, target.systemd()))
    };
    for loaded in in_parallel(&found, load) {
        match loaded {
            Ok(compiled) => {
                host.tree.extend(target.function(layout, &compiled));
                host.functions.insert(compiled.id.clone(), compiled);
            }
            Err(errors) => host.fail(None, errors),
        }
    }
    if host.functions.is_empty() || layout.scope == Scope::User {
        return None;
    }
    let mut routes = Vec::new();
    for (alias, owned) in source::functions::aliases(layout) {
        let Some(compiled) = host.functions.get(&owned.id) else { continue };
        let tls = compiled.function.tls;
        let services = host.services.values().map(|it| &it.service).chain(kept);
        match RouteConflict::of_alias(&alias, tls, services) {
            None => routes.push(FunctionRoute { alias, tls, link: owned.link }),
            Some((owner, _)) => {
                let message = format!("{alias} is already routed to the service {owner}");
                let remedy = "remove the route from the service, or the alias from the function";
                host.fail(None, Diagnostic::of_file(&owned.link, message, remedy).into());
            }
        }
    }
    Some(routes)
}
