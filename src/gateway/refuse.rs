//! Whoever calls a function that cannot be started is told so, instead of by a connection that is closed.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use rustix::{process::Gid, process::Uid};
use tokio::net;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::gateway::{HEADER_TIME, MAX_BUFFER, body, passed};

/// For so long, before the next caller has it tried again.
const TIME: Duration = Duration::from_secs(2);
/// nobody, systemd.exec(5)
const NOBODY: u32 = 65_534;

/// Answers those who call on the listening socket, or the one on the connection, that is stdin.
///
/// # Errors
/// If there is none.
pub fn run() -> Result<(), String> {
    refuse().map_err(|error| format!("nobody can be told: {error}"))
}

fn refuse() -> io::Result<()> {
    // It was started as root, for podman; there is no other thread yet.
    set_thread_groups(&[])?;
    set_thread_gid(Gid::from_raw(NOBODY))?;
    set_thread_uid(Uid::from_raw(NOBODY))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(listener) = passed() else {
            let connection: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
            return tell(UnixStream::from(connection)).await;
        };
        let mut callers = JoinSet::new();
        let _ = timeout(TIME, accept(listener, &mut callers)).await;
        while callers.join_next().await.is_some() {}
        Ok(())
    })
}

async fn accept(listener: UnixListener, callers: &mut JoinSet<io::Result<()>>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(callers.spawn(tell(stream.into_std()?))),
            Err(_) => sleep(super::PAUSE).await,
        }
    }
}

/// Answers one request.
async fn tell(stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(net::UnixStream::from_std(stream)?);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(MAX_BUFFER).keep_alive(false);
    let answer = service_fn(|_| async { Ok::<_, Infallible>(body::answer(StatusCode::BAD_GATEWAY)) });
    http.serve_connection(stream, answer).await.map_err(io::Error::other)
}
