//! Copies of the files of users, htpasswd(1), in the form that the proxy reads.

use fs_err as fs;
use std::fmt::Write;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};

use camino::Utf8Path;

use super::driver::Driver;
use super::passwords::{place, userlist};
use crate::atomic;
use crate::error::{Error, Result};
use crate::layout::Layout;

/// Provides the copies of the files of a list, for a group. Returns whether one is another than before.
///
/// # Errors
/// If a file cannot be read, or has a line that is no user with a hash by bcrypt.
pub(super) fn provide(layout: &Layout, driver: Driver, list: &str, group: u32) -> Result<bool> {
    let mut is_changed = false;
    for file in list.lines().map(Utf8Path::new) {
        let text = fs::read_to_string(layout.at(file)).map_err(|error| Error(format!("basic_auth: {error}")))?;
        let users = users(&text).map_err(|why| Error(format!("basic_auth: {file}: {why}")))?;
        let place = layout.at(&place(layout, file));
        // HAProxy reads files of one suffix.
        let place = if driver == Driver::Haproxy { place.with_extension("cfg") } else { place };
        let content = written(driver, &userlist(&place), &users);
        if fs::read_to_string(&place).is_ok_and(|there| there == content) {
            continue;
        }
        store(&place, &content, group)?;
        is_changed = true;
    }
    Ok(is_changed)
}

/// Nobody may read a hash before the file has its group.
fn store(place: &Utf8Path, content: &str, group: u32) -> io::Result<()> {
    let dir = place.parent().expect("it is in a directory");
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::Write::write_all(&mut file, content.as_bytes())?;
    chown(file.path(), None, Some(group))?;
    fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640))?;
    file.persist(place).map_err(|error| error.error)?;
    atomic::sync_parent(place)
}

/// Returns the users of a file of htpasswd(1) with their hashes.
fn users(text: &str) -> std::result::Result<Vec<(&str, &str)>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            let user = line.split_once(':').filter(|(name, hash)| is_name(name) && is_bcrypt(hash));
            user.ok_or_else(|| {
                format!("line {}: not a user with a hash by bcrypt; write it with `htpasswd -B`", index + 1)
            })
        })
        .collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c))
}

/// The form of crypt(5): `$2y$05$` and 53 characters.
fn is_bcrypt(hash: &str) -> bool {
    let is_of_alphabet = |c: char| c.is_ascii_alphanumeric() || "./$".contains(c);
    hash.len() == 60 && hash.starts_with("$2") && hash.chars().all(is_of_alphabet)
}

fn written(driver: Driver, list: &str, users: &[(&str, &str)]) -> String {
    let mut text = String::new();
    if driver == Driver::Haproxy {
        writeln!(text, "userlist {list}").expect("a string takes any text");
    }
    for (name, hash) in users {
        match driver {
            Driver::Caddy => writeln!(text, "{name} {hash}"),
            Driver::Nginx => writeln!(text, "{name}:{hash}"),
            Driver::Haproxy => writeln!(text, "\tuser {name} password {hash}"),
        }
        .expect("a string takes any text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashes_by_bcrypt_are_taken() {
        let hash = format!("$2y$05${}", "a".repeat(53));
        let text = format!("# people\nann:{hash}\n\nbob@x:{hash}\n");
        let both = vec![("ann", hash.as_str()), ("bob@x", hash.as_str())];
        assert_eq!(users(&text), Ok(both.clone()));
        let list = format!("userlist conductor-1\n\tuser ann password {hash}\n\tuser bob@x password {hash}\n");
        assert_eq!(written(Driver::Haproxy, "conductor-1", &both), list);
        for wrong in ["ann", "ann:secret", "ann:$apr1$x$y", &format!("a b:{hash}"), &format!("ann:{hash}{{"), "ann:$2"]
        {
            assert!(users(wrong).is_err_and(|why| why.starts_with("line 1:")), "{wrong}");
        }
    }
}
