//! Access to the sockets of deployments for a proxy whose unit cannot give its workers a group: they leave all groups but
//! those of their user, and an entry in an access control list, acl(5), lets that user in and nobody else.
//!
//! The format of the lists is that of the kernel, `include/uapi/linux/posix_acl_xattr.h`.

use fs_err as fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use camino::Utf8Path;
use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;

use super::chosen::Chosen;
use crate::accounts;
use crate::atomic;
use crate::layout::Layout;

/// The list of a file.
const OWN: &str = "system.posix_acl_access";
/// The list that what is made in a directory begins with.
const INHERITED: &str = "system.posix_acl_default";
/// The kernel's version of the format.
const VERSION: u32 = 2;
/// Of entries that name nobody.
const NOBODY: u32 = u32::MAX;
const READ_WRITE: u16 = 0o6;
const ALL: u16 = 0o7;

/// Lets the workers of the chosen proxy connect to all sockets, those that are made later included, and those of another
/// proxy no more. Without a change nothing is looked at.
///
/// # Errors
/// What the file system refuses.
pub(crate) fn settle(layout: &Layout) -> io::Result<()> {
    let name = Chosen::of_host(layout).driver.and_then(|driver| driver.user(layout));
    let user = name.map(|name| accounts::user(&name)).transpose()?.flatten();
    let user = user.map(|user| user.uid.as_raw()).filter(|uid| *uid != 0);
    for dir in layout.socket_dirs().iter().map(|dir| layout.at(dir)).filter(|dir| dir.is_dir()) {
        if inherited(&dir)? != user.map(inheritable) {
            below(&dir, user)?;
        }
    }
    Ok(())
}

/// Gives a socket that was made elsewhere what those that are made in its directory begin with. Only root can write to that
/// directory.
///
/// # Errors
/// What the file system refuses.
pub(crate) fn inherit(socket: &Utf8Path) -> io::Result<()> {
    let dir = socket.parent().unwrap_or(socket);
    let Some(user) = inherited(dir)?.as_deref().and_then(user_of) else { return Ok(()) };
    let mode = fs::symlink_metadata(socket)?.mode();
    set(socket, OWN, Some(list(user, READ_WRITE, mode)))
}

/// Returns the user that a list names.
fn user_of(list: &[u8]) -> Option<u32> {
    let mut entries = list.get(4..)?.chunks_exact(8);
    let named = entries.find(|entry| entry.starts_with(&0x02_u16.to_le_bytes()))?;
    Some(u32::from_le_bytes(named[4..].try_into().ok()?))
}

/// Sets the lists of a directory and of what is in it. The directory itself comes first: sockets are made meanwhile.
fn below(dir: &Utf8Path, user: Option<u32>) -> io::Result<()> {
    set(dir, INHERITED, user.map(inheritable))?;
    for entry in atomic::entries(dir)? {
        let path = entry.path();
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        let done = if metadata.is_dir() {
            below(path, user)
        } else if metadata.file_type().is_socket() {
            set(path, OWN, user.map(|user| list(user, READ_WRITE, metadata.mode())))
        } else {
            Ok(())
        };
        match done {
            // A deployment has stopped.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn inherited(dir: &Utf8Path) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; 256];
    match getxattr(dir.as_std_path(), INHERITED, &mut buffer) {
        Ok(length) => Ok(Some(buffer[..length].to_vec())),
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn set(path: &Utf8Path, name: &str, list: Option<Vec<u8>>) -> io::Result<()> {
    let done = match list {
        Some(list) => setxattr(path.as_std_path(), name, &list, XattrFlags::empty()),
        None => removexattr(path.as_std_path(), name),
    };
    match done {
        Err(Errno::NODATA) => Ok(()),
        done => Ok(done?),
    }
}

/// Returns the list of what is made in a directory: the mode that it is made with limits its group and the user.
fn inheritable(user: u32) -> Vec<u8> {
    list(user, ALL, 0o775)
}

/// Returns a list with the permissions of a mode, and those of one user beside them.
fn list(user: u32, permissions: u16, mode: u32) -> Vec<u8> {
    let bits = |shift: u32| ((mode >> shift) & 0o7) as u16;
    let mask = bits(3) | permissions;
    // The owner, a user, the group, the limit of both, all others: tags are in this order.
    let entries = [
        (0x01, bits(6), NOBODY),
        (0x02, permissions, user),
        (0x04, bits(3), NOBODY),
        (0x10, mask, NOBODY),
        (0x20, bits(0), NOBODY),
    ];
    let entry = |(tag, permissions, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [VERSION.to_le_bytes().to_vec()].into_iter().chain(entries.map(entry)).flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn sockets_of_now_and_later_get_the_entry_and_lose_it() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(scratch.path()).unwrap();
        if set(dir, INHERITED, Some(inheritable(4321))).is_err() {
            // Not every file system has lists.
            return;
        }
        set(dir, INHERITED, None).unwrap();
        let entry = |path: &Utf8Path| {
            let mut buffer = [0; 256];
            let length = getxattr(path.as_std_path(), OWN, &mut buffer).unwrap_or(0);
            buffer[..length].windows(8).any(|it| it == [2, 0, 6, 0, 0xe1, 0x10, 0, 0])
        };
        fs::create_dir(dir.join("a")).unwrap();
        let _old = UnixListener::bind(dir.join("a/old")).unwrap();
        below(dir, Some(4321)).unwrap();
        fs::create_dir(dir.join("b")).unwrap();
        let _new = UnixListener::bind(dir.join("b/new")).unwrap();
        assert!(entry(&dir.join("a/old")));
        let mut buffer = [0; 256];
        let length = getxattr(dir.join("b/new").as_std_path(), OWN, &mut buffer).expect("it is inherited twice");
        let is_limited_by_mode = |it: &[u8]| it == [4, 0, 7, 0, 0xff, 0xff, 0xff, 0xff];
        assert!(buffer[..length].windows(8).any(is_limited_by_mode), "the group keeps its access");
        // One that is made elsewhere, and gets a name there.
        fs::create_dir(dir.join("c")).unwrap();
        set(&dir.join("c"), INHERITED, None).unwrap();
        let _other = UnixListener::bind(dir.join("c/other")).unwrap();
        fs::hard_link(dir.join("c/other"), dir.join("b/other")).unwrap();
        assert!(!entry(&dir.join("b/other")));
        inherit(&dir.join("b/other")).unwrap();
        assert!(entry(&dir.join("b/other")));
        below(dir, None).unwrap();
        assert!(!entry(&dir.join("a/old")) && inherited(dir).unwrap().is_none());
        assert!(inherited(&dir.join("b")).unwrap().is_none());
    }
}
