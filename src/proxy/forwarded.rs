//! Header fields in which the proxy tells the gateway of a function what it knows of a request. The proxy replaces those that a
//! client sends.

/// The path by which the proxy found the function: that of an alias, or `/cgi/ID`.
pub(crate) const MOUNT: &str = "conductor-mount";
/// The client's port.
pub(crate) const REMOTE_PORT: &str = "conductor-remote-port";
/// The address of this host to which the client is connected; another text from a proxy that does not know it.
pub(crate) const SERVER_ADDR: &str = "conductor-server-addr";

/// The service that answers, for lines of the access log.
pub(crate) const SERVICE: &str = "conductor-service";

/// The user that has logged in at the proxy.
pub(crate) const REMOTE_USER: &str = "x-remote-user";

/// Returns whether a field is one of Conductor's own.
#[cfg(feature = "cli")]
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with("conductor-")
}
