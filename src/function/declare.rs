//! Declaring functions: checking a manifest, storing it under its digest and giving it its aliases.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::compile;
use crate::compile::functions::load_function;
use crate::compile::host::Host;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Node, Value};
use crate::engine::images;
use crate::function::find::name;
use crate::function::host_check;
use crate::function::store;
use crate::layout::Layout;
use crate::model::Engine;
use crate::model::alias::Alias;
use crate::model::function::Compiled;
use crate::names::FunctionId;
use crate::proxy::chosen::Chosen;
use crate::proxy::claim::RouteConflict;
use crate::proxy::publish;
use crate::proxy::routing::FunctionRoute;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::source::functions::{self, MANIFEST, Owned};
use crate::{atomic, path};

/// Locks functions until dropped: one command at a time declares or removes one.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn lock(layout: &Layout) -> io::Result<File> {
    atomic::lock(&layout.at(&layout.functions_lock()))
}

/// Returns the path of a manifest, from it or its directory.
fn manifest_of(path: &Utf8Path) -> Utf8PathBuf {
    if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() }
}

fn directory_of(manifest: &Utf8Path) -> &Utf8Path {
    manifest.parent().filter(|dir| !dir.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

/// Compiles the function of a manifest, or of a directory with one, in a scratch directory and works on that.
///
/// # Errors
/// The errors of the function, or those of `work`.
pub(crate) fn with_gathered<T, E: From<Failure>>(
    machine: &Machine,
    path: &Utf8Path,
    variables: &BTreeMap<String, String>,
    work: impl FnOnce(&Compiled, &Utf8Path) -> Result<T, E>,
) -> Result<T, E> {
    let scratch = tempfile::tempdir().map_err(Failure::from)?;
    let dir = Utf8Path::from_path(scratch.path()).ok_or_else(|| Failure::failed("TMPDIR is not UTF-8"))?;
    let manifest = manifest_of(path);
    store::gather(&manifest, variables, dir).map_err(Failure::from)?;
    let compiled = load_function(machine.layout, dir, directory_of(&manifest), machine.systemd());
    work(&compiled.map_err(Failure::from)?, dir)
}

/// Declares the function of a manifest, or of a directory with one, and serves it if `starts`.
///
/// # Errors
/// The errors of the function, or why it cannot be served; it is not declared then.
pub(crate) fn declare(
    machine: &Machine,
    path: &Utf8Path,
    variables: &BTreeMap<String, String>,
    starts: bool,
) -> Result<FunctionId> {
    let layout = machine.layout;
    let manifest = manifest_of(path);
    let _lock = lock(layout)?;
    let staged = store::staging(layout)?;
    let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(Failure::failed)?;
    store::gather(&manifest, variables, &dir)?;
    let compiled = load_function(layout, &dir, directory_of(&manifest), machine.systemd())?;
    let host = compile::compile(layout, &machine.target());
    let document = functions::document(&dir, &manifest)?;
    refuse_taken(layout, &compiled, &host, &document)?;
    if machine.is_running() {
        provide(layout, &compiled, &document, &dir)?;
    }
    let is_declared = host.functions.contains_key(&compiled.id);
    if !is_declared {
        store::put(layout, staged, &compiled)?;
    }
    // A new alias is published together with the socket; one that moves here moves when the function is ready.
    let owners = functions::aliases(layout)?;
    let (moving, new): (Vec<_>, Vec<_>) = compiled.function.claims().partition(|alias| owners.contains_key(alias));
    for alias in &new {
        store::give(layout, alias, &compiled)?;
    }
    if let Err(failure) = take_effect(machine, &compiled, is_declared && new.is_empty(), starts) {
        undo(machine, &compiled, is_declared, &new)?;
        return Err(failure);
    }
    for alias in &moving {
        store::give(layout, alias, &compiled)?;
    }
    // The proxy follows the link to another function by itself, but it does not know other files.
    let has_files =
        |owned: &Owned| host.functions.get(&owned.id).is_some_and(|it| !it.function.static_files.is_empty());
    let is_moving = moving.iter().any(|alias| owners.get(alias).is_some_and(|owned| owned.id != compiled.id));
    let were_files = moving.iter().filter_map(|alias| owners.get(alias)).any(has_files);
    if machine.is_running() && is_moving && (were_files || !compiled.function.static_files.is_empty()) {
        machine.manager.daemon_reload()?;
        publish::republish(machine.manager)?;
    }
    Ok(compiled.id)
}

/// Checks that the host has what a function needs, and pulls its image.
fn provide(layout: &Layout, compiled: &Compiled, document: &Node, dir: &Utf8Path) -> Result<()> {
    host_check::check(layout.scope, compiled, document, dir).into_result()?;
    if let Engine::Container(container) = &compiled.function.process.engine {
        images::provide(&compiled.function.name, container)?;
    }
    Ok(())
}

/// Loads and starts what was stored, on a running machine.
fn take_effect(machine: &Machine, compiled: &Compiled, is_unchanged: bool, starts: bool) -> Result<()> {
    if !machine.is_running() {
        return Ok(());
    }
    if !is_unchanged {
        machine.manager.daemon_reload()?;
    }
    if starts {
        machine.manager.start(&[format!("{}.socket", compiled.id.unit())])?;
    }
    Ok(publish::republish(machine.manager)?)
}

/// Removes a function that could not be served, unless it was declared before.
fn undo(machine: &Machine, compiled: &Compiled, was_declared: bool, new: &[&Alias]) -> Result<()> {
    let Machine { layout, manager, .. } = *machine;
    for alias in new {
        store::take(layout, alias)?;
    }
    if !was_declared {
        if machine.is_running() {
            let _ = manager.stop(&[format!("{}.socket", compiled.id.unit())]);
        }
        store::remove(layout, &store::base(layout).join(compiled.id.as_str()))?;
    }
    if machine.is_running() {
        manager.daemon_reload()?;
    }
    Ok(())
}

/// Refuses aliases that services or functions of another name have, or that the proxy cannot serve.
fn refuse_taken(layout: &Layout, compiled: &Compiled, host: &Host, document: &Node) -> Result<(), Diagnostics> {
    let mut errors = Diagnostics::default();
    let function = &compiled.function;
    let driver = Chosen::of_host(layout).driver;
    for alias in function.claims() {
        let route = FunctionRoute::new(function, alias.clone(), store::link(layout, alias));
        let mut others = host.services.values().flat_map(|it| &it.service.routes);
        let is_on_site = alias.host.is_some() && others.any(|other| other.host == alias.host);
        if let Some((why, remedy)) = driver.and_then(|driver| driver.refuses(&route, is_on_site)) {
            errors.0.push(at_alias(document, alias, format!("{alias}: {why}"), remedy));
        }
        let services = host.services.values().map(|it| (&it.service.name, &it.service.routes[..]));
        if let Some((owner, _)) = RouteConflict::of_alias(alias, function.tls, services) {
            let message = format!("{alias} is already routed to the service {owner}");
            errors.0.push(at_alias(document, alias, message, "choose another alias"));
        }
        for (other, owned) in functions::aliases(layout)? {
            errors.0.extend(taken_by(layout, compiled, host, document, (alias, &other, &owned)));
        }
    }
    errors.into_result()
}

/// Returns the conflict of an alias with the alias `other` of another function.
fn taken_by(
    layout: &Layout,
    compiled: &Compiled,
    host: &Host,
    document: &Node,
    (alias, other, owned): (&Alias, &Alias, &Owned),
) -> Option<Diagnostic> {
    if other.host != alias.host {
        return None;
    }
    let function = &compiled.function;
    let owner = host.functions.get(&owned.id).map(|it| &it.function);
    let owner_name = owner.map_or_else(|| name(layout, &owned.id), |owner| owner.name.clone());
    let is_same_function = owner_name == function.name;
    if other.path.eq_ignore_ascii_case(&alias.path) && !(is_same_function && other == alias) {
        let message = format!("{alias} belongs to the function {owner_name:?}, {}", owned.id);
        return Some(at_alias(document, alias, message, "choose another alias, or remove that function"));
    }
    if alias.host.is_some() && !is_same_function && owner.is_some_and(|owner| owner.tls != function.tls) {
        let id = owned.id.short();
        let message = format!("the function {owner_name} ({id}) uses a different `tls` setting for this host");
        return Some(at_alias(document, alias, message, "write the same tls for all aliases of a host"));
    }
    None
}

/// An error at the line of an alias.
fn at_alias(document: &Node, alias: &Alias, message: String, remedy: &str) -> Diagnostic {
    let items = document.get(&path!["aliases"]).map_or(&[][..], Node::items);
    let is_it = |item: &Node| match &item.value {
        Value::String(text) => text.trim_end_matches('/').eq_ignore_ascii_case(alias.to_string().trim_end_matches('/')),
        _ => false,
    };
    let is_static = document.get(&path!["static"]).is_some();
    let otherwise = || if is_static { path!["static"] } else { path!["aliases"] };
    let at = items.iter().position(is_it).map_or_else(otherwise, |index| path!["aliases", index]);
    document.error(&at, message, remedy)
}
