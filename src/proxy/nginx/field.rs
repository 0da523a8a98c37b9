//! Fields of the requests that nginx passes on.

use super::text::quoted;
use crate::model::route::HeaderChanges;
use crate::proxy::forwarded;

/// The fields of requests that every service gets from the proxy, whatever the client sends.
pub(super) const FIELDS: &[(&str, &str)] = &[
    ("Host", "$conductor_host"),
    ("Connection", "$conductor_connection"),
    ("Upgrade", "$http_upgrade"),
    ("X-Forwarded-For", "$remote_addr"),
    ("X-Forwarded-Proto", "$conductor_scheme"),
    ("X-Forwarded-Host", "$conductor_host"),
    (forwarded::MOUNT, "$conductor_mount"),
    (forwarded::REMOTE_PORT, "$conductor_remote_port"),
    (forwarded::SERVER_ADDR, "$conductor_server_addr"),
];

/// Lists those fields that are no connection's, for protocols without such.
pub(super) fn of_message() -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_of_connection = |name: &str| matches!(name, "Connection" | "Upgrade");
    FIELDS.iter().copied().filter(move |(name, _)| !is_of_connection(name))
}

/// Lists the fields of a request that are not as in `fields`, with their values: an empty one removes a field.
pub(super) fn changed(
    fields: impl Iterator<Item = (&'static str, &'static str)>,
    changes: &HeaderChanges,
    others: &[(String, String)],
    is_own: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let HeaderChanges { remove, set, add: _ } = changes;
    let is_changed = |name: &str| {
        let mut changed = remove.iter().chain(set.keys()).chain(others.iter().map(|(name, _)| name));
        changed.any(|other| other.eq_ignore_ascii_case(name)) || is_own(name)
    };
    let kept = fields.filter(|(name, _)| !is_changed(name)).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let removed = remove.iter().map(|name| (name.clone(), "\"\"".to_owned()));
    let set = set.iter().map(|(name, value)| (name.clone(), quoted(value)));
    kept.chain(removed).chain(set).chain(others.iter().cloned()).collect()
}
