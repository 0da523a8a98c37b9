//! A declaration that is proposed: everything that can be checked before it takes effect.

use camino::Utf8Path;

use crate::compile;
use crate::compile::conflict;
use crate::compile::host::{Compiled, Host};
use crate::compile::port::PortOwners;
use crate::compile::unit_files::UnitFiles;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Node;
use crate::engine::pod::{Rendered, Setting};
use crate::engine::start_templates;
use crate::layout::Layout;
use crate::model::{Engine, Footprint, Service};
use crate::names::Deployment;
use crate::proxy::claim::RouteConflict;
use crate::resolve::route;
use crate::service::machine::Machine;
use crate::source::DECLARATION;
use crate::source::functions;
use crate::source::search::{self, Location};

/// A declaration in `dir`, which errors call `shown`, that is to become that of `location`.
struct Proposal<'a> {
    layout: &'a Layout,
    location: &'a Location,
    dir: &'a Utf8Path,
    shown: &'a Utf8Path,
}

/// Compiles the services of a proposed declaration in `dir` and checks them against all others of the host.
///
/// # Errors
/// What is wrong with it, at lines of `shown`.
pub(crate) fn compile(
    machine: &Machine,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Vec<Compiled>, Diagnostics> {
    let (layout, target) = (machine.layout, machine.target());
    let services = compile::compile_all(layout, location, dir, shown, &target)?;
    let units = UnitFiles::list(layout)?;
    units.refuse(&location.name, location)?;
    let host = compile::compile(layout, &target);
    let proposal = Proposal { layout, location, dir, shown };
    for compiled in &services {
        units.refuse(&compiled.service.name, location)?;
        proposal.name(compiled, &host)?;
        template_error(layout, compiled, dir, shown).map_or(Ok(()), Err)?;
        proposal.addresses(compiled, &services, &host)?;
    }
    Ok(services)
}

/// Collects the errors of services of a declaration in `dir` that have a name, port or route of another service.
pub(crate) fn conflicts(
    machine: &Machine,
    location: &Location,
    dir: &Utf8Path,
    shown: &Utf8Path,
    services: &[Compiled],
) -> Diagnostics {
    let host = compile::compile(machine.layout, &machine.target());
    let proposal = Proposal { layout: machine.layout, location, dir, shown };
    let check = |one| proposal.name(one, &host).and_then(|()| proposal.addresses(one, services, &host));
    let found = services.iter().filter_map(|compiled| check(compiled).err());
    Diagnostics(found.flat_map(|errors| errors.0).collect())
}

impl Proposal<'_> {
    /// Refuses a name of another service.
    fn name(&self, compiled: &Compiled, host: &Host) -> Result<(), Diagnostics> {
        let service = &compiled.service;
        conflict::refuse_other_kind(self.layout, &Footprint::of(service))?;
        if let Some(other) =
            host.services.get(&service.name).filter(|other| !self.replaces(&Footprint::of(&other.service)))
        {
            let shown = self.shown.join(DECLARATION);
            return Err(conflict::taken_name(&service.name, &shown, &other.service.source).into());
        }
        Ok(())
    }

    /// Refuses ports and routes of other services.
    fn addresses(&self, compiled: &Compiled, services: &[Compiled], host: &Host) -> Result<(), Diagnostics> {
        let service = &compiled.service;
        let footprint = &Footprint::of(service);
        // What runs keeps what it has, also without a declaration that compiles.
        let declared = host.services.values().map(|other| Footprint::of(&other.service)).chain(host.kept.clone());
        let others = declared.filter(|other| !self.replaces(other));
        let others = others.chain(services.iter().map(|other| Footprint::of(&other.service)));
        if let Some(conflict) =
            PortOwners::of(others.clone().filter(|other| other.name != service.name)).conflict(footprint)
        {
            return Err(conflict.error(&self.document(service)?).into());
        }
        if let Some((number, message)) = alias_conflict(self.layout, host, service)? {
            let document = self.document(service)?;
            let remedy = "give the route another path, or remove the function's alias";
            return Err(document.key_error(&route::section(&document, number), message, remedy).into());
        }
        if let Some(conflict) = RouteConflict::between(footprint, others) {
            return Err(conflict.error(&self.document(service)?, footprint, &conflict.owner).into());
        }
        Ok(())
    }

    fn replaces(&self, other: &Footprint) -> bool {
        match &self.location.group {
            Some(_) => other.name == self.location.name,
            None => *other.declared_as() == self.location.name,
        }
    }

    /// Parses the declaration of one of the services again: only errors need its positions.
    fn document(&self, service: &Service) -> Result<Node, Diagnostics> {
        let location = search::part_of(self.layout, self.location, &service.name)?;
        Ok(search::document(self.layout, &location, self.dir, self.shown)?)
    }
}

/// Finds what is wrong with files of a service that are rendered when a deployment starts.
pub(crate) fn template_error(
    layout: &Layout,
    compiled: &Compiled,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Option<Diagnostic> {
    let checked = start_templates::check(layout.scope, &compiled.model(), dir, shown);
    checked.err().or_else(|| rendered_pod(layout, compiled, dir, shown)?.err())
}

/// Finds what of the pod file of a service is not used, or not as Kubernetes does.
pub(crate) fn pod_notes(layout: &Layout, compiled: &Compiled, dir: &Utf8Path, shown: &Utf8Path) -> Vec<Diagnostic> {
    rendered_pod(layout, compiled, dir, shown).and_then(Result::ok).map_or_else(Vec::new, |rendered| rendered.notes)
}

/// Renders the pod file of a service as for its first deployment; None for another engine.
fn rendered_pod(
    layout: &Layout,
    compiled: &Compiled,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Option<Result<Rendered, Diagnostic>> {
    let Compiled { service, id, .. } = compiled;
    let Engine::Pod(pod) = &service.process.engine else { return None };
    let deployment = &Deployment::new(&service.name, id, 1);
    Some(Setting { layout, deployment, model: service, pod, files: dir, shown }.render())
}

/// Finds a route of a service, by its index, that is an alias of a function.
fn alias_conflict(layout: &Layout, host: &Host, service: &Service) -> Result<Option<(usize, String)>, Diagnostic> {
    let conflict = functions::aliases(layout)?.into_iter().find_map(|(alias, owned)| {
        let function = &host.functions.get(&owned.id)?.function;
        let routes = std::iter::once((&service.name, &service.routes[..]));
        let (_, route) = RouteConflict::of_alias(&alias, function.tls, routes)?;
        Some((route, format!("{alias} belongs to the function {:?}, {}", function.name, owned.id)))
    });
    Ok(conflict)
}
