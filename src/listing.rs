//! What is in a directory, and what is surely not there. That something cannot be seen says nothing about whether it is
//! there: a service is undeclared, or not live, only if a directory that was listed does not have it.

use std::ffi::OsString;
use std::fs;
use std::io;

use camino::Utf8Path;

/// More than Conductor writes into a file.
const MAX_BYTES: u64 = 64 << 20;

/// Lists the names in a directory, sorted; one that does not exist is empty.
///
/// # Errors
/// A directory that cannot be listed, or that may exist: one behind a link to nothing, as to a file system that is not
/// mounted.
pub(crate) fn list(dir: &Utf8Path) -> io::Result<Vec<OsString>> {
    let found = match fs::read_dir(dir) {
        Err(error) if is_missing(dir, &error) => return Ok(Vec::new()),
        found => found?,
    };
    let mut names = found.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Lists the names in a directory that are UTF-8, as all that Conductor writes are.
///
/// # Errors
/// Likewise.
pub(crate) fn names(dir: &Utf8Path) -> io::Result<Vec<String>> {
    Ok(list(dir)?.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// Returns whether something exists at a path, be it a link to nothing.
///
/// # Errors
/// If that cannot be known.
pub(crate) fn exists(path: &Utf8Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if is_missing(path, &error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a file; None if it does not exist.
///
/// # Errors
/// A file that cannot be read, or that may exist.
pub(crate) fn read(path: &Utf8Path) -> io::Result<Option<Vec<u8>>> {
    match content(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if is_missing(path, &error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a regular file of at most 64 MiB: to open a FIFO, or to read a device or the image of a disk, would hold up the
/// generator, and with it the boot.
///
/// # Errors
/// What is no such file, or cannot be read.
pub(crate) fn content(path: &Utf8Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is not a regular file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("is {} MiB", metadata.len() >> 20)));
    }
    fs::read(path)
}

/// Returns whether an error says that there is nothing at a path. A link to nothing gives the same error, at the path
/// or above it.
pub(crate) fn is_missing(path: &Utf8Path, error: &io::Error) -> bool {
    let leads_nowhere = |path: &Utf8Path| path.is_symlink() && path.metadata().is_err();
    error.kind() == io::ErrorKind::NotFound && !path.ancestors().any(leads_nowhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_a_listed_directory_lacks_is_missing() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
        symlink("nowhere", root.join("dangling")).expect("a link");
        symlink("loop", root.join("loop")).expect("a link");
        fs::write(root.join("file"), "").expect("a file");
        for absent in ["absent", "absent/below"] {
            assert!(list(&root.join(absent)).expect("surely absent").is_empty());
            assert!(!exists(&root.join(absent)).expect("surely absent"));
            assert!(read(&root.join(absent)).expect("surely absent").is_none());
        }
        for unknown in ["dangling", "dangling/below", "loop", "loop/below"] {
            list(&root.join(unknown)).expect_err("who knows");
            read(&root.join(unknown)).expect_err("who knows");
        }
        for link in ["dangling", "loop"] {
            assert!(exists(&root.join(link)).expect("a link"));
            exists(&root.join(link).join("below")).expect_err("who knows");
        }
        list(&root.join("file")).expect_err("no directory");
        assert_eq!(names(root).expect("names"), ["dangling", "file", "loop"]);
    }
}
