//! The end of a process, and work that it ends.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Ends when a process has exited; never without one.
pub(crate) async fn exit_of(pid: Option<u32>) -> io::Result<()> {
    let Some(pid) = pid else { return pending().await };
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        // Kernels differ in what they say of an exited process whose group or session lives on.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    #[allow(deprecated, reason = "unsound only for types that may change their descriptor; the successor is unsafe")]
    let pidfd: AsyncFd<OwnedFd> = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
    pidfd.readable().await.map(drop)
}

/// Does `work` unless `end` comes first. If both are ready, the end has come first.
pub(crate) async fn unless<W, E>(end: impl Future<Output = E>, work: impl Future<Output = W>) -> Result<W, E> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|context| match end.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Err(ended)),
        Poll::Pending => work.as_mut().poll(context).map(Ok),
    })
    .await
}
