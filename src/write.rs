//! Trees on disk: written into an empty place, or read back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::panic::resume_unwind;
use std::thread;

use camino::Utf8Path;

use crate::tree::{Entry, Tree};

/// Writes a tree below `dir`. Nothing that exists is overwritten or followed: files are created
/// with O_EXCL, as systemd.generator(7) asks for in a directory that others share.
///
/// # Errors
/// The first entry that cannot be written, with its path.
pub fn create(dir: &Utf8Path, tree: &Tree) -> io::Result<()> {
    create_entries(dir, &tree.iter().collect::<Vec<_>>())
}

/// Fewer entries are not worth a thread.
const MANY: usize = 256;

/// Half of many entries is written by a second thread.
fn create_entries(dir: &Utf8Path, entries: &[(&Utf8Path, &Entry)]) -> io::Result<()> {
    if entries.len() < MANY {
        return create_in_order(dir, entries);
    }
    let (here, there) = entries.split_at(entries.len() / 2);
    thread::scope(|scope| {
        let helper = thread::Builder::new().spawn_scoped(scope, || create_in_order(dir, there));
        create_in_order(dir, here)?;
        match helper {
            Ok(helper) => helper.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => create_in_order(dir, there), // where there can be no thread
        }
    })
}

fn create_in_order(dir: &Utf8Path, entries: &[(&Utf8Path, &Entry)]) -> io::Result<()> {
    let mut last_parent = None;
    for (path, entry) in entries {
        let at = dir.join(path);
        // Entries are in order: those of one directory follow each other.
        if last_parent != path.parent() {
            last_parent = path.parent();
            fs::create_dir_all(at.parent().unwrap_or(dir)).map_err(|error| named(&at, &error))?;
        }
        create_entry(&at, entry).map_err(|error| named(&at, &error))?;
    }
    Ok(())
}

/// Makes what `create` wrote of one tree into another tree. An entry that changes is replaced in
/// one step.
///
/// # Errors
/// The first entry that cannot be written or removed, with its path.
pub fn update(dir: &Utf8Path, written: &Tree, wanted: &Tree) -> io::Result<()> {
    let mut missing = Vec::new();
    for (path, entry) in wanted.iter() {
        match written.get(path) {
            Some(there) if there == entry => {}
            Some(_) => replace_entry(&dir.join(path), entry).map_err(|error| named(path, &error))?,
            None => missing.push((path, entry)),
        }
    }
    for (path, _) in written.iter().filter(|(path, _)| wanted.get(path).is_none()) {
        fs::remove_file(dir.join(path)).map_err(|error| named(path, &error))?;
    }
    create_entries(dir, &missing)
}

fn replace_entry(at: &Utf8Path, entry: &Entry) -> io::Result<()> {
    let fresh = at.with_file_name(format!(".{}.new", at.file_name().unwrap_or("entry")));
    create_entry(&fresh, entry)?;
    fs::rename(&fresh, at)
}

fn create_entry(at: &Utf8Path, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::File { content, mode } => {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(*mode).open(at)?;
            file.write_all(content)
        }
        Entry::Symlink { target } => symlink(target, at),
    }
}

/// An error that says where it happened.
pub(crate) fn named(path: &Utf8Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// Reads a directory back as the tree it was written from.
///
/// # Errors
/// What cannot be read.
pub fn read_tree(dir: &Utf8Path) -> io::Result<Tree> {
    let mut tree = Tree::default();
    read_below(dir, Utf8Path::new(""), &mut tree)?;
    Ok(tree)
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
            tree.insert(path, Entry::File { content: fs::read(entry.path())?.into(), mode });
        }
    }
    Ok(())
}
