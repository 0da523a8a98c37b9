//! Notes that commands and hooks leave for each other: which services an administrator stopped, and why a start or
//! reload failed.

use fs_err as fs;
use std::collections::BTreeSet;
use std::io;

use camino::Utf8PathBuf;

use crate::atomic;
use crate::error::Error;
use crate::layout::Layout;
use crate::names::ServiceName;
use crate::service::{public, record};

/// Reads why the last start or reload of a service failed; None if it did not.
pub(crate) fn failure(layout: &Layout, name: &ServiceName) -> Option<String> {
    fs::read_to_string(layout.at(&failure_note(layout, name))).ok()
}

/// Writes why a start or reload failed, or with None removes the note.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn write_failure(layout: &Layout, name: &ServiceName, error: Option<&Error>) -> io::Result<()> {
    let path = layout.at(&failure_note(layout, name));
    let Some(error) = error else { return atomic::remove_file(&path) };
    create_parent(&path)?;
    atomic::write(&path, error.to_string().as_bytes())
}

/// Notes that an administrator stopped the service.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn mark_stopped(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    let mark = layout.at(&layout.stopped_mark(name));
    create_parent(&mark)?;
    atomic::write(&mark, b"")
}

/// Removes the note that an administrator stopped the service.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn clear_stopped(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    atomic::remove_file(&layout.at(&layout.stopped_mark(name)))
}

/// Lists services that have notes or stored generations, whether they are declared or not.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn remembered(layout: &Layout) -> io::Result<BTreeSet<ServiceName>> {
    let mut names = BTreeSet::new();
    for dir in [layout.stopped(), layout.failures(), layout.histories()] {
        for entry in atomic::entries(&layout.at(&dir))? {
            names.extend(ServiceName::new(entry.file_name()).ok());
        }
    }
    Ok(names)
}

/// Removes the notes, locks and stored generations of a service that is stopped and no longer declared.
///
/// # Errors
/// What cannot be removed.
pub(crate) fn forget(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    clear_stopped(layout, name)?;
    write_failure(layout, name, None)?;
    record::forget(layout, name)?;
    for lock in [layout.lock(name), layout.slots_lock(name)].map(|lock| layout.at(&lock)) {
        let _held = atomic::lock(&lock)?;
        atomic::remove_file(&lock)?;
    }
    public::forget(layout, name)?;
    atomic::remove_dir_at_once(&layout.at(&layout.history(name)))
}

fn failure_note(layout: &Layout, name: &ServiceName) -> Utf8PathBuf {
    layout.failures().join(name.as_str())
}

fn create_parent(path: &Utf8PathBuf) -> io::Result<()> {
    path.parent().map_or(Ok(()), atomic::private_dir)
}
