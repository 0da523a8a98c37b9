//! Stored generations: for as long as a process may need their files, and the last few to roll back to.

use fs_err as fs;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};

use crate::compile::host::Compiled;
use crate::given::permissions;
use crate::layout::Layout;
use crate::model::{File, FileKind, Service};
use crate::names::{GenerationId, ServiceName};
use crate::service::overrides;
use crate::source::{DECLARATION, PROVENANCE, files};
use crate::target::Target;
use crate::tree::{Entry, Tree};
use crate::{atomic, listing, live, write};

/// The number of stored generations of a service's history.
const HISTORY: usize = 5;
/// Below a stored generation: its files, the working directory of its processes.
pub(crate) const FILES: &str = "files";
/// Below a stored generation: its declaration, to roll back to.
pub(crate) const DECLARED: &str = "declared";
/// The files in a stored generation that say that its `hooks.release` and `hooks.post_release` have run.
pub(crate) const RELEASED: &str = "released";
pub(crate) const POST_RELEASED: &str = "post-released";
/// Below a stored generation beside which there is a canary: a copy of its snapshot.
const SNAPSHOT: &str = "snapshot";
/// Below the stored declaration: the administrator's drop-ins that are part of the generation.
pub(crate) const OVERRIDES: &str = "overrides";
/// The file in a stored generation whose time is that of its last use.
pub(crate) const SERVED: &str = "served";

/// Stores a generation before its first process starts: its files, then its snapshot, with which it
/// is live. `dir` is where the declaration's files are.
///
/// # Errors
/// What the file system refuses, or a file that changed while it was copied.
pub fn store(layout: &Layout, target: &dyn Target, compiled: &Compiled, dir: &Utf8Path) -> io::Result<()> {
    store_files(layout, compiled, dir)?;
    store_snapshot(layout, target, compiled)
}

/// Stores a generation's files alone.
///
/// # Errors
/// What the file system refuses, or a file that changed while it was copied.
pub(crate) fn store_files(layout: &Layout, compiled: &Compiled, dir: &Utf8Path) -> io::Result<()> {
    let stored = layout.at(&layout.stored(&compiled.service.name, &compiled.id));
    let declared = declared(layout, &compiled.service.name, dir)?;
    if is_intact(&stored, &compiled.service.files) {
        refresh(&stored.join(DECLARED), &declared)?;
        return touch(&stored);
    }
    atomic::private_dir(&layout.at(&layout.histories()))?;
    let staging = atomic::staging(&stored)?;
    let fresh = Utf8PathBuf::try_from(staging.path().to_owned()).map_err(io::Error::other)?;
    let files = fresh.join(FILES);
    copy(dir, &files, &compiled.service.files)?;
    write::create(&fresh.join(DECLARED), &declared)?;
    // What was hashed is what must run: a file may have been edited in between.
    let copied = files::files(&files, &files).map_err(|error| io::Error::other(error.to_string()))?;
    if copied != compiled.service.files {
        return Err(io::Error::other(format!("{dir} changed while it was copied; try again")));
    }
    if stored.join(SERVED).exists() {
        fs::write(fresh.join(SERVED), "")?;
    }
    atomic::replace_dir(staging, &stored).map(drop)
}

/// Returns whether a stored generation has its files: a disk, or somebody's hand, may have changed them.
fn is_intact(stored: &Utf8Path, files: &[File]) -> bool {
    let place = stored.join(FILES);
    stored.is_dir()
        && !stored.is_symlink()
        && !place.is_symlink()
        && files::files(&place, &place).is_ok_and(|there| there == files)
}

/// Reads what declares a generation beside its files.
fn declared(layout: &Layout, name: &ServiceName, dir: &Utf8Path) -> io::Result<Tree> {
    let mut tree = Tree::default();
    tree.file(DECLARATION, fs::read(dir.join(DECLARATION))?);
    match fs::read(dir.join(PROVENANCE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        provenance => provenance.into_iter().for_each(|text| tree.file(PROVENANCE, text)),
    }
    for (file, entry) in overrides::of_generation(layout, name)? {
        tree.insert(Utf8Path::new(OVERRIDES).join(file), entry);
    }
    Ok(tree)
}

/// Updates the stored declaration of a generation, which may be declared again with other routes.
fn refresh(place: &Utf8Path, declared: &Tree) -> io::Result<()> {
    if write::read_tree(place).is_ok_and(|there| there == *declared) {
        return Ok(());
    }
    let staging = atomic::staging(place)?;
    let fresh = Utf8PathBuf::try_from(staging.path().to_owned()).map_err(io::Error::other)?;
    write::create(&fresh, declared)?;
    atomic::replace_dir(staging, place).map(drop)
}

/// Notes that a generation came into service.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn served(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<()> {
    atomic::write_from_beside(&layout.at(&layout.stored(name, id)).join(SERVED), b"")
}

/// Returns whether a note of a generation is there: RELEASED or POST_RELEASED.
///
/// # Errors
/// If that cannot be known.
pub(crate) fn has_note(layout: &Layout, name: &ServiceName, id: &GenerationId, note: &str) -> io::Result<bool> {
    listing::exists(&layout.at(&layout.stored(name, id)).join(note))
}

/// Writes a note of a generation.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn note(layout: &Layout, name: &ServiceName, id: &GenerationId, note: &str) -> io::Result<()> {
    atomic::write(&layout.at(&layout.stored(name, id)).join(note), b"")
}

/// Makes a generation that is used again the youngest.
fn touch(stored: &Utf8Path) -> io::Result<()> {
    let now = std::time::SystemTime::now();
    fs::File::open(stored)?.set_times(std::fs::FileTimes::new().set_modified(now))
}

/// Copies declared files: readable for the service's user, executable where they were. Nobody else can enter the directory
/// above them.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn copy(from: &Utf8Path, to: &Utf8Path, files: &[File]) -> io::Result<()> {
    let mode = |path: &Utf8Path, mode| fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    fs::create_dir_all(to)?;
    mode(to, 0o755)?;
    for File { path, kind } in files {
        let at = to.join(path);
        match kind {
            FileKind::Directory => {
                fs::create_dir(&at)?;
                mode(&at, 0o755)?;
            }
            FileKind::Symlink { target } => symlink(target, &at)?,
            FileKind::Regular { executable, .. } => {
                fs::copy(from.join(path), &at)?;
                fs::set_permissions(&at, permissions(*executable))?;
            }
        }
    }
    Ok(())
}

/// Writes the snapshot, which stands in for a declaration that does not compile. It is written again when something
/// changed that makes no new generation: routes, scale, settings.
fn store_snapshot(layout: &Layout, target: &dyn Target, compiled: &Compiled) -> io::Result<()> {
    let Compiled { service: Service { name, .. }, id, .. } = compiled;
    let (model, units) = (compiled.model(), compiled.units(layout, target));
    let is_stored = live::model(layout, name, id).is_ok_and(|stored| stored == model)
        && live::units(layout, name, id).is_ok_and(|stored| stored == units);
    if !is_stored {
        atomic::private_dir(&layout.at(&layout.live()))?;
        let snapshot = layout.at(&layout.snapshot(name, id));
        let staging = atomic::staging(&snapshot)?;
        let fresh = Utf8PathBuf::try_from(staging.path().to_owned()).map_err(io::Error::other)?;
        fs::write(fresh.join(live::UNITS), live::write_units(&units)?)?;
        fs::write(fresh.join(live::MODEL), serde_json::to_vec(&model)?)?;
        atomic::replace_dir(staging, &snapshot)?;
    }
    install_units(layout, name, id, &units)
}

/// Stores a copy of a live generation's snapshot, with which it starts after a reboot.
///
/// # Errors
/// A snapshot that cannot be read; if the file system refuses an operation.
pub(crate) fn keep_snapshot(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<()> {
    copy_snapshot(&layout.at(&layout.snapshot(name, id)), &layout.at(&layout.stored(name, id)).join(SNAPSHOT))
}

/// Makes a generation live again from the copy of its snapshot, with its units.
///
/// # Errors
/// A copy that cannot be read, or files that have changed; if the file system refuses an operation.
pub(crate) fn restore_snapshot(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<()> {
    let stored = layout.at(&layout.stored(name, id));
    atomic::private_dir(&layout.at(&layout.live()))?;
    copy_snapshot(&stored.join(SNAPSHOT), &layout.at(&layout.snapshot(name, id)))?;
    let service = live::service(layout, name, id)?;
    if !is_intact(&stored, &service.files) {
        return Err(io::Error::other(format!("the files of generation {id} have changed")));
    }
    install_units(layout, name, id, &live::units(layout, name, id)?)
}

fn copy_snapshot(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let staging = atomic::staging(to)?;
    let fresh = Utf8PathBuf::try_from(staging.path().to_owned()).map_err(io::Error::other)?;
    for file in [live::UNITS, live::MODEL] {
        fs::write(fresh.join(file), listing::content(&from.join(file))?)?;
    }
    atomic::replace_dir(staging, to).map(drop)
}

/// Puts a live generation's deployment units where systemd finds them without the generator: if that writes nothing at
/// all, running deployments keep their sockets and restarts. What is there already stays: a new file would make systemd
/// ask for a daemon-reload.
fn install_units(layout: &Layout, name: &ServiceName, id: &GenerationId, units: &Tree) -> io::Result<()> {
    let dir = layout.at(layout.runtime_units());
    for (path, entry) in units.iter().filter(|(path, _)| name.is_of_deployments(id, path.as_str())) {
        let Entry::File { content, mode: _ } = entry else { continue };
        let at = dir.join(path);
        if !fs::read(&at).is_ok_and(|there| there == *content) {
            fs::create_dir_all(at.parent().unwrap_or(&dir))?;
            atomic::write_public(&at, content)?;
        }
    }
    Ok(())
}

/// Lists the files of a generation's deployment units, and the directories of their drop-ins.
fn deployment_units(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<BTreeSet<String>> {
    let names: Vec<_> = match live::units(layout, name, id) {
        Ok(units) => units.iter().filter_map(|(path, _)| Some(path.iter().next()?.to_owned())).collect(),
        // It is garbled.
        Err(_) => listing::names(&layout.at(layout.runtime_units()))?,
    };
    Ok(names.into_iter().filter(|unit| name.is_of_deployments(id, unit)).collect())
}

/// Keeps a stored generation and its snapshot from `remove_unneeded`, until dropped; None if it has been removed.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn hold(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<Option<std::fs::File>> {
    atomic::hold(&layout.at(&layout.stored(name, id)))
}

/// Removes the snapshots of a service's generations that no deployment is of and no job runs of, and what its history no
/// longer has.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn remove_unneeded(layout: &Layout, name: &ServiceName, in_use: &[GenerationId]) -> io::Result<()> {
    let (mut needed, mut claims) = (in_use.to_vec(), Vec::new());
    for id in stored_ids(layout, name)? {
        if in_use.contains(&id) {
            continue;
        }
        match atomic::claim(&layout.at(&layout.stored(name, &id)))? {
            Some(claim) => claims.push(claim),
            None => needed.push(id),
        }
    }
    forget(layout, name, &needed)?;
    collect(layout, name, &needed)
}

/// Removes the snapshot of a generation that a job has held, and its files if the history no longer has it. The caller
/// holds the service's lock.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn let_go(layout: &Layout, name: &ServiceName, id: &GenerationId) -> io::Result<()> {
    let mut others = stored_ids(layout, name)?;
    others.retain(|other| other != id);
    remove_unneeded(layout, name, &others)
}

/// Lists the stored generations of a service.
fn stored_ids(layout: &Layout, name: &ServiceName) -> io::Result<Vec<GenerationId>> {
    let names = listing::names(&layout.at(&layout.history(name)))?;
    Ok(names.iter().filter_map(|name| GenerationId::new(name)).collect())
}

/// Removes the snapshots of a service's generations, except those that are needed.
///
/// # Errors
/// If the file system refuses an operation.
fn forget(layout: &Layout, name: &ServiceName, needed: &[GenerationId]) -> io::Result<()> {
    for id in live::of(layout, name)?.map(|live| live.generations).unwrap_or_default() {
        if !needed.contains(&id) {
            for unit in deployment_units(layout, name, &id)? {
                let at = layout.at(layout.runtime_units()).join(unit);
                if at.is_dir() { atomic::remove_dir(&at)? } else { atomic::remove_file(&at)? }
            }
            atomic::remove_dir_at_once(&layout.at(&layout.snapshot(name, &id)))?;
            atomic::remove_dir(&layout.at(&layout.sockets(name, &id)))?;
        }
    }
    Ok(())
}

/// Removes all snapshots of a service.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn forget_all(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    forget(layout, name, &[])?;
    atomic::remove_dir_at_once(&layout.at(&layout.live().join(name.as_str())))
}

/// Removes stored generations, except those that are needed and the youngest that have served.
///
/// # Errors
/// If the file system refuses an operation.
fn collect(layout: &Layout, name: &ServiceName, needed: &[GenerationId]) -> io::Result<()> {
    let mut stored = Vec::new();
    let dir = layout.at(&layout.history(name));
    for entry in dir.read_dir_utf8().into_iter().flatten() {
        let entry = entry?;
        if let Some(id) = GenerationId::new(entry.file_name()) {
            stored.push((entry.metadata()?.modified()?, id));
        }
    }
    stored.sort();
    // Nothing rolls back to a generation that never served.
    let (served, failed): (Vec<_>, Vec<_>) =
        stored.into_iter().map(|(_, id)| id).partition(|id| dir.join(id.as_str()).join(SERVED).exists());
    let superfluous = served.len().saturating_sub(HISTORY);
    for id in served.into_iter().take(superfluous).chain(failed).filter(|id| !needed.contains(id)) {
        atomic::remove_dir_at_once(&dir.join(id.as_str()))?;
    }
    Ok(())
}

/// Removes what killed commands had begun to store, for all services and functions.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn sweep(layout: &Layout) -> io::Result<()> {
    for dir in [layout.live(), layout.histories()] {
        atomic::sweep(&layout.at(&dir))?;
        for service in atomic::entries(&layout.at(&dir))? {
            atomic::sweep(service.path())?;
        }
    }
    let declarations = layout.at(&layout.declaration_dirs()[0]);
    for entry in atomic::entries(&declarations)? {
        if entry.file_name().ends_with(".d") && entry.file_type()?.is_dir() {
            atomic::sweep(entry.path())?;
        }
    }
    let (failures, stopped) = (layout.failures(), layout.stopped());
    let declared = [&layout.declaration_dirs()[0], &layout.function_dirs()[0]].map(Utf8PathBuf::as_path);
    for dir in declared.into_iter().chain([&*failures, &*stopped, layout.runtime_units()]) {
        atomic::sweep(&layout.at(dir))?;
    }
    Ok(())
}
