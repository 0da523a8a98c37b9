//! Messages of a unit's processes to systemd, sd_pid_notify_with_fds(3), with a descriptor where that is due.

use std::env;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType, sendmsg_addr,
    socket,
};

/// Sends lines of `VARIABLE=VALUE`; does nothing where systemd does not listen.
///
/// # Errors
/// If systemd does not take them.
pub(crate) fn send(lines: &str, descriptor: Option<BorrowedFd>) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let systemd = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name)?,
        path => SocketAddrUnix::new(path)?,
    };
    let own = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    if descriptor.is_some() {
        attached.push(SendAncillaryMessage::ScmRights(descriptor.as_slice()));
    }
    let lines = [IoSlice::new(lines.as_bytes())];
    sendmsg_addr(own, &systemd, &lines, &mut attached, SendFlags::NOSIGNAL).map(drop).map_err(io::Error::from)
}
