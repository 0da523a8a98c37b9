//! Removing services, and dependencies that no service needs any more.

use std::collections::BTreeSet;

use crate::names::ServiceName;
use crate::proxy::publish;
use crate::service::event::Event;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::service::parts::members;
use crate::service::{lock, notes, overrides, provenance};
use crate::source::search;
use crate::{atomic, live};

/// Stops a service and removes its declaration and the dependencies that only it needs.
///
/// # Errors
/// If there is no such service or it belongs to a package; what systemd or the file system refuses.
pub(crate) fn remove(machine: &Machine, name: &ServiceName) -> Result<()> {
    let Machine { layout, manager, .. } = *machine;
    let names = removable(machine, name)?;
    let units: Vec<_> = names.iter().map(ServiceName::unit).collect();
    // Before the stop: another command that is declaring it would start it again.
    let _lock = lock::declaration(layout, name)?;
    let place = layout.at(&layout.declaration(name));
    let drop_ins: Vec<_> = names.iter().map(|name| layout.at(&overrides::dir(layout, name))).collect();
    let histories = names.iter().map(|name| layout.at(&layout.history(name)));
    // What cannot be removed whole goes on as it is.
    for path in drop_ins.iter().cloned().chain(histories).chain([place.clone()]) {
        atomic::must_be_removable(&path)?;
    }
    manager.stop(&units)?;
    atomic::remove_dir_at_once(&place)?;
    drop_ins.iter().try_for_each(|dir| atomic::remove_dir_at_once(dir))?;
    manager.daemon_reload()?;
    manager.reset_failed(&units);
    for name in &names {
        notes::forget(layout, name)?;
    }
    atomic::remove_file(&layout.at(&layout.declaration_lock(name)))?;
    publish::republish(manager)?;
    machine.report(Event::Removed { service: name.clone() });
    release(machine, name, &[])
}

/// Returns a service and its parts, if the service can be removed.
fn removable(machine: &Machine, name: &ServiceName) -> Result<BTreeSet<ServiceName>> {
    let layout = machine.layout;
    // A broken declaration can be removed; one of a package is not the administrator's.
    let location = search::find_one(layout, name).ok().flatten();
    let own = layout.declaration(name);
    if let Some(location) = location.as_ref().filter(|location| location.dir != own) {
        let remedy = format!("ln -s /dev/null {own}");
        return Err(Failure::Failed(format!("{} belongs to a package; mask it: {remedy}", location.dir)));
    }
    let members = members(layout, name)?;
    let mut is_live = false;
    for member in &members {
        is_live |= live::of(layout, member)?.is_some();
    }
    if location.is_none() && !is_live && !layout.at(&own).exists() {
        machine.location(name)?;
    }
    Ok(members.into_iter().chain([name.clone()]).collect())
}

/// Removes the stored dependencies of a service, except those to `keep`, those that other services need and those that
/// were declared directly.
///
/// # Errors
/// If systemd refuses a job, or the file system an operation.
pub(crate) fn release(machine: &Machine, dependent: &ServiceName, keep: &[ServiceName]) -> Result<()> {
    let layout = machine.layout;
    let stored = provenance::dependencies_of(layout, dependent)?;
    for name in stored.into_iter().filter(|name| !keep.contains(name)) {
        let lock = lock::declaration(layout, &name)?;
        let place = layout.at(&layout.declaration(&name));
        let Some(mut provenance) = provenance::read(&place) else { continue };
        provenance.required_by.remove(dependent);
        if provenance.declared_directly || !provenance.required_by.is_empty() {
            provenance::write(&place, &provenance)?;
            continue;
        }
        machine.report(Event::Unneeded { service: name.clone() });
        drop(lock);
        if machine.is_running() {
            remove(machine, &name)?;
        } else {
            atomic::remove_dir_at_once(&place)?;
        }
    }
    Ok(())
}
