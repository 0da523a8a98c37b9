//! Changes on disk that are there whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::Utf8Path;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use tempfile::{Builder, TempDir};

/// Writes a file that everybody may read: a temporary file beside it, synced, then renamed.
///
/// # Errors
/// What the file system refuses; the old content is then untouched.
pub fn write(path: &Utf8Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Utf8Path::new("."));
    let mut file = Builder::new().prefix(".conductor-").tempfile_in(parent)?;
    file.write_all(content)?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Points a symlink at `target` in one step: whoever follows it finds the old or the new.
///
/// # Errors
/// What the file system refuses.
pub fn link(target: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Utf8Path::new("."));
    let fresh = parent.join(format!(".{}.new", path.file_name().unwrap_or("link")));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &fresh)?;
    fs::rename(&fresh, path)
}

/// An empty directory beside `path`, to be filled and then put in its place.
///
/// # Errors
/// What the file system refuses.
pub fn staging(path: &Utf8Path) -> io::Result<TempDir> {
    let parent = path.parent().unwrap_or(Utf8Path::new("."));
    fs::create_dir_all(parent)?;
    let dir = Builder::new().prefix(".conductor-").tempdir_in(parent)?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// Puts a filled directory in the place of `path`; what was there is then in the returned
/// directory, and gone when that is dropped.
///
/// # Errors
/// What the file system refuses; `path` is then untouched.
pub fn replace_dir(filled: TempDir, path: &Utf8Path) -> io::Result<Option<TempDir>> {
    match renameat_with(CWD, filled.path(), CWD, path.as_std_path(), RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Some(filled)),
        Err(Errno::NOENT) => {
            fs::rename(filled.path(), path)?;
            // It is in its place now; there is nothing left to remove.
            let _ = filled.keep();
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a directory and all below it; one that is not there is no error.
///
/// # Errors
/// What the file system refuses.
pub fn remove_dir(path: &Utf8Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Holds a lock until dropped; waits for whoever has it.
///
/// # Errors
/// What the file system refuses.
pub fn lock(path: &Utf8Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Whether somebody holds a lock.
pub fn is_locked(path: &Utf8Path) -> bool {
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK))
}
