//! Users and groups, wherever nsswitch.conf(5) has them: files, directories of a network, systemd's own.

use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};

/// Finds a user by name or number.
///
/// # Errors
/// If a source of users does not answer.
pub(crate) fn user(name: &str) -> io::Result<Option<User>> {
    match name.parse() {
        Ok(number) => found(User::from_uid(Uid::from_raw(number))),
        Err(_) => found(User::from_name(name)),
    }
}

/// Finds the number of a group by its name.
///
/// # Errors
/// If a source of groups does not answer.
pub(crate) fn group(name: &str) -> io::Result<Option<Gid>> {
    Ok(found(Group::from_name(name))?.map(|group| group.gid))
}

/// The errors by which some sources report that an account does not exist, getpwnam(3).
fn found<T>(answer: nix::Result<Option<T>>) -> io::Result<Option<T>> {
    match answer {
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        answer => Ok(answer?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let root = user("root").expect("an answer").expect("it is there");
        assert_eq!((root.uid.as_raw(), root.gid.as_raw(), root.dir.to_str()), (0, 0, Some("/root")));
        assert_eq!(user("0").expect("an answer").map(|user| user.name), Some("root".to_owned()));
        assert_eq!(group("root").expect("an answer").map(Gid::as_raw), Some(0));
        for missing in ["", "no-such-account", "a\0b", "4000000000"] {
            assert!(user(missing).expect("an answer").is_none(), "{missing:?}");
            assert!(group(missing).expect("an answer").is_none(), "{missing:?}");
        }
    }
}
