//! Declaring services: storing a declaration with its dependencies, applying it, or restoring the one before.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};

use crate::atomic::{self, Staging};
use crate::compile::host::Compiled;
use crate::diagnostic::Diagnostics;
use crate::live::{self, Target};
use crate::model::File;
use crate::names::ServiceName;
use crate::proxy::publish;
use crate::service::dependencies::{self, Declaration};
use crate::service::event::Event;
use crate::service::failure::{Failure, Result};
use crate::service::lifecycle::{apply, report};
use crate::service::machine::Machine;
use crate::service::pins::Pins;
use crate::service::{host_check, lock, notes, promote, proposal, provenance, remove, store};
use crate::source::files::files as source_files;
use crate::source::search::{self, Location};
use crate::source::{DECLARATION, PROVENANCE};
use crate::template;

/// A declaration that is about to be stored.
pub(crate) struct Request {
    /// The directory of `service.toml`.
    pub(crate) dir: Utf8PathBuf,
    pub(crate) name: ServiceName,
    /// The variables of its templates.
    pub(crate) variables: BTreeMap<String, String>,
    /// Whether it is applied, and not only stored.
    pub(crate) applies: bool,
}

/// Declares a service and its dependencies.
///
/// # Errors
/// The errors of the declaration, or why it does not serve; the previous declaration is restored then.
pub(crate) fn declare(machine: &Machine, request: &Request) -> Result<()> {
    let mut declared = Vec::new();
    let outcome = loop {
        match declare_for(machine, request, &[], &mut declared) {
            // This command holds no lock any more, and begins again. Nothing of the service itself has changed.
            Err(Failure::Busy(name)) => drop(lock::declaration(machine.layout, &name)?),
            outcome => break outcome,
        }
    };
    let released = declared.iter().try_for_each(|name| remove::release(machine, name));
    released.and(outcome)
}

/// Declares a service that other services depend on, the nearest of them last. Adds it, and its dependencies, to those
/// `declared`, which may have lost dependencies.
fn declare_for(
    machine: &Machine,
    request: &Request,
    dependents: &[ServiceName],
    declared: &mut Vec<ServiceName>,
) -> Result<()> {
    let _lock = lock::beside(machine.layout, &request.name, dependents)?;
    let outcome = store_and_apply(machine, request, dependents, declared);
    if !declared.contains(&request.name) {
        declared.push(request.name.clone());
    }
    outcome
}

fn store_and_apply(
    machine: &Machine,
    request: &Request,
    dependents: &[ServiceName],
    declared: &mut Vec<ServiceName>,
) -> Result<()> {
    let (layout, name) = (machine.layout, &request.name);
    let place = layout.at(&layout.declaration(name));
    let variables = request.variables.clone();
    let provenance = dependencies::provenance(&place, &request.dir, variables, name, dependents.last())?;
    atomic::create_private_dir(place.parent().unwrap_or(&place))?;
    let staged = atomic::staging(&place)?;
    let dir = Utf8PathBuf::try_from(staged.path().to_owned()).map_err(Failure::failed)?;
    template::render_dir(&request.dir, &dir, &provenance.variables)?;
    provenance::write(&dir, &provenance)?;
    let (services, pins) = compile(machine, request, &dir, dependents, declared)?;

    let is_declared = is_same(&place, &dir)?;
    for Compiled { service, id, .. } in &services {
        let sizes = || service.files.iter().filter_map(File::size);
        let (files, bytes) = (sizes().count(), sizes().sum());
        let (service, generation) = (service.name.clone(), id.clone());
        machine.report(Event::Compiled { service, generation, files, bytes, is_declared });
    }
    if is_declared && !request.applies {
        return Ok(());
    }
    for compiled in &services {
        let name = &compiled.service.name;
        store::store_files(layout, compiled, &dir)
            .map_err(|error| Failure::Failed(format!("{name}: could not store the generation: {error}")))?;
    }
    let before = atomic::replace_dir(staged, &place)?;
    let began = Instant::now();
    for Compiled { service, id, .. } in services.iter().filter(|_| request.applies) {
        // To declare it again is to try it again.
        promote::retry(machine, &service.name, id)?;
    }
    if let Err(failure) = take_effect(machine, request) {
        let restored = pins.undo(layout).map_err(Failure::from);
        if let Err(second) = restored.and_then(|()| restore(machine, name, &services, before)) {
            machine.report(Event::NotUndone(second));
        }
        return Err(failure);
    }
    if !request.applies {
        return Ok(());
    }
    report(machine, name)?;
    if services.iter().any(|compiled| !compiled.service.routes.is_empty())
        && let Some(why) = publish::absent(layout, machine.manager)?
    {
        machine.report(Event::Unrouted { service: name.clone(), why });
    }
    machine.report(Event::Applied { service: name.clone(), took: began.elapsed() });
    Ok(())
}

/// Compiles the rendered declaration in `dir`, declares its dependencies and pins its images.
fn compile(
    machine: &Machine,
    request: &Request,
    dir: &Utf8Path,
    dependents: &[ServiceName],
    declared: &mut Vec<ServiceName>,
) -> Result<(Vec<Compiled>, Pins)> {
    let layout = machine.layout;
    let location = search::new_location(layout, &request.name)?;
    let services = proposal::compile(machine, &location, dir, &request.dir)?;
    let dependents: Vec<_> = dependents.iter().chain([&request.name]).cloned().collect();
    let declaration = Declaration { layout, location: &location, dir, from: &request.dir, dependents: &dependents };
    declare_dependencies(machine, request, &declaration, &services, declared)?;
    check_host(machine, request, &location, dir, &services)?;
    // Images are pulled by the running system only.
    let pins = if machine.is_running() { Pins::update(machine, &services)? } else { Pins::default() };
    if pins.is_empty() {
        return Ok((services, pins));
    }
    let location = search::new_location(layout, &request.name)?;
    match proposal::compile(machine, &location, dir, &request.dir) {
        Ok(services) => Ok((services, pins)),
        Err(errors) => {
            pins.undo(layout)?;
            Err(errors.into())
        }
    }
}

/// Looks for what services need of this host, dependencies included. What is declared to start later may find it then.
fn check_host(
    machine: &Machine,
    request: &Request,
    location: &Location,
    dir: &Utf8Path,
    services: &[Compiled],
) -> Result<()> {
    let (mut errors, mut warnings) = (Diagnostics::default(), Diagnostics::default());
    for compiled in services {
        let found = host_check::check(machine, location, compiled, dir, &request.dir)?;
        let into = if request.applies { &mut errors } else { &mut warnings };
        into.0.extend(found.errors.0);
        warnings.0.extend(found.warnings.0);
    }
    warnings.distinct().0.into_iter().for_each(|warning| machine.report(Event::Warned(warning)));
    Ok(errors.distinct().into_result()?)
}

/// Declares the dependencies of a declaration, before anything of the service itself changes.
fn declare_dependencies(
    machine: &Machine,
    request: &Request,
    declaration: &Declaration,
    services: &[Compiled],
    declared: &mut Vec<ServiceName>,
) -> Result<()> {
    // The parts of a service have the same dependencies.
    let dependencies = services.first().map(|compiled| compiled.service.dependencies()).unwrap_or_default();
    for (index, dependency) in dependencies.iter().enumerate() {
        declaration.check(index, dependency)?;
        let name = dependency.name.clone();
        let (dir, variables) = (request.dir.join(&dependency.dir), dependency.vars.clone());
        let child = Request { dir, name, variables, applies: request.applies };
        let outcome = declare_for(machine, &child, declaration.dependents, declared);
        if outcome.as_ref().is_err_and(|failure| !matches!(failure, Failure::Busy(_))) {
            let (service, dependency) = (request.name.clone(), child.name);
            machine.report(Event::DependencyFailed { service, dependency });
        }
        outcome?;
    }
    Ok(())
}

fn take_effect(machine: &Machine, request: &Request) -> Result<()> {
    if machine.is_running() {
        machine.manager.daemon_reload()?;
    }
    if request.applies { apply(machine, &request.name) } else { Ok(()) }
}

/// Returns whether the declaration stored at `place` is the same as a new one.
fn is_same(place: &Utf8Path, fresh: &Utf8Path) -> Result<bool> {
    if !place.join(DECLARATION).exists() {
        return Ok(false);
    }
    let same_file = |name: &str| fs::read(place.join(name)).ok() == fs::read(fresh.join(name)).ok();
    Ok(same_file(DECLARATION) && same_file(PROVENANCE) && source_files(place, place)? == source_files(fresh, fresh)?)
}

/// Restores the previous declaration, so that a reboot does not start the one that failed.
fn restore(machine: &Machine, name: &ServiceName, failed: &[Compiled], before: Option<Staging>) -> Result<()> {
    let Machine { layout, manager, .. } = *machine;
    let place = layout.at(&layout.declaration(name));
    let Some(before) = before else { return withdraw(machine, name, failed, &place) };
    drop(atomic::replace_dir(before, &place)?);
    manager.daemon_reload()?;
    machine.report(Event::Restored { service: name.clone() });
    // The rollout has restored what served; this is for what failed after it. Somebody may have stopped the service
    // meanwhile: it stays stopped then.
    let unit = name.unit();
    let state = manager.property(&unit, "ActiveState")?;
    if state != "deactivating" && !manager.is_to_stop(&unit) && !live::is_stopped(layout, name) {
        apply(machine, name)?;
    }
    for Compiled { service, id, .. } in failed {
        if Target::read(layout, &service.name)?.is_some_and(|target| target.generation != *id) {
            atomic::remove_dir_at_once(&layout.at(&layout.stored(&service.name, id)))?;
        }
    }
    Ok(())
}

/// Removes a first declaration that failed, and everything that it started.
fn withdraw(machine: &Machine, name: &ServiceName, failed: &[Compiled], place: &Utf8Path) -> Result<()> {
    let Machine { layout, manager, .. } = *machine;
    let names: BTreeSet<_> = failed.iter().map(|compiled| &compiled.service.name).chain([name]).collect();
    let units: Vec<_> = names.iter().map(|name| name.unit()).collect();
    let stopped = manager.stop(&units);
    atomic::remove_dir_at_once(place)?;
    stopped?;
    manager.daemon_reload()?;
    manager.reset_failed(&units);
    for name in names {
        notes::forget(layout, name)?;
    }
    publish::republish(manager)?;
    machine.report(Event::Withdrawn { service: name.clone() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, Scope};
    use crate::service::event::Observer;
    use crate::systemd::Manager;

    struct Silent;

    impl Observer for Silent {
        fn report(&self, _: Event) {}

        fn watch(&self, _: Manager, _: &[ServiceName], work: &mut dyn FnMut()) {
            work();
        }
    }

    #[test]
    fn a_first_declaration_that_fails_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let scratch = Utf8Path::from_path(scratch.path()).unwrap();
        let (root, dir) = (scratch.join("root"), scratch.join("web"));
        let layout = Layout::system(&root);
        let machine = Machine { layout: &layout, manager: Manager::new(Scope::System), observer: &Silent };
        let name = ServiceName::new("web").unwrap();
        let request = Request { dir: dir.clone(), name, variables: BTreeMap::new(), applies: false };
        let declare = |text: &str| {
            fs::write(dir.join(DECLARATION), text).unwrap();
            declare(&machine, &request)
        };
        let left = || {
            let dirs = ["etc/conductor/services", "run/conductor/locks/declare", "var/lib/conductor/generations"];
            let entries = dirs.iter().filter_map(|dir| root.join(dir).read_dir_utf8().ok()).flatten();
            entries.map(|entry| entry.unwrap().file_name().to_owned()).collect::<Vec<_>>()
        };
        fs::create_dir(&dir).unwrap();
        assert!(matches!(declare("[exec]\ncommand = []\n"), Err(Failure::Declaration(_))));
        assert_eq!(left(), Vec::<String>::new());
        assert!(declare("[exec]\ncommand = ['/bin/true']\n").is_ok());
        assert_eq!(left(), ["web", "web"]);
        assert!(declare("[exec]\ncommand = []\n").is_err());
        assert_eq!(left(), ["web", "web"], "what was declared before stays");
    }
}
