//! Network namespaces of processes, namespaces(7).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::thread;

use rustix::fs::{Stat, fstat, stat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The network namespace of PID 1, where the proxies run.
pub(super) const HOST_NETWORK: &str = "/proc/1/ns/net";

/// Returns the path of a process' network namespace; None if it is that of PID 1.
pub(crate) fn network_of(pid: u32) -> Option<String> {
    let path = format!("/proc/{pid}/ns/net");
    let is_other = identity(&stat(path.as_str()).ok()?) != identity(&stat(HOST_NETWORK).ok()?);
    is_other.then_some(path)
}

/// Does something in a network namespace; in the calling thread's if that is the one, or if it may not enter the other.
///
/// # Errors
/// If the namespace cannot be entered, and those of `work`.
pub(super) fn within<T: Send>(namespace: &str, work: impl Fn() -> io::Result<T> + Sync) -> io::Result<T> {
    let Some(namespace) = other_network(namespace)? else { return work() };
    // A thread of its own enters the namespace: the caller stays in its namespace, where it runs commands.
    thread::scope(|scope| {
        let working = thread::Builder::new().spawn_scoped(scope, || {
            enter_network(&namespace)?;
            work()
        })?;
        working.join().unwrap_or_else(|_| Err(io::Error::other("the thread in another network namespace panicked")))
    })
}

/// Opens a network namespace; None if the calling thread is in it or may not enter it.
fn other_network(namespace: &str) -> io::Result<Option<File>> {
    let other = match File::open(namespace) {
        // Without privileges, as in a user's own services, a process may not enter it. `is_listened_to` then finds
        // listeners that sock_diag does not show.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => {
            return Ok(None);
        }
        opened => opened?,
    };
    let own = identity(&stat("/proc/thread-self/ns/net")?);
    Ok((identity(&fstat(&other)?) != own).then_some(other))
}

/// Returns device and inode, which identify a namespace, namespaces(7).
pub(super) fn identity(namespace: &Stat) -> (u64, u64) {
    (namespace.st_dev, namespace.st_ino)
}

/// Moves the calling thread into a network namespace.
fn enter_network(namespace: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_may_not_be_looked_at_is_left_alone() {
        assert!(other_network("/proc/nonexistent/ns/net").unwrap().is_none());
        assert!(other_network("/proc/self/ns/net").unwrap().is_none(), "the own one needs no entering");
        assert!(other_network("/proc/self/status/x").is_err());
    }
}
