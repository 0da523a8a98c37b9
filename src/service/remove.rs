//! Removing services, and dependencies that no service needs any more.

use std::collections::BTreeSet;

use crate::names::ServiceName;
use crate::proxy::publish;
use crate::service::event::Event;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::service::parts::members;
use crate::service::{dependencies, job, lock, notes, overrides, provenance};
use crate::source::search;
use crate::{atomic, listing, live};

/// Stops a service and removes its declaration and the dependencies that only it needs.
///
/// # Errors
/// If there is no such service or it belongs to a package; what systemd or the file system refuses.
pub(crate) fn remove(machine: &Machine, name: &ServiceName) -> Result<()> {
    let Machine { layout, manager, .. } = *machine;
    let names = removable(machine, name)?;
    let units: Vec<_> = names.iter().map(ServiceName::unit).collect();
    // Before the stop: another command that is declaring it would start it again.
    let lock = lock::declaration(layout, name)?;
    let place = layout.at(&layout.declaration(name));
    let drop_ins: Vec<_> = names.iter().map(|name| layout.at(&overrides::dir(layout, name))).collect();
    let histories = names.iter().map(|name| layout.at(&layout.history(name)));
    // What cannot be removed whole goes on as it is.
    for path in drop_ins.iter().cloned().chain(histories).chain([place.clone()]) {
        atomic::must_be_removable(&path)?;
    }
    let jobs = names.iter().map(|name| {
        let listing = manager.listing_of(name)?;
        Ok([listing.jobs(name), listing.canaries(name)].concat())
    });
    let jobs = jobs.collect::<Result<Vec<_>>>()?.concat();
    manager.stop(&units)?;
    manager.stop(&jobs)?;
    // Before the reload: a slice that has lost its file is not stopped when its last unit is.
    manager.stop(&names.iter().map(|member| member.slice(name)).collect::<Vec<_>>())?;
    atomic::remove_dir_at_once(&place)?;
    drop_ins.iter().try_for_each(|dir| atomic::remove_dir_at_once(dir))?;
    manager.daemon_reload()?;
    manager.reset_failed(&units);
    job::forget(machine, &jobs)?;
    for name in &names {
        notes::forget(layout, name)?;
    }
    publish::republish(manager)?;
    machine.report(Event::Removed { service: name.clone() });
    drop(lock);
    release(machine, name)
}

/// Returns a service and its parts, if the service can be removed.
fn removable(machine: &Machine, name: &ServiceName) -> Result<BTreeSet<ServiceName>> {
    let layout = machine.layout;
    let (own, members) = (layout.declaration(name), members(layout, name)?);
    // The administrator's own is in force and can be removed, however broken it is.
    if !listing::exists(&layout.at(&own))? {
        if let Some(location) = search::find_one(layout, name)? {
            let remedy = format!("ln -s /dev/null {own}");
            return Err(Failure::Failed(format!("{} belongs to a package; mask it: {remedy}", location.dir)));
        }
        let mut is_live = false;
        for member in &members {
            is_live |= live::of(layout, member)?.is_some();
        }
        if !is_live {
            machine.location(name)?;
        }
    }
    Ok(members.into_iter().chain([name.clone()]).collect())
}

/// Removes the stored dependencies of a service that it does not need any more, except those that other services need and
/// those that were declared directly. The caller holds no lock of a declaration.
///
/// # Errors
/// If systemd refuses a job, or the file system an operation.
pub(crate) fn release(machine: &Machine, dependent: &ServiceName) -> Result<()> {
    let layout = machine.layout;
    for name in provenance::dependencies_of(layout, dependent)? {
        let locks = lock::both(layout, dependent, &name)?;
        // What it needs may be unknown: everything stays then.
        let Some(needed) = dependencies::declared(machine, dependent) else { continue };
        let place = layout.at(&layout.declaration(&name));
        let Some(mut provenance) = provenance::read(&place)?.filter(|_| !needed.contains(&name)) else { continue };
        provenance.required_by.remove(dependent);
        if provenance.declared_directly || !provenance.required_by.is_empty() {
            provenance::write(&place, &provenance)?;
            continue;
        }
        machine.report(Event::Unneeded { service: name.clone() });
        drop(locks);
        if machine.is_running() {
            remove(machine, &name)?;
        } else {
            atomic::remove_dir_at_once(&place)?;
        }
    }
    Ok(())
}
