//! Files of a declaration that the reverse proxy serves itself, `static = "./…"` in a route.
//!
//! The files of generations are root's. What routes name of the generation that serves is copied to where the proxy may
//! read, below a link that is led to the next generation when that one serves.

use std::collections::BTreeSet;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::atomic;
use crate::layout::Layout;
use crate::model::{File, FileKind, Service};
use crate::names::{GenerationId, ServiceName, hex};
use crate::service::store;

/// Provides the files of the generation that serves, and removes those of others.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn provide(layout: &Layout, service: &Service, id: &GenerationId) -> io::Result<()> {
    let link = layout.at(&layout.served_files(&service.name));
    let place = link.with_file_name("");
    let dirs = dirs(service);
    if dirs.is_empty() {
        return atomic::remove_dir_at_once(&place);
    }
    atomic::create_dir(&place)?;
    atomic::sweep(&place)?;
    let copy = place.join(name_of(id, &dirs));
    if !copy.exists() {
        let staging = atomic::staging(&copy)?;
        let filled = Utf8Path::from_path(staging.path()).expect("below a path in UTF-8");
        let stored = layout.at(&layout.files(&service.name, id));
        store::copy(&stored, filled, &within(&service.files, &dirs))?;
        atomic::replace_dir(staging, &copy)?;
    }
    if link.read_link_utf8().ok().as_deref() != Some(&copy) {
        atomic::link(&copy, &link)?;
    }
    for entry in atomic::entries(&place)?.iter().filter(|it| it.path() != copy && it.path() != link) {
        atomic::remove_dir_at_once(entry.path())?;
    }
    Ok(())
}

/// Removes all that the proxy was given of a service.
///
/// # Errors
/// If the file system refuses an operation.
pub(crate) fn forget(layout: &Layout, name: &ServiceName) -> io::Result<()> {
    atomic::remove_dir_at_once(&layout.at(&layout.served_files(name)).with_file_name(""))
}

/// Lists the directories of the declaration that routes name; absolute ones are the administrator's.
fn dirs(service: &Service) -> BTreeSet<&Utf8Path> {
    let named = service.routes.iter().filter_map(|route| route.handling.files.as_deref());
    named.filter(|dir| dir.is_relative()).collect()
}

/// Names a copy: routes may name other directories of the same generation.
fn name_of(id: &GenerationId, dirs: &BTreeSet<&Utf8Path>) -> Utf8PathBuf {
    let list: String = dirs.iter().map(|dir| format!("{dir}\0")).collect();
    format!("{id}-{}", &hex(&Sha256::digest(list))[..8]).into()
}

/// Selects the files below directories, with the directories above them. A link is left out: the proxy would follow it
/// to wherever it leads.
fn within(files: &[File], dirs: &BTreeSet<&Utf8Path>) -> Vec<File> {
    let is_below = |path: &Utf8Path| dirs.iter().any(|dir| path.starts_with(dir));
    let is_above = |path: &Utf8Path| dirs.iter().any(|dir| dir.starts_with(path));
    let is_served = |file: &&File| match file.kind {
        FileKind::Regular { .. } => is_below(&file.path),
        FileKind::Directory => is_below(&file.path) || is_above(&file.path),
        FileKind::Symlink { .. } => false,
    };
    files.iter().filter(is_served).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_routes_name_is_served() {
        let file = |path: &str, kind| File { path: path.into(), kind };
        let regular = || FileKind::Regular { executable: false, size: 1, sha256: String::new() };
        let files = [
            file("a", FileKind::Directory),
            file("a/public", FileKind::Directory),
            file("a/public/link", FileKind::Symlink { target: "/etc".into() }),
            file("a/public/x", regular()),
            file("a/publicly", regular()),
            file("secret", regular()),
        ];
        let served = within(&files, &BTreeSet::from([Utf8Path::new("a/public")]));
        assert_eq!(served.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a", "a/public", "a/public/x"]);
    }
}
