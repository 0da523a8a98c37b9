//! What compiled: services, functions, and everything that belongs into the generator's directory.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostics;
use crate::generation::Digests;
use crate::model::{Model, Service, Systemd, function};
use crate::names::{FunctionId, GenerationId, ServiceName};
use crate::tree::Tree;

/// One compiled service.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub service: Service,
    /// What its declaration says to systemd alone.
    pub systemd: Systemd,
    pub digests: Digests,
    pub id: GenerationId,
    /// What the target makes of it: its units.
    pub units: Tree,
}

impl Compiled {
    /// Returns what the service was compiled from.
    pub fn model(&self) -> Model {
        Model { service: self.service.clone(), systemd: self.systemd.clone() }
    }
}

/// A compiled host.
#[derive(Debug, Default)]
pub struct Host {
    pub services: BTreeMap<ServiceName, Compiled>,
    pub functions: BTreeMap<FunctionId, function::Compiled>,
    /// What did not compile, by service; errors that belong to none are under None.
    pub errors: BTreeMap<Option<ServiceName>, Diagnostics>,
    /// Everything that belongs into the generator's directory.
    pub tree: Tree,
}

impl Host {
    /// The services that are declared under a name: its own, or its parts.
    pub(crate) fn declared_as<'a>(&'a self, name: &'a ServiceName) -> impl Iterator<Item = &'a Compiled> {
        let from_it = self.services.range(name..).take_while(|(other, _)| other.as_str().starts_with(name.as_str()));
        from_it.map(|(_, compiled)| compiled).filter(move |compiled| compiled.service.declared_as() == name)
    }

    /// Whether a service is declared, be it that its declaration does not compile: what a broken one declares
    /// nobody knows, so that it may have any part.
    pub(crate) fn declares(&self, name: &ServiceName) -> bool {
        let broken = |name: &ServiceName| self.errors.contains_key(&Some(name.clone()));
        self.declared_as(name).next().is_some()
            || self.services.contains_key(name)
            || broken(name)
            || name.split_part().is_some_and(|(group, _)| broken(&group))
    }

    /// Everything that is wrong.
    pub(crate) fn into_errors(self) -> Diagnostics {
        Diagnostics(self.errors.into_values().flat_map(|errors| errors.0).collect()).distinct()
    }

    pub(super) fn fail(&mut self, name: Option<ServiceName>, errors: Diagnostics) {
        self.errors.entry(name).or_default().0.extend(errors.0);
    }
}
