//! Locks of declarations: one command at a time declares, changes or removes a service.

use std::fs::File;
use std::io;

use crate::atomic;
use crate::layout::Layout;
use crate::names::ServiceName;
use crate::service::failure::Result;
use crate::service::machine::Machine;
use crate::source::search::Location;

/// Locks the declaration of a service until dropped; waits for another holder.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn declaration(layout: &Layout, name: &ServiceName) -> io::Result<File> {
    atomic::lock(&layout.at(&layout.declaration_lock(name)))
}

/// Locks the declaration of a service that is declared. Leaves no lock file of one that is not.
///
/// # Errors
/// If the service is not declared, or was removed while this waited.
pub(crate) fn declared(machine: &Machine, name: &ServiceName) -> Result<(File, Location)> {
    let layout = machine.layout;
    let declared = machine.location(name)?.declared_as().clone();
    let lock = declaration(layout, &declared)?;
    match machine.location(name) {
        Ok(location) => Ok((lock, location)),
        Err(gone) => {
            atomic::remove_file(&layout.at(&layout.declaration_lock(&declared)))?;
            Err(gone)
        }
    }
}
