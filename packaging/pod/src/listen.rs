//! Passes listening sockets to a program that takes the place of this one, sd_listen_fds(3).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::words::Words;

/// The first descriptor that a program takes, SD_LISTEN_FDS_START.
const FIRST: i32 = 3;
/// The callers that may wait, as in a socket of systemd's: the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Binds each declared port and executes the command. Returns only if that fails.
pub(crate) fn exec(arguments: &[String]) -> Result<(), String> {
    let mut words = Words::new(arguments);
    let (mut sockets, mut names) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        match word {
            "listen" => {
                let port = words.value("the port")?;
                names.push(words.value::<String>("the name of the port")?);
                sockets.push(listener(port).map_err(|error| format!("port {port}: {error}"))?);
            }
            "exec" => break,
            other => return Err(format!("{other:?} is neither listen nor exec")),
        }
    }
    for (socket, expected) in sockets.iter().zip(FIRST..) {
        // Descriptors are given out in order, unless the container's runtime has left one open.
        if socket.as_raw_fd() != expected {
            return Err(format!("descriptor {expected} is in use, which the program takes for its socket"));
        }
        fcntl_setfd(socket, FdFlags::empty()).map_err(|error| format!("descriptor {expected}: {error}"))?;
    }
    let (program, arguments) = words.rest().split_first().ok_or("the command is missing")?;
    let error = Command::new(program)
        .args(arguments)
        .env("LISTEN_PID", process::id().to_string())
        .env("LISTEN_FDS", sockets.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        .exec();
    Err(format!("{program}: {error}"))
}

/// Listens on a port of all addresses: IPv6 with IPv4 in it, or IPv4 alone where the kernel has no IPv6.
fn listener(port: u16) -> Result<TcpListener, rustix::io::Errno> {
    let bound = |family, address: SocketAddr| {
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if family == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&socket, false)?;
        }
        bind(socket.as_fd(), &address)?;
        listen(&socket, BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bound(AddressFamily::INET6, (Ipv6Addr::UNSPECIFIED, port).into())
        .or_else(|_: rustix::io::Errno| bound(AddressFamily::INET, (Ipv4Addr::UNSPECIFIED, port).into()))
}
