//! The record of a stored declaration's origin, a file beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::Result;
use crate::layout::Layout;
use crate::listing;
use crate::names::ServiceName;
use crate::source::{PROVENANCE, search};
use crate::write::named;

/// The origin of a stored declaration, and the services that depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provenance {
    /// The directory that it was declared from.
    pub(crate) dir: Utf8PathBuf,
    /// The variables of its templates.
    pub(crate) variables: BTreeMap<String, String>,
    /// Whether the service was declared itself, and not only as a dependency.
    pub(crate) declared_directly: bool,
    /// Services that have it as a dependency.
    pub(crate) required_by: BTreeSet<ServiceName>,
}

/// Reads the provenance of the declaration stored in `dir`; None for one that was written by hand.
///
/// # Errors
/// If the file cannot be read or parsed, with its path.
pub(crate) fn read(dir: &Utf8Path) -> io::Result<Option<Provenance>> {
    let path = dir.join(PROVENANCE);
    let parse = |content: Vec<u8>| serde_json::from_slice(&content).map_err(io::Error::from);
    let read = listing::read(&path).and_then(|content| content.map(parse).transpose());
    read.map_err(|error| named(&path, &error))
}

/// Returns the variables that a service was declared with; empty for one that was written by hand.
///
/// # Errors
/// If the declaration cannot be found, or its provenance cannot be read.
pub(crate) fn variables(layout: &Layout, name: &ServiceName) -> Result<BTreeMap<String, String>> {
    let Some(location) = search::find_one(layout, name)? else { return Ok(BTreeMap::new()) };
    Ok(read(&layout.at(&location.dir))?.map(|provenance| provenance.variables).unwrap_or_default())
}

/// Writes the provenance of the declaration stored in `dir`.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn write(dir: &Utf8Path, provenance: &Provenance) -> io::Result<()> {
    atomic::write_from_beside(&dir.join(PROVENANCE), &serde_json::to_vec_pretty(provenance)?)
}

/// Lists stored services that `dependent` has as dependencies. One whose provenance is garbled is none of them, and stays
/// declared.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn dependencies_of(layout: &Layout, dependent: &ServiceName) -> io::Result<Vec<ServiceName>> {
    let mut dependencies = Vec::new();
    for entry in atomic::entries(&layout.at(&layout.declaration_dirs()[0]))? {
        let provenance = read(entry.path()).ok().flatten();
        if provenance.is_some_and(|provenance| provenance.required_by.contains(dependent)) {
            dependencies.extend(ServiceName::new(entry.file_name()).ok());
        }
    }
    dependencies.sort();
    Ok(dependencies)
}
