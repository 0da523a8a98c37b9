//! Answers with 502 in place of a function that cannot be started: otherwise its clients would see closed connections.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use tokio::net;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::gateway::body;
use crate::gateway::limits::{BUFFER_SIZE, HEADER_TIMEOUT, RETRY_PAUSE};
use crate::gateway::listener::inherited;

/// How long requests on a listening socket are refused before the next one starts the function again.
const DURATION: Duration = Duration::from_secs(2);
/// The user and group nobody, systemd.exec(5).
const NOBODY: u32 = 65_534;

/// Refuses the requests on the socket on stdin: for a while those of a listening socket, or the one of a connection.
///
/// # Errors
/// If stdin is not a socket.
pub(crate) fn run() -> Result<(), String> {
    refuse().map_err(|error| format!("could not refuse requests: {error}"))
}

fn refuse() -> io::Result<()> {
    // This process runs as root, for podman. It has no other thread yet.
    set_thread_groups(&[])?;
    set_thread_gid(Gid::from_raw(NOBODY))?;
    set_thread_uid(Uid::from_raw(NOBODY))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(listener) = inherited() else {
            let connection: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
            return refuse_one(UnixStream::from(connection)).await;
        };
        let mut clients = JoinSet::new();
        let _ = timeout(DURATION, accept(listener, &mut clients)).await;
        while clients.join_next().await.is_some() {}
        Ok(())
    })
}

async fn accept(listener: UnixListener, clients: &mut JoinSet<io::Result<()>>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(clients.spawn(refuse_one(stream.into_std()?))),
            Err(_) => sleep(RETRY_PAUSE).await,
        }
    }
}

async fn refuse_one(stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(net::UnixStream::from_std(stream)?);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_SIZE).keep_alive(false);
    let service = service_fn(|_| async { Ok::<_, Infallible>(body::answer(StatusCode::BAD_GATEWAY)) });
    http.serve_connection(stream, service).await.map_err(io::Error::other)
}
