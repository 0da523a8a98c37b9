//! The TCP connections of this network namespace, as the kernel tells them: sock_diag(7).

use std::io;
use std::mem::size_of;

use rustix::fd::OwnedFd;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// The time after an answer's last byte for which a connection still counts: an answer may come in pieces.
const ANSWERING: u32 = 1000;

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h, linux/tcp.h
const HEADER: usize = 16;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// In `struct tcp_info`: milliseconds since data were sent, and since data were received.
const LAST_DATA_SENT: usize = 44;
const LAST_DATA_RECEIVED: usize = 52;
/// In `struct tcp_info`: how many segments with data were received and sent.
const SEGMENTS_RECEIVED: usize = 152;
const SEGMENTS_SENT: usize = 156;
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;
const LISTEN: u8 = 10;

/// A connection to a local port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    /// The kernel's cookie of the socket.
    pub(crate) number: u64,
    pub(crate) is_closed_by_caller: bool,
    /// Whether a request is in flight. A connection whose last data are an answer is idle: proxies and browsers keep
    /// such ones for later.
    pub(crate) has_request: bool,
}

/// Returns the connections to local ports. One that waits in a listener's queue has a request, whatever came over it.
pub(crate) fn on(ports: &[u16]) -> io::Result<Vec<Connection>> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut connections = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        sendto(&socket, &request(family), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        read(&socket, |message| connections.extend(connection(message, ports)))?;
    }
    Ok(connections)
}

/// Writes `struct nlmsghdr` and `struct inet_diag_req_v2`: all sockets of the three states, with `struct tcp_info`.
fn request(family: AddressFamily) -> Vec<u8> {
    let states: u32 = [ESTABLISHED, CLOSE_WAIT, LISTEN].iter().map(|state| 1 << state).sum();
    let mut body = vec![family.as_raw() as u8, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0];
    body.extend(states.to_ne_bytes());
    body.extend([0; 48]); // struct inet_diag_sockid: any
    let length = (HEADER + body.len()) as u32;
    let flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(flags.to_ne_bytes());
    request.extend([0; 8]); // sequence and port
    request.extend(body);
    request
}

/// Reads the messages of a dump.
fn read(socket: &OwnedFd, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (length, _) = recv(socket, &mut buffer, RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let length = u32_at(rest, 0).unwrap_or_default() as usize;
            if length < HEADER || length > rest.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match u16_at(rest, 4) {
                Some(NLMSG_DONE) => return Ok(()),
                Some(NLMSG_ERROR) => {
                    let number = u32_at(rest, HEADER).unwrap_or_default() as i32;
                    return Err(io::Error::from_raw_os_error(-number));
                }
                _ => each(&rest[HEADER..length]),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Reads `struct inet_diag_msg`; None if it is of another port, or of a listener whose queue is empty.
fn connection(message: &[u8], ports: &[u16]) -> Option<Connection> {
    let state = *message.get(1)?;
    let port = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
    if !ports.contains(&port) {
        return None;
    }
    // The cookie is the last field of the id, which begins after four bytes; the queue follows the timer.
    let number = u64::from(u32_at(message, 44)?) | u64::from(u32_at(message, 48)?) << 32;
    let is_waiting = state == LISTEN && u32_at(message, 56)? > 0;
    let has_request = is_waiting || (state != LISTEN && is_in_flight(message.get(MESSAGE..)?));
    (state != LISTEN || is_waiting).then_some(Connection {
        number,
        is_closed_by_caller: state == CLOSE_WAIT,
        has_request,
    })
}

/// Returns whether the last data on a connection are a request's, or were sent just now. Without `struct tcp_info` it
/// counts as in flight.
///
/// The kernel counts time in ticks of some milliseconds. A request and its answer in the same tick look like a request that
/// comes in the tick of the answer before it: both are idle after [`ANSWERING`], since the first is what fast programs do.
fn is_in_flight(attributes: &[u8]) -> bool {
    let last = attribute(attributes, INET_DIAG_INFO).and_then(|info| {
        let is_first = u32_at(info, SEGMENTS_RECEIVED)? > 0 && u32_at(info, SEGMENTS_SENT)? == 0;
        Some((is_first, u32_at(info, LAST_DATA_SENT)?, u32_at(info, LAST_DATA_RECEIVED)?))
    });
    last.is_none_or(|(is_first, sent, received)| is_first || received < sent || sent < ANSWERING)
}

/// Finds an attribute: `struct rtattr`, rtnetlink(3).
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(size_of::<u32>()..length)?;
        if u16_at(attributes, 2)? == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    fn requests(port: u16) -> usize {
        on(&[port]).unwrap().iter().filter(|connection| connection.has_request).count()
    }

    /// The kernel counts in jiffies of up to 10 ms: a request must come that much later than an answer.
    fn tick() {
        sleep(Duration::from_millis(30));
    }

    #[test]
    fn a_request_is_in_flight_from_its_connection_until_its_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(on(&[port]).unwrap(), []);

        // In the listener's queue.
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(requests(port) > 0);
        let (mut server, _) = listener.accept().unwrap();
        tick();
        client.write_all(b"request").unwrap();
        server.read_exact(&mut [0; 7]).unwrap();
        tick();
        assert_eq!(requests(port), 1);
        sleep(Duration::from_millis(1500));
        assert_eq!(requests(port), 1, "however long it takes");

        server.write_all(b"answer").unwrap();
        client.read_exact(&mut [0; 6]).unwrap();
        assert_eq!(requests(port), 1, "more of the answer may come");
        sleep(Duration::from_millis(1500));
        assert_eq!((requests(port), on(&[port]).unwrap().len()), (0, 1), "an idle connection is no request");

        client.write_all(b"request").unwrap();
        tick();
        assert_eq!(requests(port), 1);
        drop(client);
        tick();
        let found = on(&[port]).unwrap();
        assert!(found.len() == 1 && found[0].is_closed_by_caller, "{found:?}");
        drop(server);
        assert_eq!(on(&[port]).unwrap(), []);
        assert_eq!(on(&[1]).unwrap(), []);
    }

    /// The first request comes in the tick of its connection, and its answer in the tick of the request.
    #[test]
    fn fast_callers_and_programs_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"request").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        sleep(Duration::from_millis(1500));
        assert_eq!(requests(port), 1);
        server.write_all(b"answer").unwrap();
        for _ in 0..10 {
            client.write_all(b"request").unwrap();
            server.read_exact(&mut [0; 7]).unwrap();
            server.write_all(b"answer").unwrap();
            client.read_exact(&mut [0; 6]).unwrap();
        }
        sleep(Duration::from_millis(1500));
        assert_eq!(requests(port), 0);
    }

    #[test]
    fn any_message_is_read_or_refused() {
        for length in 0..200 {
            for byte in [0, 1, 8, 10, 255] {
                let message = vec![byte; length];
                let _ = connection(&message, &[0, 0x0101, 0xffff]);
                let _ = is_in_flight(&message);
            }
        }
    }
}
