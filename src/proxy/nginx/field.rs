//! Fields of the requests that nginx passes on.

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
