//! Unit files of others: a generated unit must neither hide one nor be hidden by one.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::layout::Layout;
use crate::listing;
use crate::names::ServiceName;
use crate::source::read;
use crate::source::search::Location;

/// Unit files of others: a generated unit must neither hide one nor be hidden. By name, in the order in which systemd
/// looks for them: where each is, and how it is called there.
#[derive(Default)]
pub(crate) struct UnitFiles(BTreeMap<String, Vec<(Utf8PathBuf, Utf8PathBuf)>>);

impl UnitFiles {
    /// # Errors
    /// A directory of unit files that cannot be listed.
    pub(crate) fn list(layout: &Layout) -> Result<Self, Diagnostic> {
        let mut files: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for dir in layout.unit_file_dirs() {
            let here = layout.at(dir);
            // /lib is a link to /usr/lib on merged systems.
            if !seen.insert(here.canonicalize_utf8().unwrap_or_else(|_| here.clone())) {
                continue;
            }
            for name in listing::names(&here).map_err(|error| read::unreadable(dir, &error))? {
                let place = (here.join(&name), dir.join(&name));
                files.entry(name).or_default().push(place);
            }
        }
        Ok(Self(files))
    }

    /// # Errors
    /// If another package or the administrator owns the unit of a service.
    pub(crate) fn refuse(&self, name: &ServiceName, location: &Location) -> Result<(), Diagnostics> {
        let all = self.0.get(&name.unit());
        let Some((_, path)) = all.into_iter().flatten().find(|(here, _)| !is_masked(here)) else { return Ok(()) };
        let message = format!("{name}.service already exists as another unit: {path}");
        Err(Diagnostic::of_file(&location.dir, message, "give the service another name").into())
    }
}

/// Returns whether systemd treats a unit file as a mask, which has no owner: a link to /dev/null, or an
/// empty file.
fn is_masked(path: &Utf8Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_dir() && found.len() == 0)
}
