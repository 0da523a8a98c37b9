//! Where a stored declaration came from, in a file beside it.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::layout::Layout;
use crate::names::ServiceName;
use crate::source::{PROVENANCE, search};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    pub dir: Utf8PathBuf,
    pub variables: BTreeMap<String, String>,
    /// Somebody declared it, whoever brings it along besides.
    pub by_itself: bool,
    /// Services that bring it along.
    pub brought_by: BTreeSet<ServiceName>,
}

/// Of the declaration stored at `place`; None if somebody wrote that by hand.
pub fn read(place: &Utf8Path) -> Option<Provenance> {
    serde_json::from_slice(&fs::read(place.join(PROVENANCE)).ok()?).ok()
}

/// The variables that a service was declared with; what was not declared from elsewhere has none.
pub fn variables(layout: &Layout, name: &ServiceName) -> BTreeMap<String, String> {
    let provenance = search::find_one(layout, name).and_then(|location| read(&layout.at(&location.dir)));
    provenance.map(|provenance| provenance.variables).unwrap_or_default()
}

/// # Errors
/// What the file system refuses.
pub fn write(place: &Utf8Path, provenance: &Provenance) -> io::Result<()> {
    atomic::write(&place.join(PROVENANCE), &serde_json::to_vec_pretty(provenance)?)
}

/// Stored services that are brought along by another.
///
/// # Errors
/// A directory that cannot be listed.
pub fn brought_by(layout: &Layout, bringer: &ServiceName) -> io::Result<Vec<ServiceName>> {
    let mut dependency = Vec::new();
    for entry in atomic::entries(&layout.at(&layout.declaration_dirs()[0]))? {
        let provenance = read(entry.path());
        if provenance.is_some_and(|provenance| provenance.brought_by.contains(bringer)) {
            dependency.extend(ServiceName::new(entry.file_name()).ok());
        }
    }
    dependency.sort();
    Ok(dependency)
}
