//! The listening socket of a function: systemd's, or one that the gateway binds itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use camino::Utf8Path;

use crate::atomic;
use crate::deployment::prepare::give_to_proxy;
use crate::inode::Inode;

/// Returns the listening socket that is stdin, `StandardInput=socket` of systemd.exec(5). None if stdin is something else.
pub(crate) fn inherited() -> Option<UnixListener> {
    let stdin = io::stdin();
    let listens = rustix::net::sockopt::socket_acceptconn(stdin.as_fd()).unwrap_or(false);
    let socket: OwnedFd = listens.then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten()?;
    Some(socket.into())
}

/// Binds the socket of a function at `path`, for functions whose socket systemd does not have.
///
/// # Errors
/// If another process serves the function, or the kernel refuses the socket.
pub(crate) fn bind(path: &Utf8Path) -> Result<UnixListener, String> {
    let failed = |error: io::Error| format!("could not bind {path}: {error}");
    if UnixStream::connect(path).is_ok() {
        return Err(format!("another process serves {path}"));
    }
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(failed)?;
    atomic::remove_file(path).map_err(failed)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    // As SocketGroup= and SocketMode= of the function's unit. Only root may give a file away; others serve no proxy.
    let _ = give_to_proxy(&Inode::socket(path).map_err(failed)?, 0o660);
    Ok(listener)
}
