//! Compiling declarations for an engine beyond this host: a tree of files for each service.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::Utf8Path;

use crate::compile::host::Compiled;
use crate::compile::{compile_all, compile_written, survey};
use crate::declaration::host::ProxyDriver;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::layout::Layout;
use crate::model::{FileKind, Model};
use crate::names::{GenerationId, ServiceName};
use crate::source::functions::MANIFEST;
use crate::source::read::unreadable;
use crate::source::search::{Location, Written};
use crate::target::{Contents, Export, Input};
use crate::tree::Tree;

/// A rendered service.
#[derive(Debug)]
pub struct Exported {
    pub id: GenerationId,
    pub model: Model,
    pub tree: Tree,
}

/// Renders all that a declaration declares, whose files are read at `dir` and shown at `shown`.
///
/// # Errors
/// Everything that is wrong with it, or that the target cannot express.
pub fn export_at(
    layout: &Layout,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Export,
) -> Result<Vec<Exported>, Diagnostics> {
    let services = compile_all(&without_proxy(layout), location, dir, shown, target)?;
    services.into_iter().map(|compiled| export(compiled, dir, shown, target)).collect()
}

/// Renders what is written for one service.
///
/// # Errors
/// Everything that is wrong with it, or that the target cannot express.
pub(crate) fn export_written(
    layout: &Layout,
    written: Written,
    dir: &Utf8Path,
    shown: &Utf8Path,
    target: &dyn Export,
) -> Result<Exported, Diagnostics> {
    let compiled = compile_written(&without_proxy(layout), written, dir, shown, target)?;
    export(compiled, dir, shown, target)
}

/// Renders everything that is declared on this host.
pub fn export_all(layout: &Layout, target: &dyn Export) -> (Vec<Exported>, Diagnostics) {
    let layout = &without_proxy(layout);
    let render = |services: Vec<Compiled>| {
        let each = services.into_iter().map(|compiled| {
            let shown = compiled.service.source.parent().unwrap_or(Utf8Path::new("/")).to_owned();
            (compiled.service.name.clone(), export(compiled, &layout.at(&shown), &shown, target))
        });
        each.collect::<Vec<_>>()
    };
    let (mut host, rendered) = survey(layout, target, &BTreeMap::new(), render);
    let (mut services, mut errors) = (Vec::new(), Diagnostics::default());
    for (_, outcome) in rendered.into_iter().flatten().filter(|(name, _)| host.services.contains_key(name)) {
        match outcome {
            Ok(exported) => services.push(exported),
            Err(wrong) => errors.0.extend(wrong.0),
        }
    }
    for function in std::mem::take(&mut host.functions).into_values() {
        let remedy = "serve it by a service, as docs/how-to/cgi.md shows for other proxies";
        errors.0.push(Diagnostic::of_file(&function.dir.join(MANIFEST), "functions run on this host alone", remedy));
    }
    errors.0.extend(host.into_errors().0);
    (in_order(services), errors)
}

/// Orders services after those that they depend on.
pub fn in_order(mut services: Vec<Exported>) -> Vec<Exported> {
    services.sort_by(|one, other| one.model.service.name.cmp(&other.model.service.name));
    let mut ordered = Vec::with_capacity(services.len());
    while !services.is_empty() {
        let names = |exported: &Exported| {
            let service = &exported.model.service;
            [service.name.clone(), service.declared_as().clone()]
        };
        let waiting: BTreeSet<ServiceName> = services.iter().flat_map(names).collect();
        let is_ready = |exported: &Exported| {
            let service = &exported.model.service;
            let needed = service.dependencies().iter().map(|other| &other.name).chain(&service.after);
            needed.into_iter().all(|name| !waiting.contains(name))
        };
        let (mut ready, others): (Vec<_>, Vec<_>) = services.into_iter().partition(is_ready);
        // Services that wait for each other stay in the order of their names.
        services = if ready.is_empty() {
            ready = others;
            Vec::new()
        } else {
            others
        };
        ordered.append(&mut ready);
    }
    ordered
}

/// This host's proxy serves nothing of what is rendered for others.
fn without_proxy(layout: &Layout) -> Layout {
    layout.with_proxy(ProxyDriver::None)
}

fn export(compiled: Compiled, dir: &Utf8Path, shown: &Utf8Path, target: &dyn Export) -> Result<Exported, Diagnostics> {
    let contents = contents(&compiled, dir, shown)?;
    let (id, model) = (compiled.id.clone(), compiled.into_model());
    let tree = target.service(Input { model: &model, id: &id, shown, contents: &contents })?;
    Ok(Exported { id, model, tree })
}

fn contents(compiled: &Compiled, dir: &Utf8Path, shown: &Utf8Path) -> Result<Contents, Diagnostic> {
    let files = compiled.service.files.iter().filter(|file| matches!(file.kind, FileKind::Regular { .. }));
    let read = |path: &Utf8Path| {
        let content = fs::read(dir.join(path)).map_err(|error| unreadable(&shown.join(path), &error))?;
        Ok((path.to_owned(), content))
    };
    files.map(|file| read(&file.path)).collect()
}
