//! `conductor service _announce SLOT`: the relay of a port whose server reads its callers' addresses from the PROXY protocol,
//! version 1, haproxy.org's proxy-protocol.txt.
//!
//! systemd-socket-proxyd(8), the relay of other ports, does not speak it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::error::{Error, Result};

/// The size of a buffer for each direction, in bytes.
const BUFFER: usize = 64 * 1024;
/// The pause after an accept(2) that failed, for example for want of descriptors.
const PAUSE: Duration = Duration::from_millis(10);
/// The line before what a caller without an address sends.
pub(crate) const UNKNOWN: &str = "PROXY UNKNOWN\r\n";

/// Connects all callers of the socket at standard input to the unix socket at `slot`.
///
/// # Errors
/// If standard input is no socket of TCP that listens.
pub(crate) fn relay(slot: &Utf8Path) -> Result<Infallible> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = std::net::TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((caller, _)) => drop(tokio::spawn(connect(caller, slot.to_owned()))),
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    return Err(Error(format!("standard input takes no callers: {error}")));
                }
                // Of one caller, or of too many.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    })
}

/// Announces a caller and passes on what both sides send, until both have ended. An error ends both connections: there
/// is nobody to tell.
async fn connect(mut caller: TcpStream, slot: Utf8PathBuf) -> io::Result<()> {
    caller.set_nodelay(true)?;
    let line = announcement(caller.peer_addr()?, caller.local_addr()?);
    let mut server = UnixStream::connect(slot.as_std_path()).await?;
    server.write_all(line.as_bytes()).await?;
    copy_bidirectional_with_sizes(&mut caller, &mut server, BUFFER, BUFFER).await.map(drop)
}

/// Writes the line that announces a caller.
fn announcement(from: SocketAddr, to: SocketAddr) -> String {
    let (source, destination) = (from.ip().to_canonical(), to.ip().to_canonical());
    let family = match (source.is_ipv4(), destination.is_ipv4()) {
        (true, true) => "TCP4",
        (false, false) => "TCP6",
        _ => return UNKNOWN.to_owned(),
    };
    format!("PROXY {family} {source} {destination} {} {}\r\n", from.port(), to.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_protocol_has_them() {
        let line = |from: &str, to: &str| announcement(from.parse().unwrap(), to.parse().unwrap());
        assert_eq!(line("192.0.2.1:40000", "198.51.100.2:25"), "PROXY TCP4 192.0.2.1 198.51.100.2 40000 25\r\n");
        assert_eq!(line("[2001:db8::1]:1", "[::1]:25"), "PROXY TCP6 2001:db8::1 ::1 1 25\r\n");
        assert_eq!(line("[::ffff:192.0.2.1]:1", "[::ffff:127.0.0.1]:25"), "PROXY TCP4 192.0.2.1 127.0.0.1 1 25\r\n");
        assert_eq!(line("[2001:db8::1]:1", "127.0.0.1:25"), UNKNOWN);
    }
}
