//! Waiting for the exit of a process, and work that this exit cancels.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for the exit of a process, pidfd_open(2); without a process it waits forever.
///
/// # Errors
/// If the kernel gives no descriptor of the process.
pub(crate) async fn exit_of(pid: Option<u32>) -> io::Result<()> {
    let Some(pid) = pid else { return pending().await };
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        // Kernels differ in the error for an exited process whose group or session still exists.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    #[allow(deprecated, reason = "unsound only for types that may change their descriptor; the successor is unsafe")]
    let pidfd: AsyncFd<OwnedFd> = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
    pidfd.readable().await.map(drop)
}

/// Runs `work` until `end` is ready and cancels it then; `end` is first if both are ready.
pub(crate) async fn unless<W, E>(end: impl Future<Output = E>, work: impl Future<Output = W>) -> Result<W, E> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|context| match end.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Err(ended)),
        Poll::Pending => work.as_mut().poll(context).map(Ok),
    })
    .await
}
