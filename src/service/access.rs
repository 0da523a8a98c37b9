//! Access of other users to what is declared: who can change it has commands run as root with the next reload, and who
//! can read it has what its owner kept from others.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};

use crate::diagnostic::Diagnostic;
use crate::layout::{Layout, Scope};
use crate::listing;
use crate::source::read;

/// Finds what other users than root may change of the system's stored declarations, or of what they link to, and which
/// of conductor's own directories they may read; and what cannot be looked at. A directory stands for everything in it.
/// Other roots, and users' own declarations, are left out.
pub(crate) fn of_others(layout: &Layout) -> Vec<Diagnostic> {
    if layout.scope != Scope::System || layout.root() != "/" {
        return Vec::new();
    }
    let mut found = opened(layout);
    for base in layout.declaration_dirs().iter().chain(layout.function_dirs()) {
        match listing::list(base) {
            Ok(names) => found.extend(names.iter().filter_map(|name| of_entry(&base.join(name.to_str()?)))),
            Err(error) => found.push(unknown(base, &error)),
        }
    }
    found.sort_by_key(Diagnostic::headline);
    found.dedup_by_key(|one| one.headline());
    found
}

/// Finds the directories of declared files that every user may enter, or list: what is in them has no modes of its own.
fn opened(layout: &Layout) -> Vec<Diagnostic> {
    const ENTER: u32 = 0o001;
    let stored = [&layout.declaration_dirs()[0], &layout.function_dirs()[0], &layout.histories(), &layout.live()];
    let mut dirs: Vec<_> = stored.into_iter().map(|dir| (dir.clone(), 0)).collect();
    // A process may find its own deployment's directory.
    dirs.push((layout.deployments(), ENTER));
    let is_open = |dir: &Utf8Path, allowed: u32| {
        dir.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o007 & !allowed != 0)
    };
    let open = dirs.iter().filter(|(dir, allowed)| is_open(dir, *allowed));
    let finding = |(dir, _): &(Utf8PathBuf, u32)| {
        let remedy = "systemd-tmpfiles --create conductor.conf";
        Diagnostic::of_file(dir, "every user may enter it, and read what is declared", remedy)
    };
    open.map(finding).collect()
}

fn of_entry(entry: &Utf8Path) -> Option<Diagnostic> {
    if read::is_mask(entry) {
        return None;
    }
    let found = above(entry).and_then(|found| if found.is_some() { Ok(found) } else { within(entry) });
    found.unwrap_or_else(|error| Some(unknown(entry, &error)))
}

fn unknown(path: &Utf8Path, error: &io::Error) -> Diagnostic {
    let message = format!("whether other users may change it is unknown: {error}");
    Diagnostic::of_file(path, message, "make it readable, or remove it")
}

/// Finds the first directory on the way to a declaration, or to what it links to, that others may change.
fn above(entry: &Utf8Path) -> io::Result<Option<Diagnostic>> {
    let place = entry.canonicalize_utf8()?;
    let mut dirs: Vec<_> = place.ancestors().skip(1).chain(entry.ancestors().skip(1)).collect();
    dirs.sort();
    for dir in dirs {
        let metadata = dir.metadata()?;
        // In a sticky directory nobody may replace what is root's.
        let is_sticky = metadata.permissions().mode() & 0o1000 != 0;
        if let Some(found) = finding(dir, &metadata).filter(|_| !is_sticky) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn within(path: &Utf8Path) -> io::Result<Option<Diagnostic>> {
    let metadata = path.metadata()?;
    let own = finding(path, &metadata);
    if own.is_some() || !metadata.is_dir() {
        return Ok(own);
    }
    for name in listing::names(path)? {
        let inside = path.join(name);
        if !inside.is_symlink()
            && let Some(found) = within(&inside)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn finding(path: &Utf8Path, metadata: &Metadata) -> Option<Diagnostic> {
    let mode = metadata.permissions().mode();
    let why = match (metadata.uid(), metadata.gid()) {
        (0, _) if mode & 0o002 != 0 => "any user may change it".to_owned(),
        (0, group) if mode & 0o020 != 0 && group != 0 => format!("the group {group} may change it"),
        (0, _) => return None,
        (user, _) => format!("belongs to the user {user}"),
    };
    let message = format!("{why}, and root runs what is declared there");
    Some(Diagnostic::of_file(path, message, format!("chown -R root:root {path}; chmod -R go-w {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};

    #[test]
    fn what_others_may_write_is_found() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
        fs::create_dir(root.join("sub")).expect("a directory");
        let file = root.join("sub/service.toml");
        fs::write(&file, "").expect("a file");
        let with = |mode| {
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("one's own");
            finding(&file, &file.metadata().expect("a file")).map(|found| found.headline())
        };
        let is_root = file.metadata().expect("a file").uid() == 0;
        assert_eq!(with(0o644).is_none(), is_root);
        assert!(with(0o666).is_some());
        assert_eq!(within(root).expect("readable").expect("the file").headline(), with(0o666).expect("the same"));
    }
}
