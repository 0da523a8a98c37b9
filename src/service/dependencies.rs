//! `[[service]]`: services that a declaration needs, declared with it from directories beside its own.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::compile;
use crate::diagnostic::Diagnostics;
use crate::layout::Layout;
use crate::listing;
use crate::model::Dependency;
use crate::names::ServiceName;
use crate::path;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::service::provenance::{self, Provenance};
use crate::source::DECLARATION;
use crate::source::search::{self, Location};

/// A declaration in `dir`, rendered from the directory `from`, and the services that depend on it, the nearest last.
pub(crate) struct Declaration<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) location: &'a Location,
    pub(crate) dir: &'a Utf8Path,
    pub(crate) from: &'a Utf8Path,
    pub(crate) dependents: &'a [ServiceName],
}

impl Declaration<'_> {
    /// Checks that the dependency at an index is declared somewhere, and that it depends on none of its dependents.
    ///
    /// # Errors
    /// What is wrong with it, at its line.
    pub(crate) fn check(&self, index: usize, dependency: &Dependency) -> Result<()> {
        if self.dependents.contains(&dependency.name) {
            let names: Vec<_> = self.dependents.iter().chain([&dependency.name]).map(ServiceName::as_str).collect();
            let message = format!("services depend on each other: {}", names.join(" → "));
            return Err(self.error(index, message, "remove one of these dependencies"));
        }
        let from = self.from.join(&dependency.dir);
        if !from.join(DECLARATION).is_file() {
            let message = format!("there is no service.toml in {from}");
            return Err(self.error(index, message, "name a declaration's directory, relative to this one"));
        }
        Ok(())
    }

    fn error(&self, index: usize, message: String, remedy: &str) -> Failure {
        match search::document(self.layout, self.location, self.dir, self.from) {
            Ok(document) => document.error(&path!["service", index, "dir"], message, remedy).into(),
            Err(error) => error.into(),
        }
    }
}

/// Combines the provenance of a new declaration with that of the one it replaces: services that depended on it still do.
///
/// # Errors
/// If a dependency would replace a service that was declared directly, from another directory.
pub(crate) fn provenance(
    place: &Utf8Path,
    from: &Utf8Path,
    variables: BTreeMap<String, String>,
    name: &ServiceName,
    dependent: Option<&ServiceName>,
) -> Result<Provenance> {
    let dir: Utf8PathBuf = from.canonicalize_utf8()?;
    let before = provenance::read(place)?;
    let is_there = listing::exists(&place.join(DECLARATION))?;
    let was_direct = before.as_ref().map_or(is_there, |before| before.declared_directly);
    let declared_from = before.as_ref().map_or(place, |before| &before.dir);
    let mut required_by = before.as_ref().map_or_else(BTreeSet::new, |before| before.required_by.clone());
    if let Some(dependent) = dependent {
        if was_direct && !required_by.contains(dependent) && declared_from != dir {
            let remedy = format!("give [[service]] another name, or `conductor service rm {name}` first");
            return Err(Failure::Failed(format!("{name} is declared already, from {declared_from}: {remedy}")));
        }
        required_by.insert(dependent.clone());
    }
    Ok(Provenance { dir, variables, declared_directly: was_direct || dependent.is_none(), required_by })
}

/// Lists the dependencies of a service as it is declared now; None if its declaration does not compile.
pub(crate) fn declared(machine: &Machine, name: &ServiceName) -> Option<Vec<ServiceName>> {
    let layout = machine.layout;
    let Some(location) = search::find_one(layout, name).ok()? else { return Some(Vec::new()) };
    let services =
        compile::compile_each(layout, &location, &layout.at(&location.dir), &location.dir, &machine.target());
    // The parts of a service have the same dependencies.
    let service = services.into_iter().flatten().find_map(|(_, outcome): (_, Result<_, Diagnostics>)| outcome.ok())?;
    Some(service.service.dependencies().iter().map(|dependency| dependency.name.clone()).collect())
}
