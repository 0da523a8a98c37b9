//! A compiled host: services, functions, the proxy's configuration, and errors.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::generation::Digests;
use crate::layout::Layout;
use crate::live::{self, Live};
use crate::model::{Footprint, Model, Service, Systemd, function};
use crate::names::{FunctionId, GenerationId, ServiceName};
use crate::target::Target;
use crate::tree::Tree;

/// One compiled service.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub service: Service,
    /// The declared settings that only systemd has.
    pub systemd: Systemd,
    pub digests: Digests,
    pub id: GenerationId,
}

impl Compiled {
    /// Returns what the service was compiled from.
    pub fn model(&self) -> Model {
        self.clone().into_model()
    }

    pub(super) fn into_model(self) -> Model {
        Model { service: self.service, systemd: self.systemd }
    }

    /// Renders what a target makes of it: its units.
    pub fn units(&self, layout: &Layout, target: &dyn Target) -> Tree {
        self.clone().into_units(layout, target)
    }

    /// Renders what a target makes of it, without a copy of the model.
    pub fn into_units(self, layout: &Layout, target: &dyn Target) -> Tree {
        let id = self.id.clone();
        target.service(layout, &self.into_model(), &id)
    }
}

/// A compiled host; `S` is what is known of each service.
#[derive(Debug)]
pub struct Host<S = Compiled> {
    pub services: BTreeMap<ServiceName, S>,
    pub functions: BTreeMap<FunctionId, function::Compiled>,
    /// What did not compile, by service; errors that belong to none are under None.
    pub errors: BTreeMap<Option<ServiceName>, Diagnostics>,
    /// What runs and is not among the services, since it is not declared or its declaration does not compile: its
    /// snapshot speaks for it.
    pub(crate) kept: Vec<Footprint>,
    /// Services that run, are not declared, and have lost routes to those that are.
    pub lost: BTreeMap<ServiceName, Diagnostic>,
    /// Whether all directories of declarations could be listed: else nothing is known to be undeclared.
    pub is_complete: bool,
    /// The configuration of the proxy, as it belongs into the generator's directory.
    pub proxy: Tree,
}

impl<S> Default for Host<S> {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            functions: BTreeMap::new(),
            errors: BTreeMap::new(),
            kept: Vec::new(),
            lost: BTreeMap::new(),
            is_complete: true,
            proxy: Tree::default(),
        }
    }
}

impl<S> Host<S> {
    /// Everything that is wrong.
    pub(crate) fn into_errors(self) -> Diagnostics {
        Diagnostics(self.errors.into_values().flat_map(|errors| errors.0).collect()).distinct()
    }

    /// Fails if directories of declarations could not be listed: what is declared is unknown then.
    ///
    /// # Errors
    /// The errors that belong to no service.
    pub(crate) fn must_be_complete(&self) -> Result<(), Diagnostics> {
        if self.is_complete { Ok(()) } else { Err(self.errors.get(&None).cloned().unwrap_or_default()) }
    }

    /// Returns whether a service may be declared that is not among those that compiled.
    pub(super) fn may_declare(&self, name: &ServiceName) -> bool {
        let broken = |name: &ServiceName| self.errors.contains_key(&Some(name.clone()));
        !self.is_complete || broken(name) || name.split_part().is_some_and(|(group, _)| broken(&group))
    }

    /// Adds what is wrong with a service, or with none of them.
    pub fn fail(&mut self, name: Option<ServiceName>, errors: Diagnostics) {
        self.errors.entry(name).or_default().0.extend(errors.0);
    }

    /// Takes out a service that cannot be beside the others.
    pub(super) fn refuse(&mut self, name: ServiceName, errors: Diagnostics) {
        self.services.remove(&name);
        self.fail(Some(name), errors);
    }
}

impl Host {
    /// The services that are declared under a name: its own, or its parts.
    pub(crate) fn declared_as<'a>(&'a self, name: &'a ServiceName) -> impl Iterator<Item = &'a Compiled> {
        declared_as(&self.services, name, |compiled| compiled.service.declared_as())
    }

    /// Returns whether a service may be declared, also if its declaration does not compile: the parts of a broken one are
    /// unknown, so that it may have any part.
    pub(crate) fn declares(&self, name: &ServiceName) -> bool {
        self.declared_as(name).next().is_some() || self.services.contains_key(name) || self.may_declare(name)
    }

    /// Renders everything that belongs into the generator's directory: the units of what is live, under those of what
    /// compiled. A live generation that cannot be read is one of the host's errors then.
    pub fn tree(&mut self, layout: &Layout, target: &dyn Target) -> Tree {
        let mut tree = Tree::default();
        for live in live::known(layout).values() {
            tree.extend(self.live_units(layout, live));
        }
        for compiled in self.services.values() {
            tree.extend(compiled.units(layout, target));
        }
        for compiled in self.functions.values() {
            tree.extend(target.function(layout, compiled));
        }
        tree.extend(self.proxy.clone());
        tree
    }

    /// Reads the units of a live service. Beside a declaration that compiles, only its deployments have theirs from the
    /// snapshots.
    fn live_units(&mut self, layout: &Layout, live: &Live) -> Tree {
        let mut tree = Tree::default();
        let compiled = self.services.get(&live.name).map(|compiled| compiled.id.clone());
        let current = live.current(layout);
        for id in live.generations.iter().filter(|id| compiled.as_ref() != Some(*id)) {
            let speaks = compiled.is_none() && id == current;
            match if speaks { live.units(layout, id) } else { live.deployment_units(layout, id) } {
                Ok(units) => tree.extend(units),
                Err(error) => self.fail(Some(live.name.clone()), live.unreadable(layout, id, &error)),
            }
        }
        tree
    }
}

/// Lists the services that are declared under a name; `of` returns the name that a service is declared under.
pub(super) fn declared_as<'a, S>(
    services: &'a BTreeMap<ServiceName, S>,
    name: &'a ServiceName,
    of: fn(&S) -> &ServiceName,
) -> impl Iterator<Item = &'a S> {
    // A part's name begins with its group's.
    let from_it = services.range(name..).take_while(|(other, _)| other.as_str().starts_with(name.as_str()));
    from_it.map(|(_, service)| service).filter(move |service| of(service) == name)
}
