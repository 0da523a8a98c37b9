//! Changes on disk that are complete or absent.

use fs_err as fs;
use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use camino::{Utf8DirEntry, Utf8Path};
use rustix::fs::{Access, CWD, FlockOperation, Mode, OFlags, RenameFlags, access, flock, open, renameat_with, syncfs};
use rustix::io::Errno;
use tempfile::{Builder, TempDir};

use crate::listing::{exists, is_missing};
use crate::write::named;

/// The prefix of unfinished files and directories, which the process that works on them locks.
const UNFINISHED: &str = ".conductor-";
/// The name of a directory that is being filled or removed, in the one that is locked.
const FILLED: &str = "filled";

/// Writes a file that only its owner may read: a temporary file beside it, synced, then renamed.
///
/// # Errors
/// If the file system refuses an operation, with the path; the old content is unchanged then.
pub(crate) fn write(path: &Utf8Path, content: &[u8]) -> io::Result<()> {
    write_in(parent(path), path, content, 0o600).map_err(|error| named(path, &error))
}

/// Writes a file that the group of its directory may read, where that is setgid: as `write` does.
///
/// # Errors
/// If the file system refuses an operation, with the path; the old content is unchanged then.
pub(crate) fn write_for_group(path: &Utf8Path, content: &[u8]) -> io::Result<()> {
    write_in(parent(path), path, content, 0o640).map_err(|error| named(path, &error))
}

/// Writes a file that everybody may read: as `write` does.
///
/// # Errors
/// If the file system refuses an operation, with the path; the old content is unchanged then.
pub(crate) fn write_public(path: &Utf8Path, content: &[u8]) -> io::Result<()> {
    write_in(parent(path), path, content, 0o644).map_err(|error| named(path, &error))
}

/// Writes a file that only its owner may read into a directory that nobody sweeps: the temporary file is beside the
/// directory. In a declaration, one that a kill leaves would be a declared file.
///
/// # Errors
/// If the file system refuses an operation, with the path; the old content is unchanged then.
pub(crate) fn write_from_beside(path: &Utf8Path, content: &[u8]) -> io::Result<()> {
    write_in(parent(parent(path)), path, content, 0o600).map_err(|error| named(path, &error))
}

fn parent(path: &Utf8Path) -> &Utf8Path {
    path.parent().filter(|parent| !parent.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

fn write_in(scratch: &Utf8Path, path: &Utf8Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = loop {
        let file = Builder::new().prefix(UNFINISHED).tempfile_in(scratch)?;
        // A sweep may have locked it first, and removed it.
        flock(file.as_file(), FlockOperation::LockExclusive)?;
        if is_at(file.as_file(), file.path())? {
            break file;
        }
    };
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_parent(path)
}

/// Writes the names in the directory of `path` to disk: a rename or removal there outlasts a power cut.
///
/// # Errors
/// If the directory cannot be opened or written.
pub(crate) fn sync_parent(path: &Utf8Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// Creates a directory and those above it that are missing. Each outlasts a power cut.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn create_dir(path: &Utf8Path) -> io::Result<()> {
    if path.as_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), create_dir)?;
    match fs::create_dir(path) {
        Err(_) if path.is_dir() => Ok(()),
        created => created.and_then(|()| sync_parent(path)),
    }
}

/// Points a symlink at `target` in one step: a process that follows it finds the old or the new target.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn link(target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
    let fresh = parent(path).join(format!(".{}.new", path.file_name().unwrap_or("link")));
    remove_file(&fresh)?;
    symlink(target, &fresh)?;
    fs::rename(&fresh, path)?;
    sync_parent(path)
}

/// A directory that is not in its place. It is gone when this is dropped.
///
/// It is within another directory, which is locked, so that no other process removes it as a leftover. Others may walk
/// through that one and cannot open it: whoever can open a directory can lock it, flock(2), and hold up everybody else.
pub struct Staging {
    /// The directory around the one that is filled.
    _around: TempDir,
    path: PathBuf,
    _lock: File,
}

impl Staging {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// An empty directory beside `path`, to be filled and then put in its place.
///
/// # Errors
/// What the file system refuses, with the path.
pub(crate) fn staging(path: &Utf8Path) -> io::Result<Staging> {
    staging_beside(path).map_err(|error| named(path, &error))
}

fn staging_beside(path: &Utf8Path) -> io::Result<Staging> {
    let parent = parent(path);
    create_dir(parent)?;
    let (around, lock) = unfinished(parent)?;
    lock.set_permissions(Permissions::from_mode(0o711))?;
    let path = around.path().join(FILLED);
    fs::create_dir(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok(Staging { _around: around, path, _lock: lock })
}

/// Creates and locks a directory for unfinished work.
fn unfinished(parent: &Utf8Path) -> io::Result<(TempDir, File)> {
    loop {
        let around = Builder::new().prefix(UNFINISHED).tempdir_in(parent)?;
        // A sweep may have locked it first, and removed it.
        let lock = match File::open(around.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        flock(&lock, FlockOperation::LockExclusive)?;
        if is_at(&lock, around.path())? {
            return Ok((around, lock));
        }
    }
}

/// Removes from a directory what somebody was working on who is gone: killed, or without power.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn sweep(dir: &Utf8Path) -> io::Result<()> {
    for entry in entries(dir)?.iter().filter(|entry| entry.file_name().starts_with(UNFINISHED)) {
        // The process that works on it holds its lock, and may have finished meanwhile.
        let Ok(unfinished) = File::open(entry.path()) else { continue };
        if flock(&unfinished, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if entry.file_type()?.is_dir() { remove_dir(entry.path())? } else { remove_file(entry.path())? }
    }
    Ok(())
}

/// Puts a filled directory in the place of `path`, after its content is on disk; what was there is then in the returned
/// directory, and gone when that is dropped.
///
/// # Errors
/// What the file system refuses; `path` is then untouched.
pub(crate) fn replace_dir(filled: Staging, path: &Utf8Path) -> io::Result<Option<Staging>> {
    syncfs(File::open(filled.path())?)?;
    match renameat_with(CWD, filled.path(), CWD, path.as_std_path(), RenameFlags::EXCHANGE) {
        Ok(()) => {
            sync_parent(path)?;
            Ok(Some(filled))
        }
        Err(Errno::NOENT) => {
            fs::rename(filled.path(), path)?;
            sync_parent(path)?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a file or symlink; one that is not there is no error.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn remove_file(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory and all below it; one that is not there is no error.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn remove_dir(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Checks that what is at a path could be removed, as far as its file system is not read-only; nothing there is no error.
///
/// # Errors
/// Why it could not be removed, with its directory.
pub(crate) fn must_be_removable(path: &Utf8Path) -> io::Result<()> {
    if !exists(path)? {
        return Ok(());
    }
    let parent = parent(path);
    access(parent.as_std_path(), Access::WRITE_OK).map_err(|error| named(parent, &error.into()))
}

/// Removes a directory and all below it in one step: whoever looks, also after a kill or a power cut, finds all of it or
/// nothing. One that is not there is no error. On a full disk, which has no room for that step, it is removed as it is.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn remove_dir_at_once(path: &Utf8Path) -> io::Result<()> {
    let Ok((around, _lock)) = unfinished(parent(path)) else { return remove_dir(path) };
    match fs::rename(path, around.path().join(FILLED)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        moved => moved?,
    }
    sync_parent(path)?;
    around.close()
}

/// Lists the entries of a directory; one that does not exist is empty.
///
/// # Errors
/// A directory that cannot be listed, or that may exist: one behind a link to nothing.
pub(crate) fn entries(dir: &Utf8Path) -> io::Result<Vec<Utf8DirEntry>> {
    match dir.read_dir_utf8() {
        Err(error) if is_missing(dir, &error) => Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect).map_err(|error| named(dir, &error)),
    }
}

/// Holds a lock until dropped; waits for another holder. The holder may remove the lock's file: those who
/// wait then make a new one.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn lock(path: &Utf8Path) -> io::Result<File> {
    loop {
        let file = lock_file(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

/// Keeps a directory from those who `claim` it, until dropped; None if it is gone.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn hold(dir: &Utf8Path) -> io::Result<Option<File>> {
    let held = match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    flock(&held, FlockOperation::LockShared)?;
    Ok(is_at(&held, dir)?.then_some(held))
}

/// A directory that nobody can hold while this exists; None for what is no directory.
pub(crate) struct Claim {
    _dir: Option<OwnedFd>,
}

/// Keeps a directory from being held, to remove it; None if a process holds it.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn claim(dir: &Utf8Path) -> io::Result<Option<Claim>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let claimed = match open(dir.as_std_path(), flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => return Ok(Some(Claim { _dir: None })),
        opened => opened?,
    };
    match flock(&claimed, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => Ok(locked.map(|()| Some(Claim { _dir: Some(claimed) }))?),
    }
}

/// Holds a lock until dropped, without waiting; None if another process holds it.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn try_lock(path: &Utf8Path) -> io::Result<Option<File>> {
    loop {
        let file = lock_file(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            outcome => outcome?,
        }
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
}

/// Opens the file of a lock. Only its owner may enter its directory: whoever can open a file can lock it, flock(2).
fn lock_file(path: &Utf8Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        private_dir(parent)?;
    }
    fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map(fs::File::into_file)
}

/// Creates a directory that only its owner may enter; one that is there becomes such a directory.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn private_dir(dir: &Utf8Path) -> io::Result<()> {
    create_private_dir(dir)?;
    if fs::metadata(dir)?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Creates a directory that only its owner may enter; one that is there stays as its administrator has it.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn create_private_dir(dir: &Utf8Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    create_dir(parent(dir))?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(named(dir, &error)),
        _ => sync_parent(dir),
    }
}

/// Returns whether an open file is still the one at a path.
fn is_at(file: &File, path: impl AsRef<Path>) -> io::Result<bool> {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match fs::metadata(path.as_ref()) {
        Ok(there) => Ok(identity(there) == identity(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether somebody holds a lock.
pub(crate) fn is_locked(path: &Utf8Path) -> bool {
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn only_abandoned_directories_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let place = dir.join("web");
        let left = |staged: Staging| drop(staged._around.keep());
        left(staging(&place).unwrap());
        fs::write(dir.join(".conductor-file"), "").unwrap();
        fs::write(dir.join("kept"), "").unwrap();
        let first = staging(&place).unwrap();
        replace_dir(first, &place).unwrap();
        let worked_on = staging(&place).unwrap();
        let replaced = replace_dir(staging(&place).unwrap(), &place).unwrap().expect("there was one");
        sweep(dir).unwrap();
        assert!(worked_on.path().exists() && replaced.path().exists());
        drop((worked_on, replaced));
        let mut rest: Vec<_> = entries(dir).unwrap().iter().map(|entry| entry.file_name().to_owned()).collect();
        rest.sort();
        assert_eq!(rest, ["kept", "web"]);
        assert!(sweep(&dir.join("nothing")).is_ok());
    }

    #[test]
    fn removed_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let place = dir.join("web");
        create_dir(&place.join("files/deep")).unwrap();
        fs::write(place.join("files/deep/one"), "").unwrap();
        remove_dir_at_once(&place).unwrap();
        // A link is removed, and not what it leads to; what is not there is no error.
        let other = tempfile::tempdir().unwrap();
        symlink(other.path(), &place).unwrap();
        remove_dir_at_once(&place).unwrap();
        remove_dir_at_once(&place).unwrap();
        remove_dir_at_once(&dir.join("nothing/here")).unwrap();
        assert!(entries(dir).unwrap().is_empty() && other.path().exists());
    }

    #[test]
    fn others_can_open_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::create_dir(dir.join("old")).unwrap();
        fs::set_permissions(dir.join("old"), Permissions::from_mode(0o755)).unwrap();
        for path in ["old/web", "new/web"].map(|path| dir.join(path)) {
            let _lock = lock(&path).unwrap();
            assert_eq!(mode(path.parent().unwrap().as_std_path()), 0o700);
        }
        let staged = staging(&dir.join("web")).unwrap();
        assert_eq!((mode(staged.path()), mode(staged.path().parent().unwrap())), (0o755, 0o711));
        replace_dir(staged, &dir.join("web")).unwrap();
        assert_eq!(mode(dir.join("web").as_std_path()), 0o755);
    }

    #[test]
    fn a_lock_has_one_holder_although_each_removes_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("locks/web");
        let held = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _lock = lock(&path).unwrap();
                        assert!(!held.swap(true, Ordering::SeqCst), "two hold it");
                        assert!(is_locked(&path));
                        held.store(false, Ordering::SeqCst);
                        remove_file(&path).unwrap();
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
