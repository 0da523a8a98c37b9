//! Overrides: drop-ins that commands write, `/etc/conductor/services/NAME.d/*.toml`.

use fs_err as fs;
use std::collections::BTreeMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use toml::{Table, Value};

use crate::atomic;
use crate::diagnostic::Diagnostic;
use crate::layout::Layout;
use crate::listing;
use crate::names::ServiceName;
use crate::source::read;
use crate::source::search::{Location, Proposal};
use crate::tree::Entry;

/// The drop-in of `service declare` and `reload`, with `pull = "newer"`.
pub(crate) const IMAGE: &str = "50-image.toml";
/// The drop-in of `service restart`.
pub(crate) const RESTART: &str = "50-restart.toml";
/// The drop-in of `service scale`; not a part of a generation.
pub(crate) const SCALE: &str = "50-scale.toml";
/// The drop-in of `service enable` and `disable`; not a part of a generation.
pub(crate) const INSTALL: &str = "50-install.toml";
/// The drop-in of `service set`.
pub(crate) const SET: &str = "60-set.toml";

/// Returns the directory of the administrator's drop-ins for a service.
pub(crate) fn dir(layout: &Layout, name: &ServiceName) -> Utf8PathBuf {
    layout.declaration_dirs()[0].join(format!("{name}.d"))
}

/// Reads the administrator's drop-ins that are part of a generation, by file name: text, or a mask.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn of_generation(layout: &Layout, name: &ServiceName) -> io::Result<BTreeMap<String, Entry>> {
    let mut overrides = BTreeMap::new();
    for found in atomic::entries(&layout.at(&dir(layout, name)))? {
        let file = found.file_name();
        let is_drop_in = (file.ends_with(".toml") || file.ends_with(".conf")) && !file.starts_with('.');
        if !is_drop_in || [SCALE, INSTALL].contains(&file) {
            continue;
        }
        let entry = if read::is_mask(found.path()) {
            Entry::Symlink { target: "/dev/null".into() }
        } else {
            Entry::File { content: listing::content(found.path())?, mode: 0o644 }
        };
        overrides.insert(file.to_owned(), entry);
    }
    Ok(overrides)
}

/// Changes of a service's drop-ins, by file name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes(BTreeMap<String, Proposal>);

impl Changes {
    /// Computes the changes that make the drop-ins those of a generation; scale and installation stay.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn to_generation(
        layout: &Layout,
        name: &ServiceName,
        wanted: &BTreeMap<String, Entry>,
    ) -> io::Result<Self> {
        let there = of_generation(layout, name)?;
        let gone = there.keys().filter(|file| !wanted.contains_key(*file));
        let mut changes: BTreeMap<_, _> = gone.map(|file| (file.clone(), Proposal::Removed)).collect();
        for (file, entry) in wanted.iter().filter(|(file, entry)| there.get(*file) != Some(entry)) {
            let proposal = match entry {
                Entry::File { content, .. } => Proposal::Text(text(content.clone())?),
                Entry::Symlink { .. } => Proposal::Mask,
            };
            changes.insert(file.clone(), proposal);
        }
        Ok(Self(changes))
    }

    /// Changes the keys of a drop-in.
    ///
    /// # Errors
    /// A drop-in that is there already and cannot be read or is not TOML.
    pub(crate) fn edit(
        &mut self,
        layout: &Layout,
        name: &ServiceName,
        file: &str,
        edit: impl FnOnce(&mut Table),
    ) -> Result<(), Diagnostic> {
        let path = dir(layout, name).join(file);
        let mut table = read(layout, &path)?;
        let before = table.clone();
        edit(&mut table);
        if table == before {
            return Ok(());
        }
        let proposal = if table.is_empty() {
            Proposal::Removed
        } else {
            let text = toml::to_string(&table).expect("a table of TOML's own values");
            Proposal::Text(format!("# Written by a command of `conductor service`; comments are lost.\n{text}"))
        };
        self.0.insert(file.to_owned(), proposal);
        Ok(())
    }

    /// Sets one key, or removes it. Its override by `service set` is removed: the latest command wins.
    ///
    /// # Errors
    /// A drop-in that is there already and cannot be read or is not TOML.
    pub(crate) fn of_key(
        layout: &Layout,
        name: &ServiceName,
        file: &str,
        keys: &[&str],
        value: Option<Value>,
    ) -> Result<Self, Diagnostic> {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let mut changes = Self::default();
        changes.edit(layout, name, file, |table| {
            remove(table, &keys);
            if let Some(value) = value {
                insert(table, &keys, value);
            }
        })?;
        changes.edit(layout, name, SET, |table| {
            remove(table, &keys);
        })?;
        Ok(changes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the location as it will be with the changes.
    ///
    /// # Errors
    /// If what lies below them cannot be known.
    pub(crate) fn apply(&self, layout: &Layout, location: Location) -> Result<Location, Diagnostic> {
        self.0.iter().try_fold(location, |location, (file, proposal)| location.with(layout, file, proposal))
    }

    /// Writes the changes, file by file, and returns those that undo them.
    ///
    /// # Errors
    /// What the file system refuses; what was written before that is undone.
    pub(crate) fn write(&self, layout: &Layout, name: &ServiceName) -> io::Result<Self> {
        let dir = layout.at(&dir(layout, name));
        let mut undo = Self::default();
        for (file, proposal) in &self.0 {
            let outcome = current(&dir.join(file)).and_then(|current| {
                undo.0.insert(file.clone(), current);
                put(&dir, file, proposal)
            });
            if let Err(error) = outcome {
                // The first error is reported, not one of undoing.
                let _ = undo.0.iter().try_for_each(|(file, proposal)| put(&dir, file, proposal));
                return Err(io::Error::new(error.kind(), format!("{}: {error}", dir.join(file))));
            }
        }
        Ok(undo)
    }
}

fn text(content: Vec<u8>) -> io::Result<String> {
    String::from_utf8(content).map_err(io::Error::other)
}

/// Returns what is at a path, as a proposal to put it there again.
fn current(path: &Utf8Path) -> io::Result<Proposal> {
    if read::is_mask(path) {
        return Ok(Proposal::Mask);
    }
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Proposal::Removed),
        content => Ok(Proposal::Text(text(content?)?)),
    }
}

/// Writes or removes a drop-in, and removes its directory with the last one.
fn put(dir: &Utf8Path, file: &str, proposal: &Proposal) -> io::Result<()> {
    let path = dir.join(file);
    match proposal {
        Proposal::Removed => {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.and_then(|()| atomic::sync_parent(&path))?,
            }
            match fs::remove_dir(dir) {
                Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                    Err(error)
                }
                _ => Ok(()),
            }
        }
        Proposal::Text(text) => {
            create_dir(dir)?;
            atomic::write(&path, text.as_bytes())
        }
        Proposal::Mask => {
            create_dir(dir)?;
            atomic::link(Utf8Path::new("/dev/null"), &path)
        }
    }
}

/// Creates the directory of a service's drop-ins, beside the declarations.
fn create_dir(dir: &Utf8Path) -> io::Result<()> {
    atomic::create_private_dir(dir.parent().unwrap_or(dir))?;
    atomic::create_dir(dir)
}

/// Reads the keys of a drop-in; one that does not exist, or a mask, has none.
fn read(layout: &Layout, path: &Utf8Path) -> Result<Table, Diagnostic> {
    match read::drop_in(layout, path)? {
        Some(node) => Ok(node.plain().as_table().cloned().unwrap_or_default()),
        None => Ok(Table::new()),
    }
}

/// Sets a key; values on its path that are not tables become tables.
pub(crate) fn insert(table: &mut Table, keys: &[String], value: Value) {
    match keys {
        [] => {}
        [key] => drop(table.insert(key.clone(), value)),
        [key, rest @ ..] => {
            let below = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !below.is_table() {
                *below = Value::Table(Table::new());
            }
            insert(below.as_table_mut().expect("it is one"), rest, value);
        }
    }
}

/// Removes a key, and tables that are then empty; false if there is no such key.
pub(crate) fn remove(table: &mut Table, keys: &[String]) -> bool {
    match keys {
        [] => false,
        [key] => table.remove(key).is_some(),
        [key, rest @ ..] => {
            let Some(below) = table.get_mut(key).and_then(Value::as_table_mut) else { return false };
            let removed = remove(below, rest);
            if removed && below.is_empty() {
                table.remove(key);
            }
            removed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[&str] = &[RESTART, SCALE, SET];

    fn contents(layout: &Layout, name: &ServiceName) -> Vec<Proposal> {
        FILES.iter().map(|file| current(&layout.at(&dir(layout, name)).join(file)).expect("readable")).collect()
    }

    #[test]
    fn changes_are_undone_whole() {
        let root = tempfile::tempdir().expect("a scratch directory");
        let layout = Layout::system(Utf8Path::from_path(root.path()).expect("UTF-8"));
        let name = ServiceName::new("web").expect("a name");
        let place = layout.at(&dir(&layout, &name));
        fs::create_dir_all(&place).expect("a directory");
        fs::write(place.join(SET), "concurrency = 9\n[config]\nA = 1\n").expect("a drop-in");
        std::os::unix::fs::symlink("/dev/null", place.join(RESTART)).expect("a mask");
        let before = contents(&layout, &name);

        let mut changes =
            Changes::of_key(&layout, &name, SCALE, &["concurrency"], Some(Value::Integer(3))).expect("TOML");
        changes.0.insert(RESTART.to_owned(), Proposal::Text("x = 1\n".into()));
        let undo = changes.write(&layout, &name).expect("written");
        assert_eq!(fs::read_to_string(place.join(SCALE)).expect("written").lines().last(), Some("concurrency = 3"));
        assert!(!fs::read_to_string(place.join(SET)).expect("kept").contains("concurrency"), "withdrawn");
        assert!(fs::read_to_string(place.join(SET)).expect("kept").contains("A = 1"));
        let again = Changes::of_key(&layout, &name, SCALE, &["concurrency"], Some(Value::Integer(3))).expect("TOML");
        assert!(again.is_empty());

        undo.write(&layout, &name).expect("undone");
        assert_eq!(contents(&layout, &name), before);
    }

    #[test]
    fn tables_go_with_their_last_key() {
        let keys = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mut table = Table::new();
        insert(&mut table, &keys("a.b.c"), Value::Integer(1));
        insert(&mut table, &keys("a.d"), Value::Integer(2));
        assert!(!remove(&mut table, &keys("a.b.x")) && remove(&mut table, &keys("a.b.c")));
        assert_eq!(table.to_string(), "[a]\nd = 2\n");
        assert!(remove(&mut table, &keys("a.d")) && table.is_empty());
    }
}
