//! Sockets of TCP that listen, those of UDP that are bound, and the processes that hold them, proc_pid_net(5) and proc_pid_fd(5).

use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};
use std::thread::sleep;
use std::time::Duration;

use crate::deployment::in_flight::{Connections, InFlight};
use crate::model::Protocol;
use camino::Utf8Path;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The kernel's lists of sockets in the calling thread's network.
const STREAMS: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
const DATAGRAMS: [&str; 2] = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];
/// States of the kernel's tcp_states.h: of a TCP socket that listens, TCP_LISTEN, of a connection that neither side has
/// closed, TCP_ESTABLISHED, of one that its caller has closed, TCP_CLOSE_WAIT, and of a UDP socket that takes datagrams from anybody, TCP_CLOSE.
const LISTEN: &str = "0A";
const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";
const UNCONNECTED: &str = "07";
/// Time for a process that ends to close its sockets behind its descriptors.
const ENDING: Duration = Duration::from_millis(20);

/// A socket that takes callers in the network of the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// The number of the user who created it.
    pub(crate) user: u32,
    inode: u64,
}

impl Listener {
    /// Returns whether connections to an address of IPv4 may arrive here.
    fn takes(&self, to: SocketAddr) -> bool {
        let own = self.address.ip();
        self.address.port() == to.port() && (own.is_unspecified() || own.to_canonical() == to.ip())
    }
}

/// Lists the sockets that take callers.
///
/// # Errors
/// If the kernel's list cannot be read.
pub(crate) fn all(protocol: Protocol) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    let (tables, state) = match protocol {
        Protocol::Stream => (STREAMS, LISTEN),
        Protocol::Datagram => (DATAGRAMS, UNCONNECTED),
    };
    for table in tables {
        let file = match fs::File::open(table) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // a kernel without IPv6
            file => file?,
        };
        for line in BufReader::new(file).lines().skip(1) {
            let line = line?;
            let words: Vec<_> = line.split_whitespace().collect();
            match words.get(3) == Some(&state) {
                true => {}
                // The kernel lists those of TCP that listen before all others.
                false if protocol == Protocol::Stream => break,
                false => continue,
            }
            let address = words.get(1).and_then(|word| address(word));
            let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok());
            if let (Some(address), Some(user), Some(inode)) = (address, number(7), number(9)) {
                listeners.push(Listener { address, user: user as u32, inode }); // a user has 32 bits
            }
        }
    }
    Ok(listeners)
}

/// Counts the connections to a port in the calling thread's network that neither side has closed.
///
/// # Errors
/// If the kernel's list cannot be read.
pub(crate) fn connections_to(port: u16) -> io::Result<InFlight> {
    let mut count = InFlight::default();
    each_stream(|Stream { own, state, queued, inode }| match state {
        _ if own.port() != port => {}
        LISTEN => count.queued += queued,
        // One that nobody has accepted has no inode.
        ESTABLISHED if inode != 0 => count.established += 1,
        _ => {}
    })?;
    Ok(count)
}

/// Lists the connections to some ports in the calling thread's network, of those `sockets`, by inode; and whether one of them
/// listens there.
///
/// # Errors
/// If the kernel's list cannot be read.
pub(crate) fn connections_of(sockets: &BTreeSet<u64>, ports: &[u16]) -> io::Result<(Connections, bool)> {
    let (mut found, mut listens) = (Connections::default(), false);
    each_stream(|Stream { own, state, queued: _, inode }| match state {
        _ if !sockets.contains(&inode) || !ports.contains(&own.port()) => {}
        ESTABLISHED => found.with_caller.established += 1,
        // sock_diag(7) has inodes of 32 bits, too.
        CLOSE_WAIT => drop(found.abandoned.insert(inode as u32)),
        LISTEN => listens = true,
        _ => {}
    })?;
    Ok((found, listens))
}

/// A socket of TCP in the kernel's list.
struct Stream<'a> {
    own: SocketAddr,
    state: &'a str,
    /// The length of the queue of one that listens.
    queued: u32,
    /// 0 without a process.
    inode: u64,
}

/// Visits all sockets of TCP in the calling thread's network.
fn each_stream(mut visit: impl FnMut(Stream)) -> io::Result<()> {
    for table in STREAMS {
        let text = match fs::read_to_string(table) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // a kernel without IPv6
            text => text?,
        };
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, own, _, state, queues, _, _, _, _, inode, ..] = words.as_slice() else { continue };
            let Some(own) = address(own) else { continue };
            let queued = queues.split_once(':').map_or(0, |(_, length)| hex(length));
            visit(Stream { own, state, queued, inode: inode.parse().unwrap_or(0) });
        }
    }
    Ok(())
}

fn hex(number: &str) -> u32 {
    u32::from_str_radix(number, 16).unwrap_or(0)
}

/// Parses `0100007F:1F90`: words of 32 bits as this machine has them in memory.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words = (0..address.len() / 8).map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let address = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

/// Lists the processes of a control group and of those below it; one that is gone has none.
///
/// # Errors
/// If the control group cannot be read.
pub(crate) fn processes(group: &Utf8Path) -> io::Result<Vec<u32>> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let text = match fs::read_to_string(group.join("cgroup.procs")) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        text => text?,
    };
    let mut pids: Vec<_> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in group.read_dir_utf8()?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pids.extend(processes(entry.path())?);
        }
    }
    Ok(pids)
}

/// Lists the inodes of a process' sockets, with their descriptors; a process that has ended has none.
///
/// # Errors
/// If its descriptors may not be read.
pub(super) fn sockets_of(pid: u32) -> io::Result<BTreeMap<u64, RawFd>> {
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let inode = |link: &std::path::Path| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    // One that was closed meanwhile has no link.
    let socket = |entry: fs::DirEntry| {
        Some((inode(&fs::read_link(entry.path()).ok()?)?, entry.file_name().to_str()?.parse().ok()?))
    };
    Ok(entries.flatten().filter_map(socket).collect())
}

/// Opens the socket of a process that takes connections to `address`; None if it does not listen there.
///
/// # Errors
/// If the kernel's lists cannot be read, or the process may not be traced, ptrace(2).
pub(crate) fn socket(address: SocketAddr, pid: u32) -> io::Result<Option<OwnedFd>> {
    let sockets = sockets_of(pid)?;
    let number =
        all(Protocol::Stream)?.iter().filter(|one| one.takes(address)).find_map(|one| sockets.get(&one.inode).copied());
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some((number, process)) = number.zip(process) else { return Ok(None) };
    let process = pidfd_open(process, PidfdFlags::empty())?;
    Ok(Some(pidfd_getfd(process, number, PidfdGetfdFlags::empty())?))
}

/// Finds a process that holds a socket, and the name of its program; None if there is none that the caller may see.
pub(crate) fn process(listener: &Listener) -> Option<(u32, String)> {
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.into_iter().find(|pid| sockets_of(*pid).is_ok_and(|own| own.contains_key(&listener.inode)))?;
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    // The process chooses its name.
    Some((pid, program.trim_end().escape_debug().to_string()))
}

/// Lists the addresses at which a process listens.
///
/// # Errors
/// If its descriptors or the kernel's list cannot be read.
pub(crate) fn of_process(pid: u32) -> io::Result<Vec<SocketAddr>> {
    let own = sockets_of(pid)?;
    Ok(all(Protocol::Stream)?.into_iter().filter(|one| own.contains_key(&one.inode)).map(|one| one.address).collect())
}

/// Finds a socket that takes connections to `address` and that none of the processes holds.
///
/// # Errors
/// If the descriptors of a process or the kernel's list cannot be read.
pub(crate) fn stranger(address: SocketAddr, pids: &[u32]) -> io::Result<Option<Listener>> {
    let strangers: Vec<_> = all(Protocol::Stream)?.into_iter().filter(|one| one.takes(address)).collect();
    if strangers.is_empty() {
        return Ok(None);
    }
    let mut own = BTreeMap::new();
    for pid in pids {
        own.append(&mut sockets_of(*pid)?);
    }
    let held: Vec<_> = strangers.into_iter().map(|one| one.inode).filter(|inode| !own.contains_key(inode)).collect();
    if held.is_empty() {
        return Ok(None);
    }
    // A process that is just ending has no descriptors any more, while its sockets are still listed.
    sleep(ENDING);
    Ok(all(Protocol::Stream)?.into_iter().find(|one| held.contains(&one.inode)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::sockets::becomes;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_its_process_own() {
        let own = std::process::id();
        for at in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(at) else { continue }; // without IPv6
            let port = listener.local_addr().unwrap().port();
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            assert_eq!(stranger(to, &[own]).unwrap(), None, "{at}");
            assert_eq!(stranger(to, &[1_000_000_000]).unwrap().map(|one| one.address.port()), Some(port), "{at}");
            assert!(of_process(own).unwrap().contains(&listener.local_addr().unwrap()), "{at}");
            drop(listener);
            becomes(None, || stranger(to, &[]).unwrap());
        }
    }

    #[test]
    fn connections_are_counted_once_they_are_accepted() {
        for at in ["127.0.0.1:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(at) else { continue }; // without IPv6
            let port = listener.local_addr().unwrap().port();
            let callers: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
            let accepted = listener.accept().unwrap();
            assert_eq!(connections_to(port).unwrap(), InFlight { established: 1, queued: 2 }, "{at}");
            drop((callers, accepted));
        }
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        if cfg!(target_endian = "little") {
            assert_eq!(address("0100007F:1F90"), Some("127.0.0.1:8080".parse().unwrap()));
            assert_eq!(address("00000000000000000000000001000000:0050"), Some("[::1]:80".parse().unwrap()));
        }
        assert_eq!(address("1:2"), None);
    }
}
