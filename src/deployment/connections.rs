//! The connections in flight on a deployment's socket, counted by the kernel, sock_diag(7).
//!
//! The proxies keep no idle connections, so that the connections to a deployment's unix socket are its requests in
//! flight. Three cases could be mistaken for zero, and are handled or reported as errors:
//!
//! - A connection that the process has not accepted has no socket of its own; only the length of the listener's queue
//!   shows it.
//! - sock_diag may be missing: `unix_diag` is a module on Debian.
//! - The kernel lists the sockets of one network namespace, and the hooks of a unit with `PrivateNetwork=` run in
//!   another one than the proxies.
//!
//! An accepted connection belongs to the network namespace of the client, not of the listener: requests of a proxy with
//! a namespace of its own, such as one in a container, are visible only while they are queued.

use std::io;
use std::os::fd::AsFd;

use camino::Utf8Path;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART, NLM_F_REQUEST};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::unix::nlas::{Nla, UnixDiagName, Vfs};
use netlink_packet_sock_diag::unix::{ShowFlags, StateFlags, UnixRequest, UnixResponse};
use netlink_packet_sock_diag::{SockDiagMessage, TCP_LISTEN};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use rustix::fs::{Stat, fstat, lstat, major, minor};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::deployment::in_flight::{Connections, InFlight};
use crate::deployment::namespace::{self, HOST_NETWORK};
use crate::inode::Inode;

/// The size of the buffer in bytes: the kernel sends at most 32 KiB at a time, netlink(7).
const BUFFER: usize = 32 * 1024;
/// The number of dumps that may be interrupted by changes of other sockets.
const REPEATS: usize = 10;
/// The cookie that matches any socket with the inode, sock_diag(7).
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// The flag that makes recv(2) return the full length of a truncated message; it has this value on each architecture.
const MSG_TRUNC: i32 = 0x20;

/// Counts the connections of the unix socket at `socket` in the network namespace of PID 1.
///
/// Without a listener and connections the count is zero. The calling thread stays in its own network namespace.
///
/// # Errors
/// Those of [`list`].
pub(crate) fn in_flight(socket: &Utf8Path) -> io::Result<InFlight> {
    Ok(list(socket)?.all())
}

/// Lists the connections of the unix socket at `socket` in the network namespace of PID 1.
///
/// # Errors
/// If sock_diag(7) is missing or fails, if the network namespace of PID 1 cannot be entered, or if a socket listens at
/// `socket` that sock_diag does not show: it is in another network namespace.
pub(crate) fn list(socket: &Utf8Path) -> io::Result<Connections> {
    Diagnostics::of_host()?.connections(socket)
}

/// Returns whether the listener has accepted the connection of `client`, a connected unix socket in the calling
/// thread's network namespace; false after the listener's process has closed the connection.
///
/// # Errors
/// If sock_diag(7) is missing or fails.
pub(super) fn is_accepted(client: impl AsFd) -> io::Result<bool> {
    let request = UnixRequest {
        state_flags: StateFlags::all(),
        inode: fstat(client)?.st_ino as u32, // an inode has 32 bits in sock_diag(7)
        show_flags: ShowFlags::PEER,
        cookie: NO_COOKIE,
    };
    let mut accepted = false;
    // The peer of a queued connection has no inode yet: the kernel reports 0.
    Diagnostics::here()?.ask(&request, 0, |socket| accepted |= socket.peer().is_some_and(|peer| peer != 0))?;
    Ok(accepted)
}

/// The connections of a listener in any network namespace.
pub(super) struct Watched<'a> {
    socket: &'a Utf8Path,
    host: Diagnostics,
    other: Option<Diagnostics>,
}

impl<'a> Watched<'a> {
    /// Opens what shows the connections of the unix socket at `socket`. `network` is the network namespace of the listener, if
    /// that is not the host's: the kernel shows queued connections in the listener's namespace, and accepted ones in that of
    /// the clients, the host's.
    ///
    /// # Errors
    /// If sock_diag(7) is missing, or a network namespace cannot be entered.
    pub(super) fn open(socket: &'a Utf8Path, network: Option<&str>) -> io::Result<Self> {
        let other = network.map(Diagnostics::of_other).transpose()?.flatten();
        Ok(Self { socket, host: Diagnostics::of_host()?, other })
    }

    /// Lists its connections.
    ///
    /// # Errors
    /// Those of [`list`].
    pub(super) fn connections(&self) -> io::Result<Connections> {
        let Self { socket, host, other } = self;
        match other {
            Some(other) => Ok(host.find(socket)?.unwrap_or_default() + other.find(socket)?.unwrap_or_default()),
            None => host.connections(socket),
        }
    }
}

/// A netlink socket to sock_diag(7). It shows the network namespace in which it was opened, from any thread.
struct Diagnostics(Socket);

impl Diagnostics {
    /// Opens a socket in the calling thread's network namespace.
    fn here() -> io::Result<Self> {
        Socket::new(NETLINK_SOCK_DIAG).map(Self)
    }

    /// Opens a socket in the network namespace of PID 1, or, without the privilege to enter it, in the calling
    /// thread's.
    fn of_host() -> io::Result<Self> {
        Self::of_network(HOST_NETWORK)
    }

    /// Opens a socket in a network namespace; None if the namespace no longer exists, nor any listener in it.
    fn of_other(namespace: &str) -> io::Result<Option<Self>> {
        if std::path::Path::new(namespace).exists() { Self::of_network(namespace).map(Some) } else { Ok(None) }
    }

    fn of_network(namespace: &str) -> io::Result<Self> {
        namespace::within(namespace, Self::here)
    }

    /// Lists the connections of `socket`; none without a listener.
    ///
    /// # Errors
    /// If sock_diag(7) fails, or does not show a socket that listens.
    fn connections(&self, socket: &Utf8Path) -> io::Result<Connections> {
        match self.find(socket)? {
            Some(connections) => Ok(connections),
            None if is_listened_to(socket)? => Err(io::Error::other(format!(
                "something listens at {socket} that sock_diag does not show: it is in another network namespace"
            ))),
            None => Ok(Connections::default()),
        }
    }

    /// Lists the connections of `socket`; None if sock_diag(7) shows no socket with this name or file.
    ///
    /// `HAProxy` and others bind another name and rename the file. What was bound at the name before has another file.
    ///
    /// The kernel lists all unix sockets: sock_diag filters by state but not by name, and the inodes of accepted
    /// connections are unknown.
    fn find(&self, socket: &Utf8Path) -> io::Result<Option<Connections>> {
        let request = UnixRequest {
            state_flags: StateFlags::ESTABLISHED | StateFlags::LISTEN,
            inode: 0,
            show_flags: ShowFlags::NAME | ShowFlags::RQLEN | ShowFlags::VFS | ShowFlags::PEER,
            cookie: NO_COOKIE,
        };
        let file = lstat(socket.as_std_path()).ok().as_ref().and_then(bound_to);
        for _ in 0..REPEATS {
            let (mut connections, mut listeners) = (None, Vec::new());
            let consistent = self.ask(&request, NLM_F_DUMP, |found| {
                if !has_name(&found, socket) && !file.as_ref().is_some_and(|file| found.nlas.contains(file)) {
                    return;
                }
                let connections: &mut Connections = connections.get_or_insert_default();
                if found.header.state == TCP_LISTEN {
                    // A missing length counts as one connection.
                    listeners.push((found.header.inode, found.number_of_pending_connection().unwrap_or(1)));
                } else {
                    add_accepted(connections, &found);
                }
            })?;
            if consistent {
                return Ok(connections.map(|connections| self.with_queues(connections, &listeners)));
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "sock_diag: every listing of the sockets was interrupted"))
    }

    /// Adds the connections in the queues of listeners, which are given with the length of each queue.
    fn with_queues(&self, mut connections: Connections, listeners: &[(u32, u32)]) -> Connections {
        for (listener, length) in listeners.iter().filter(|(_, length)| *length > 0) {
            let abandoned = self.abandoned_in_queue(*listener).min(*length);
            connections.with_caller.queued += length - abandoned;
            connections.abandoned_in_queue += abandoned;
        }
        connections
    }

    /// Counts the connections in a listener's queue whose callers have closed them. Where the kernel cannot list the queue,
    /// which has to fit a page of memory, all count as those of a caller.
    fn abandoned_in_queue(&self, listener: u32) -> u32 {
        let request = UnixRequest {
            state_flags: StateFlags::LISTEN,
            inode: listener,
            show_flags: ShowFlags::ICONS,
            cookie: NO_COOKIE,
        };
        let mut abandoned = 0;
        let listed = self.ask(&request, 0, |found| {
            for nla in &found.nlas {
                if let Nla::PendingConnections(callers) = nla {
                    abandoned += callers.iter().filter(|caller| **caller == 0).count() as u32;
                }
            }
        });
        listed.map_or(0, |_| abandoned)
    }

    /// Sends one request and passes each socket of the answer to `each`. Returns false if the kernel reports that its
    /// sockets changed meanwhile, so that some may be missing, NLM_F_DUMP_INTR.
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
                // Messages start at multiples of four bytes: NLMSG_ALIGN of netlink(3).
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = &rest[length.min(rest.len())..];
            }
        }
    }
}

/// Receives one datagram of complete messages.
fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        buffer.clear();
        match socket.recv(buffer, MSG_TRUNC) {
            Ok(length) if length > buffer.len() => return Err(io::Error::other("sock_diag: an answer was truncated")),
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

/// Converts the kernel's negative errno.
fn from_code(code: i32) -> io::Error {
    let error = io::Error::from_raw_os_error(-code);
    io::Error::new(error.kind(), format!("sock_diag: {error}"))
}

/// Adds an accepted connection: the socket of a caller that has closed it has no inode any more.
fn add_accepted(connections: &mut Connections, found: &UnixResponse) {
    if found.peer() == Some(0) {
        connections.abandoned.insert(found.header.inode);
    } else {
        connections.with_caller.established += 1;
    }
}

fn has_name(found: &UnixResponse, socket: &Utf8Path) -> bool {
    matches!(found.name(), Some(UnixDiagName::Pathname(name)) if name == socket.as_str())
}

/// Returns the attribute that a socket bound to this file has, and those that its listener has accepted: the device in the
/// kernel's own encoding, and 32 bits of the inode.
fn bound_to(file: &Stat) -> Option<Nla> {
    let device = major(file.st_dev) << 20 | minor(file.st_dev);
    Vfs::parse(&[(file.st_ino as u32).to_ne_bytes(), device.to_ne_bytes()].concat()).ok().map(Nla::Vfs)
}

/// Returns whether a process listens at `socket`, by connecting to it. Nothing does where there is a link: a service may
/// have put it there.
fn is_listened_to(socket: &Utf8Path) -> io::Result<bool> {
    let inode = match Inode::socket(socket) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            return Ok(false);
        }
        inode => inode?,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match net::connect(&probe, &SocketAddrUnix::new(inode.path().as_std_path())?) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true), // AGAIN: the queue is full
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::namespace::identity;
    use crate::deployment::sockets::{Place, accept, becomes, connect};
    use rustix::fs::stat;
    use std::os::unix::net::UnixListener;
    use std::thread;

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
        becomes(InFlight::default(), || in_flight(&place.socket).unwrap());
    }

    #[test]
    fn callers_that_have_gone_are_told_from_those_that_only_have_nothing_more_to_say() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let connections = || Diagnostics::here().unwrap().connections(&place.socket).unwrap();
        let mut clients = connect(&place.socket, 6);
        let accepted = accept(&listener, 3);
        clients.iter().for_each(|client| client.shutdown(std::net::Shutdown::Write).unwrap());
        assert_eq!(connections().with_caller, InFlight { established: 3, queued: 3 });
        drop((clients.remove(0), clients.remove(2), clients.remove(2)));
        let inode = fstat(&accepted[0]).unwrap().st_ino as u32;
        let expected = Connections {
            with_caller: InFlight { established: 2, queued: 1 },
            abandoned: [inode].into(),
            abandoned_in_queue: 2,
        };
        becomes(expected, connections);
        assert_eq!(connections().all(), InFlight { established: 3, queued: 3 });
        drop((accepted, accept(&listener, 3)));
        becomes(Connections::default(), connections);
    }

    #[test]
    fn a_queue_that_may_be_too_long_to_be_listed_is_counted() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        rustix::net::listen(&listener, 4000).unwrap();
        (0..4000).for_each(|_| drop(connect(&place.socket, 1)));
        let connections = Diagnostics::here().unwrap().connections(&place.socket).unwrap();
        assert_eq!(connections.all(), InFlight { established: 0, queued: 4000 });
    }

    #[test]
    fn without_a_listener_nothing_is_in_flight_but_what_was_accepted() {
        let place = Place::new();
        assert!(in_flight(&place.socket).unwrap().is_zero());
        let listener = UnixListener::bind(&place.socket).unwrap();
        let _clients = connect(&place.socket, 2);
        let accepted = accept(&listener, 1);
        drop(listener);
        becomes(InFlight { established: 1, queued: 0 }, || in_flight(&place.socket).unwrap());
        drop(accepted);
        becomes(InFlight::default(), || in_flight(&place.socket).unwrap());
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
    fn a_listener_that_was_renamed_is_counted() {
        let place = Place::new();
        let bound = place.socket.with_file_name("socket.1.tmp");
        let listener = UnixListener::bind(&bound).unwrap();
        std::fs::rename(&bound, &place.socket).unwrap();
        let _clients = connect(&place.socket, 3);
        let _accepted = accept(&listener, 1);
        let _other = UnixListener::bind(&bound).unwrap();
        let _others = connect(&bound, 1);
        assert_eq!(in_flight(&place.socket).unwrap(), InFlight { established: 1, queued: 2 });
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
            // The main thread takes the place of PID 1, which a container may hide.
            let main = Diagnostics::of_network("/proc/self/ns/net").unwrap();
            assert_eq!(main.connections(&place.socket).unwrap().all(), InFlight { established: 2, queued: 3 });
            assert_eq!(own(), before, "the caller stays where it was");
        });
    }

    #[test]
    #[ignore = "needs CAP_SYS_ADMIN, as root has it"]
    fn a_listener_in_another_network_is_an_error_not_zero() {
        let place = Place::new();
        let _listener = UnixListener::bind(&place.socket).unwrap();
        let error = in_new_network(|| Diagnostics::here().unwrap().connections(&place.socket)).unwrap_err();
        assert!(error.to_string().contains("another network namespace"), "{error}");
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
        becomes(false, || is_accepted(&clients[0]).unwrap());
    }

    #[test]
    fn an_error_of_sock_diag_is_an_error() {
        let unknown = UnixRequest {
            state_flags: StateFlags::all(),
            inode: u32::MAX,
            show_flags: ShowFlags::NAME,
            cookie: NO_COOKIE,
        };
        let error = Diagnostics::here().unwrap().ask(&unknown, 0, |_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        // NETLINK_ROUTE does not know the request: as good as a kernel without unix_diag.
        let route = Diagnostics(Socket::new(netlink_sys::protocols::NETLINK_ROUTE).unwrap());
        assert!(route.connections(Utf8Path::new("/nonexistent")).is_err());
    }
}
