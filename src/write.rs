//! Trees on disk: written into an empty place, or read back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};

use camino::Utf8Path;

use crate::tree::{Entry, Tree};

/// Writes a tree below `dir`. Nothing that exists is overwritten or followed: files are created
/// with O_EXCL, as systemd.generator(7) asks for in a directory that others share.
///
/// # Errors
/// The first entry that cannot be written, with its path.
pub fn create(dir: &Utf8Path, tree: &Tree) -> io::Result<()> {
    tree.iter().try_for_each(|(path, entry)| {
        let at = dir.join(path);
        create_entry(&at, entry).map_err(|error| named(&at, &error))
    })
}

/// Writes an entry to a path where there is none, with the directories above it.
///
/// # Errors
/// If there is one, or what the file system refuses.
pub fn create_entry(at: &Utf8Path, entry: &Entry) -> io::Result<()> {
    match create_here(at, entry) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(at.parent().unwrap_or(at))?;
            create_here(at, entry)
        }
        created => created,
    }
}

fn create_here(at: &Utf8Path, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::File { content, mode } => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(at)?;
            file.write_all(content)
        }
        Entry::Symlink { target } => symlink(target, at),
    }
}

/// Replaces the entry at a path in one step.
///
/// # Errors
/// If the file system refuses an operation; the old entry is unchanged then.
pub fn replace_entry(at: &Utf8Path, entry: &Entry) -> io::Result<()> {
    let fresh = at.with_file_name(format!(".{}.new", at.file_name().unwrap_or("entry")));
    create_entry(&fresh, entry)?;
    fs::rename(&fresh, at)
}

/// An error with its path.
pub fn named(path: &Utf8Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// Reads a directory back as the tree it was written from.
///
/// # Errors
/// If a file cannot be read.
pub fn read_tree(dir: &Utf8Path) -> io::Result<Tree> {
    let mut tree = Tree::default();
    read_below(dir, Utf8Path::new(""), &mut tree)?;
    Ok(tree)
}

/// Returns whether all entries of a tree are below `dir` as they are.
pub(crate) fn is_at(dir: &Utf8Path, tree: &Tree) -> bool {
    tree.iter().all(|(path, entry)| match entry {
        Entry::File { content, mode: _ } => fs::read(dir.join(path)).is_ok_and(|there| there[..] == content[..]),
        Entry::Symlink { target } => dir.join(path).read_link_utf8().is_ok_and(|there| there == *target),
    })
}

fn read_below(dir: &Utf8Path, below: &Utf8Path, tree: &mut Tree) -> io::Result<()> {
    for entry in dir.join(below).read_dir_utf8()? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_below(dir, &path, tree)?;
        } else if kind.is_symlink() {
            tree.insert(path, Entry::Symlink { target: entry.path().read_link_utf8()? });
        } else {
            let mode = entry.metadata()?.permissions().mode() & 0o777;
            tree.insert(path, Entry::File { content: fs::read(entry.path())?, mode });
        }
    }
    Ok(())
}
