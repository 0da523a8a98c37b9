//! Stored generations that have served, to roll back to.

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::SystemTime;

use camino::Utf8PathBuf;

use crate::compile;
use crate::compile::host::Compiled;
use crate::diagnostic::Diagnostics;
use crate::layout::Layout;
use crate::names::{GenerationId, ServiceName};
use crate::service::overrides::{self, Changes};
use crate::service::store::{DECLARED, FILES, OVERRIDES, SERVED};
use crate::source::search::{self, Location};
use crate::source::{DECLARATION, PROVENANCE, files, read};
use crate::target::Target;
use crate::tree::Entry;
use crate::{atomic, write};

/// A generation that has served and whose files are still stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastGeneration {
    pub(crate) id: GenerationId,
    /// When it last came into service.
    pub(crate) served: SystemTime,
    /// Its directory, below the root.
    place: Utf8PathBuf,
}

/// Lists the past generations of a service, the one that served last first.
///
/// # Errors
/// A directory that cannot be listed.
pub(crate) fn all(layout: &Layout, name: &ServiceName) -> io::Result<Vec<PastGeneration>> {
    let mut past = Vec::new();
    for entry in atomic::entries(&layout.at(&layout.history(name)))? {
        let place = entry.path().to_owned();
        let served = fs::metadata(place.join(SERVED)).and_then(|file| file.modified());
        if let (Some(id), Ok(served)) = (GenerationId::new(entry.file_name()), served) {
            past.push(PastGeneration { id, served, place });
        }
    }
    past.sort_by_key(|one| std::cmp::Reverse(one.served));
    Ok(past)
}

impl PastGeneration {
    /// Puts its declaration into an empty directory, files and all.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub(crate) fn restore(&self, dir: &camino::Utf8Path) -> io::Result<()> {
        let mut tree = write::read_tree(&self.place.join(DECLARED))?;
        tree.retain(|path| path == DECLARATION || path == PROVENANCE);
        // Directories that are empty are part of a declaration, too.
        let files = self.place.join(FILES);
        let list = files::files(&files, &files).map_err(|error| io::Error::other(error.to_string()))?;
        super::store::copy(&files, dir, &list)?;
        write::create(dir, &tree)
    }

    /// Compiles its declaration with the drop-ins that it had.
    ///
    /// # Errors
    /// What cannot be read, or does not compile any more.
    pub(crate) fn compile(
        &self,
        layout: &Layout,
        name: &ServiceName,
        target: &dyn Target,
    ) -> Result<Compiled, Diagnostics> {
        let unreadable = |error: io::Error| read::unreadable(&self.place, &error);
        let scratch = tempfile::tempdir().map_err(unreadable)?;
        let dir =
            Utf8PathBuf::try_from(scratch.path().to_owned()).map_err(|error| unreadable(io::Error::other(error)))?;
        self.restore(&dir).map_err(unreadable)?;
        let wanted = self.overrides().map_err(unreadable)?;
        let changes = Changes::to_generation(layout, name, &wanted).map_err(unreadable)?;
        let location = changes.apply(layout, search::new_location(layout, name)?)?;
        compile::compile_at(layout, &location, &dir, &self.place.join(FILES), target)
    }

    /// The drop-ins of the stored declaration, by file name.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn overrides(&self) -> io::Result<BTreeMap<String, Entry>> {
        let dir = self.place.join(DECLARED).join(OVERRIDES);
        if !dir.exists() {
            return Ok(BTreeMap::new());
        }
        let tree = write::read_tree(&dir)?;
        Ok(tree.iter().map(|(path, entry)| (path.to_string(), entry.clone())).collect())
    }

    /// Keys and files in which it differs from what is declared.
    ///
    /// # Errors
    /// What cannot be read or parsed, of either.
    pub(crate) fn differences(&self, layout: &Layout, declared: &Location) -> Result<BTreeSet<String>, Diagnostics> {
        let overrides = self.overrides().and_then(|wanted| Changes::to_generation(layout, &declared.name, &wanted));
        let overrides = overrides.map_err(|error| read::unreadable(&self.place, &error))?;
        let location = overrides.apply(layout, declared.clone())?;
        let there = layout.at(&declared.dir);
        let (declaration, files) = (self.place.join(DECLARED), self.place.join(FILES));
        let mine = (search::document(layout, &location, &declaration, &declaration)?, files::files(&files, &files)?);
        let theirs = (search::document(layout, declared, &there, &declared.dir)?, files::files(&there, &declared.dir)?);
        let leaves = |document: &crate::document::Node| {
            let leaves = document.leaves().into_iter();
            leaves.map(|(path, node)| (path.to_string(), node.plain())).collect::<BTreeMap<_, _>>()
        };
        let by_path = |files: &[crate::model::File]| {
            files.iter().map(|file| (file.path.to_string(), file.kind.clone())).collect::<BTreeMap<_, _>>()
        };
        let mut differences = unequal(&leaves(&mine.0), &leaves(&theirs.0));
        differences.extend(unequal(&by_path(&mine.1), &by_path(&theirs.1)));
        let conf = |overrides: BTreeMap<String, Entry>| -> BTreeMap<_, _> {
            overrides.into_iter().filter(|(file, _)| file.ends_with(".conf")).collect()
        };
        let units = (self.overrides(), overrides::of_generation(layout, &declared.name));
        differences.extend(unequal(&conf(units.0.unwrap_or_default()), &conf(units.1.unwrap_or_default())));
        Ok(differences)
    }
}

/// The keys that two maps do not have with the same value.
fn unequal<T: PartialEq>(one: &BTreeMap<String, T>, other: &BTreeMap<String, T>) -> BTreeSet<String> {
    let keys = one.keys().chain(other.keys());
    keys.filter(|key| one.get(*key) != other.get(*key)).cloned().collect()
}
