//! Files of users with their passwords' hashes, htpasswd(1), that routes name by `basic_auth`.
//!
//! They are root's. The proxy gets a copy in its own form that its group may read: the compiled configuration, which everybody
//! may read, has only their paths.

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use crate::layout::Layout;
use crate::names::hex;

/// The file among a driver's with the paths of all files of users, a line each.
pub(super) const LIST: &str = "passwords";

/// Returns the name of the list of users in HAProxy's configuration, by the place of their copy.
pub(super) fn userlist(place: &Utf8Path) -> String {
    format!("conductor-{}", place.file_stem().unwrap_or_default())
}

/// Returns where the proxy finds the users of a file.
pub(super) fn place(layout: &Layout, file: &Utf8Path) -> Utf8PathBuf {
    let digest = hex(&Sha256::digest(file.as_str()));
    layout.published_proxy("users").join(&digest[..16])
}
