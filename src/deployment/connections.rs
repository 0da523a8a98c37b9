//! How many requests are in flight on a deployment's socket, in the kernel's own words (sock_diag(7)).
//!
//! The proxies keep no connection alive, so what is connected to a deployment's unix socket is exactly
//! its requests in flight. Three things would each read as a false zero and are errors or covered here:
//!
//! - A connection that the process has not accepted yet has no socket of its own; it shows only in the
//!   length of the listener's queue.
//! - sock_diag may be missing (`unix_diag` is a module on Debian).
//! - The kernel lists only the sockets of one network namespace, and hooks of a unit with
//!   `PrivateNetwork=` run in another than the proxies.
//!
//! An accepted connection belongs to the network namespace of whoever connected, not of the listener:
//! requests of a proxy that has a namespace of its own, as in a container, are seen only while queued.

use std::ops::Add;
use std::os::fd::AsFd;
use std::{fmt, fs::File, io, thread};

use camino::Utf8Path;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::unix::nlas::UnixDiagName;
use netlink_packet_sock_diag::unix::{ShowFlags, StateFlags, UnixRequest, UnixResponse};
use netlink_packet_sock_diag::{SockDiagMessage, TCP_LISTEN};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use rustix::fs::{Stat, fstat, stat};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// PID 1's network namespace, where the proxies are.
const HOST_NETWORK: &str = "/proc/1/ns/net";
/// The kernel fills at most 32 KiB at a time (netlink(7)), whatever more is offered.
const BUFFER: usize = 32 * 1024;
/// Dumps that other sockets' coming and going interrupted, before giving up.
const REPEATS: usize = 10;
/// sock_diag(7): any cookie; the inode alone says which socket is meant.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// recv(2): tell the whole length of a message that did not fit. The same on every architecture.
const MSG_TRUNC: i32 = 0x20;

/// The connections of one listening unix socket, in numbers of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct InFlight {
    /// Accepted by the process and not closed by it, whether or not the client is still there.
    pub(crate) established: u32,
    /// Waiting in the listener's queue; the process has not accepted them. Likewise.
    pub(crate) queued: u32,
}

impl InFlight {
    /// Whether nothing is in flight.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for InFlight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { established: self.established + other.established, queued: self.queued + other.queued }
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} accepted and {} queued", self.established, self.queued)
    }
}

/// Counts the connections of the unix socket bound at `socket`, the very path given to bind(2).
///
/// Without a listener and connections the count is zero. The calling thread stays in its network
/// namespace; the sockets counted are those of PID 1's (see the module's text).
///
/// # Errors
///
/// sock_diag(7) is missing or failed, PID 1's network namespace cannot be entered, or something
/// listens at `socket` that sock_diag does not show under this path: it is in another network
/// namespace, or `socket` is a symbolic link. None of these is a count of zero.
pub(crate) fn in_flight(socket: &Utf8Path) -> io::Result<InFlight> {
    Diagnostics::of_host()?.in_flight(socket)
}

/// The network namespace of a process, as a path, where it is not PID 1's.
pub(crate) fn network_of(pid: u32) -> Option<String> {
    let path = format!("/proc/{pid}/ns/net");
    let is_other = identity(&stat(path.as_str()).ok()?) != identity(&stat(HOST_NETWORK).ok()?);
    is_other.then_some(path)
}

/// Whether the other side has accepted the connection of `client`, a connected unix socket that the
/// calling thread's network namespace holds. False also once the other side has closed it.
pub(super) fn is_accepted(client: impl AsFd) -> io::Result<bool> {
    let request = UnixRequest {
        state_flags: StateFlags::all(),
        inode: fstat(client)?.st_ino as u32, // sock_diag knows sockets by 32 bits
        show_flags: ShowFlags::PEER,
        cookie: NO_COOKIE,
    };
    let mut accepted = false;
    // A queued connection has no inode yet: the kernel reports its peer as 0.
    Diagnostics::here()?.ask(&request, 0, |socket| accepted |= socket.peer().is_some_and(|peer| peer != 0))?;
    Ok(accepted)
}

/// A socket to sock_diag(7). It tells of the network namespace it was opened in, from any thread.
pub(super) struct Diagnostics(Socket);

impl Diagnostics {
    /// Of the calling thread's network namespace.
    fn here() -> io::Result<Self> {
        Socket::new(NETLINK_SOCK_DIAG).map(Self)
    }

    /// Of PID 1's network namespace; of the calling thread's own without the privilege to enter it.
    pub(super) fn of_host() -> io::Result<Self> {
        Self::of_network(HOST_NETWORK)
    }

    /// Of a network namespace; None where it is gone, and with it who listened there.
    pub(super) fn of_other(namespace: &str) -> io::Result<Option<Self>> {
        if std::path::Path::new(namespace).exists() { Self::of_network(namespace).map(Some) } else { Ok(None) }
    }

    fn of_network(namespace: &str) -> io::Result<Self> {
        let Some(namespace) = other_network(namespace)? else { return Self::here() };
        // In a thread of its own, which ends: the caller still has commands to run in its namespace.
        thread::scope(|scope| {
            let opening = thread::Builder::new().spawn_scoped(scope, || {
                enter_network(&namespace)?;
                Self::here()
            })?;
            opening.join().unwrap_or_else(|_| Err(io::Error::other("the thread that opens sock_diag panicked")))
        })
    }

    pub(super) fn in_flight(&self, socket: &Utf8Path) -> io::Result<InFlight> {
        match self.count(socket)? {
            Some(count) => Ok(count),
            None if is_listened_to(socket)? => Err(io::Error::other(format!(
                "something listens at {socket} that sock_diag does not show: it is in another network namespace, \
                 or was bound under another path"
            ))),
            None => Ok(InFlight::default()),
        }
    }

    /// The connections of `socket`, or nothing if no socket has this name.
    ///
    /// All sockets are gone through, for sock_diag filters by state but not by name, and which inodes
    /// accepted connections have is not known.
    pub(super) fn count(&self, socket: &Utf8Path) -> io::Result<Option<InFlight>> {
        let request = UnixRequest {
            state_flags: StateFlags::ESTABLISHED | StateFlags::LISTEN,
            inode: 0,
            show_flags: ShowFlags::NAME | ShowFlags::RQLEN,
            cookie: NO_COOKIE,
        };
        for _ in 0..REPEATS {
            let mut count = None;
            let consistent = self.ask(&request, NLM_F_DUMP, |found| {
                if has_name(&found, socket) {
                    count_in(count.get_or_insert_default(), &found);
                }
            })?;
            if consistent {
                return Ok(count);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "sock_diag: every listing of the sockets was interrupted"))
    }

    /// Sends one request and hands over every socket it is answered with. False if the kernel says
    /// that its sockets changed meanwhile, so that some may have been left out (NLM_F_DUMP_INTR).
    fn ask(&self, request: &UnixRequest, flags: u16, mut each: impl FnMut(UnixResponse)) -> io::Result<bool> {
        self.0.send(&packet(request, flags), 0)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut consistent = true;
        loop {
            receive(&self.0, &mut buffer)?;
            let mut rest = &buffer[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
                consistent &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(SockDiagMessage::UnixResponse(socket)) => each(*socket),
                    NetlinkPayload::Done(done) if done.code < 0 => return Err(from_code(done.code)),
                    NetlinkPayload::Done(_) => return Ok(consistent),
                    NetlinkPayload::Error(error) => return Err(from_code(error.raw_code())),
                    NetlinkPayload::Noop => {}
                    other => return Err(io::Error::other(format!("sock_diag: unexpected answer {other:?}"))),
                }
                if message.header.flags & NLM_F_MULTIPART == 0 {
                    return Ok(consistent);
                }
                // Messages start at multiples of four bytes (netlink(3), NLMSG_ALIGN).
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = &rest[length.min(rest.len())..];
            }
        }
    }
}

/// Receives one datagram of whole messages.
fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        buffer.clear();
        match socket.recv(buffer, MSG_TRUNC) {
            Ok(length) if length > buffer.len() => return Err(io::Error::other("sock_diag: an answer was cut off")),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn packet(request: &UnixRequest, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::UnixRequest(request.clone()).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The kernel's negative errno.
fn from_code(code: i32) -> io::Error {
    let error = io::Error::from_raw_os_error(-code);
    io::Error::new(error.kind(), format!("sock_diag: {error}"))
}

fn has_name(found: &UnixResponse, socket: &Utf8Path) -> bool {
    matches!(found.name(), Some(UnixDiagName::Pathname(name)) if name == socket.as_str())
}

fn count_in(count: &mut InFlight, found: &UnixResponse) {
    if found.header.state == TCP_LISTEN {
        count.queued += found.number_of_pending_connection().unwrap_or(1); // untold is not none
    } else {
        count.established += 1;
    }
}

/// Whether anything listens at `socket`, by connecting to it.
fn is_listened_to(socket: &Utf8Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match net::connect(&probe, &SocketAddrUnix::new(socket.as_std_path())?) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true), // AGAIN: its queue is full
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A network namespace, if the calling thread is in another.
fn other_network(namespace: &str) -> io::Result<Option<File>> {
    let other = match File::open(namespace) {
        // Without privileges (a user's own services) there is no way into it. What then cannot be
        // seen is found out by `is_listened_to`.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) => {
            return Ok(None);
        }
        opened => opened?,
    };
    let own = identity(&stat("/proc/thread-self/ns/net")?);
    Ok((identity(&fstat(&other)?) != own).then_some(other))
}

/// namespaces(7): device and inode tell namespaces apart.
fn identity(namespace: &Stat) -> (u64, u64) {
    (namespace.st_dev, namespace.st_ino)
}

/// Moves the calling thread into a network namespace.
fn enter_network(namespace: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::sockets::{Place, accept, connect};
    use std::os::unix::net::UnixListener;

    /// Runs `what` in a thread with a new, empty network namespace.
    fn in_new_network<T: Send>(what: impl FnOnce() -> T + Send) -> T {
        let run = || {
            #[allow(deprecated)] // its replacement is unsafe for the flag that unshares descriptors
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).expect("unshare(2)");
            what()
        };
        thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn accepted_and_queued_are_told_apart() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let clients = connect(&place.socket, 5);
        let accepted = accept(&listener, 2);
        assert_eq!(in_flight(&place.socket).unwrap(), InFlight { established: 2, queued: 3 });
        drop(clients);
        // The process has not closed them: it may still be at work.
        assert_eq!(in_flight(&place.socket).unwrap(), InFlight { established: 2, queued: 3 });
        drop((accepted, accept(&listener, 3)));
        assert!(in_flight(&place.socket).unwrap().is_none());
    }

    #[test]
    fn without_a_listener_nothing_is_in_flight_but_what_was_accepted() {
        let place = Place::new();
        assert!(in_flight(&place.socket).unwrap().is_none());
        let listener = UnixListener::bind(&place.socket).unwrap();
        let _clients = connect(&place.socket, 2);
        let accepted = accept(&listener, 1);
        drop(listener);
        assert_eq!(in_flight(&place.socket).unwrap(), InFlight { established: 1, queued: 0 });
        drop(accepted);
        assert!(in_flight(&place.socket).unwrap().is_none());
    }

    #[test]
    fn a_longest_path_is_found() {
        let place = Place::new();
        let directory = place.socket.parent().unwrap();
        let name = "x".repeat(107 - directory.as_str().len() - 1);
        let socket = directory.join(name);
        let _listener = UnixListener::bind(&socket).unwrap();
        let _client = connect(&socket, 1);
        assert_eq!(in_flight(&socket).unwrap().queued, 1);
    }

    #[test]
    fn a_listener_under_another_name_is_an_error_not_zero() {
        let place = Place::new();
        let _listener = UnixListener::bind(&place.socket).unwrap();
        let link = place.socket.with_file_name("link");
        std::os::unix::fs::symlink(&place.socket, &link).unwrap();
        let error = in_flight(&link).unwrap_err();
        assert!(error.to_string().contains("does not show"), "{error}");
    }

    #[test]
    #[ignore = "needs CAP_SYS_ADMIN, as root has it"]
    fn sockets_are_counted_from_another_network() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let _clients = connect(&place.socket, 5);
        let _accepted = accept(&listener, 2);
        in_new_network(|| {
            let own = || identity(&stat("/proc/thread-self/ns/net").unwrap());
            let before = own();
            // The main thread stands for PID 1, which a container may not let us look at.
            let main = Diagnostics::of_network("/proc/self/ns/net").unwrap();
            assert_eq!(main.in_flight(&place.socket).unwrap(), InFlight { established: 2, queued: 3 });
            assert_eq!(own(), before, "the caller stays where it was");
        });
    }

    #[test]
    #[ignore = "needs CAP_SYS_ADMIN, as root has it"]
    fn a_listener_in_another_network_is_an_error_not_zero() {
        let place = Place::new();
        let _listener = UnixListener::bind(&place.socket).unwrap();
        let error = in_new_network(|| Diagnostics::here().unwrap().in_flight(&place.socket)).unwrap_err();
        assert!(error.to_string().contains("another network namespace"), "{error}");
    }

    #[test]
    fn a_network_that_may_not_be_looked_at_is_left_alone() {
        assert!(other_network("/proc/nonexistent/ns/net").unwrap().is_none());
        assert!(other_network("/proc/self/ns/net").unwrap().is_none(), "the own one needs no entering");
        assert!(other_network("/proc/self/status/x").is_err());
    }

    #[test]
    fn a_connection_is_accepted_once_the_process_takes_it() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let clients = connect(&place.socket, 2);
        assert!(!is_accepted(&clients[0]).unwrap());
        let accepted = accept(&listener, 1);
        assert!(is_accepted(&clients[0]).unwrap());
        assert!(!is_accepted(&clients[1]).unwrap());
        drop(accepted);
        assert!(!is_accepted(&clients[0]).unwrap());
    }

    #[test]
    fn an_error_of_sock_diag_is_an_error() {
        let nobody = UnixRequest {
            state_flags: StateFlags::all(),
            inode: u32::MAX,
            show_flags: ShowFlags::NAME,
            cookie: NO_COOKIE,
        };
        let error = Diagnostics::here().unwrap().ask(&nobody, 0, |_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        // NETLINK_ROUTE does not know the request: as good as a kernel without unix_diag.
        let route = Diagnostics(Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap());
        assert!(route.in_flight(Utf8Path::new("/nonexistent")).is_err());
    }
}
