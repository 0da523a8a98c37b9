//! Generations on disk: kept for as long as a process may need them, and a few beyond.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};

use crate::atomic;
use crate::compile::Compiled;
use crate::generation::Id;
use crate::layout::Layout;
use crate::live;
use crate::model::{File, FileKind, ServiceName};
use crate::sources::{self, DECLARATION};
use crate::write;

/// So many generations' files are kept for a way back.
const KEPT: usize = 5;

/// Stores a generation before its first process starts: its files, then its snapshot, with which it
/// is live. `dir` is where the declaration's files are.
///
/// # Errors
/// What the file system refuses, or a file that changed while it was copied.
pub fn store(layout: &Layout, compiled: &Compiled, dir: &Utf8Path) -> io::Result<()> {
    store_files(layout, compiled, dir)?;
    store_snapshot(layout, compiled)
}

/// Stores a generation's files alone.
///
/// # Errors
/// What the file system refuses, or a file that changed while it was copied.
pub fn store_files(layout: &Layout, compiled: &Compiled, dir: &Utf8Path) -> io::Result<()> {
    let stored = layout.at(&layout.stored(&compiled.service.name, &compiled.id));
    if stored.exists() {
        return touch(&stored);
    }
    let staging = atomic::staging(&stored)?;
    let fresh = Utf8PathBuf::try_from(staging.path().to_owned()).map_err(io::Error::other)?;
    let files = fresh.join("files");
    copy(dir, &files, &compiled.service.files)?;
    fs::copy(dir.join(DECLARATION), fresh.join(DECLARATION))?;
    // What was hashed is what must run: a file may have been edited in between.
    let copied = sources::files(&files, &files).map_err(|error| io::Error::other(error.to_string()))?;
    if copied != compiled.service.files {
        return Err(io::Error::other(format!("{dir} changed while it was copied; try again")));
    }
    rustix::fs::syncfs(fs::File::open(&fresh)?)?;
    atomic::replace_dir(staging, &stored).map(drop)
}

/// A generation that is used again is the youngest.
fn touch(stored: &Utf8Path) -> io::Result<()> {
    let now = std::time::SystemTime::now();
    fs::File::open(stored)?.set_times(fs::FileTimes::new().set_modified(now))
}

/// Copies declared files: readable for the service's user, executable where they were.
///
/// # Errors
/// What the file system refuses.
pub fn copy(from: &Utf8Path, to: &Utf8Path, files: &[File]) -> io::Result<()> {
    let mode = |path: &Utf8Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
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
                mode(&at, if *executable { 0o755 } else { 0o644 })?;
            }
        }
    }
    Ok(())
}

/// The snapshot speaks for the service when its declaration does not compile; it is written anew
/// when something about it changed that is no new generation: routes, scale, settings.
fn store_snapshot(layout: &Layout, compiled: &Compiled) -> io::Result<()> {
    let Compiled { service, digests: _, id, units } = compiled;
    let snapshot = layout.at(&layout.snapshot(&service.name, id));
    if live::model(layout, &service.name, id).is_ok_and(|model| model == *service) {
        return Ok(());
    }
    let staging = atomic::staging(&snapshot)?;
    let fresh = Utf8PathBuf::try_from(staging.path().to_owned()).map_err(io::Error::other)?;
    write::create(&fresh.join(live::UNITS), units)?;
    fs::write(fresh.join(live::MODEL), serde_json::to_vec(service)?)?;
    atomic::replace_dir(staging, &snapshot).map(drop)
}

/// Forgets snapshots of generations that are neither wanted nor running.
///
/// # Errors
/// What the file system refuses.
pub fn forget(layout: &Layout, name: &ServiceName, needed: &[Id]) -> io::Result<()> {
    for id in live::of(layout, name).map(|live| live.generations).unwrap_or_default() {
        if !needed.contains(&id) {
            atomic::remove_dir(&layout.at(&layout.snapshot(name, &id)))?;
            atomic::remove_dir(&layout.at(&layout.sockets(name, &id)))?;
        }
    }
    Ok(())
}

/// Forgets everything live of a service.
///
/// # Errors
/// What the file system refuses.
pub fn forget_all(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    forget(layout, name, &[])?;
    atomic::remove_dir(&layout.at(&layout.live().join(name.as_str())))
}

/// Removes the files of all but the youngest generations and those needed.
///
/// # Errors
/// What the file system refuses.
pub fn collect(layout: &Layout, name: &ServiceName, needed: &[Id]) -> io::Result<()> {
    let mut kept = Vec::new();
    let dir = layout.at(&layout.kept(name));
    for entry in dir.read_dir_utf8().into_iter().flatten() {
        let entry = entry?;
        if let Some(id) = Id::new(entry.file_name()) {
            kept.push((entry.metadata()?.modified()?, id));
        }
    }
    kept.sort();
    let superfluous = kept.len().saturating_sub(KEPT);
    for (_, id) in kept.into_iter().take(superfluous).filter(|(_, id)| !needed.contains(id)) {
        atomic::remove_dir(&dir.join(id.as_str()))?;
    }
    Ok(())
}
