//! Locks of declarations: one command at a time declares, changes or removes a service.
//!
//! Who holds locks waits only for those of names after theirs, so that commands never wait for each other. A declaration
//! and its dependencies are locked in the order in which they depend on each other: where that is another order, `beside`
//! does not wait.

use std::fs::File;
use std::io;

use camino::Utf8PathBuf;

use crate::atomic;
use crate::layout::Layout;
use crate::names::ServiceName;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::source::search::Location;

/// The lock of a declaration. It is released, and its file is gone, when this is dropped.
pub(crate) struct Lock {
    path: Utf8PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that is left is no harm.
        let _ = atomic::remove_file(&self.path);
    }
}

/// Locks the declaration of a service; waits for another holder.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn declaration(layout: &Layout, name: &ServiceName) -> io::Result<Lock> {
    let path = layout.at(&layout.declaration_lock(name));
    let file = atomic::lock(&path)?;
    Ok(Lock { path, _file: file })
}

/// Locks the declarations of two services; waits for other holders.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn both(layout: &Layout, one: &ServiceName, other: &ServiceName) -> io::Result<[Lock; 2]> {
    Ok([declaration(layout, one.min(other))?, declaration(layout, one.max(other))?])
}

/// Locks the declaration of a service while this command holds those of `held`; waits only for a name after theirs.
///
/// # Errors
/// [`Failure::Busy`] if it would wait otherwise; what the file system refuses.
pub(crate) fn beside(layout: &Layout, name: &ServiceName, held: &[ServiceName]) -> Result<Lock> {
    if held.iter().all(|held| held < name) {
        return Ok(declaration(layout, name)?);
    }
    let path = layout.at(&layout.declaration_lock(name));
    let file = atomic::try_lock(&path)?.ok_or_else(|| Failure::Busy(name.clone()))?;
    Ok(Lock { path, _file: file })
}

/// Locks the declaration of a service that is declared.
///
/// # Errors
/// If the service is not declared, or was removed while this waited.
pub(crate) fn declared(machine: &Machine, name: &ServiceName) -> Result<(Lock, Location)> {
    let declared = machine.location(name)?.declared_as().clone();
    let lock = declaration(machine.layout, &declared)?;
    Ok((lock, machine.location(name)?))
}
