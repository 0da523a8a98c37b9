//! Answers with 502 in place of a function that cannot be started: otherwise its clients would see closed connections.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use tokio::net;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::compile::functions::load_stored_function;
use crate::gateway::body;
use crate::gateway::limits::{BUFFER_SIZE, HEADER_TIMEOUT, RETRY_PAUSE};
use crate::gateway::listener::{bind, inherited};
use crate::layout::Layout;
use crate::log;
use crate::names::FunctionId;
use crate::source::functions;

/// How long requests on systemd's socket are refused before the next one starts the function again.
const DURATION: Duration = Duration::from_secs(3);
/// How long they are refused after systemd gave up: as long as `StartLimitIntervalSec=` of the unit at most.
const REST: Duration = Duration::from_secs(10);
/// The user and group nobody, systemd.exec(5).
const NOBODY: u32 = 65_534;

/// Refuses the requests of a function on the socket on stdin: for a while those of a listening socket, or the one of a
/// connection.
///
/// # Errors
/// If stdin is not a socket.
pub(crate) fn run(id: &FunctionId) -> Result<(), String> {
    refuse(id, inherited(), DURATION).map_err(|error| format!("could not refuse requests: {error}"))
}

/// Refuses the requests of a function whose unit systemd cannot start, and whose socket it has closed for that.
///
/// # Errors
/// If the kernel refuses the socket.
pub(crate) fn run_in_place(layout: &Layout, id: &FunctionId) -> Result<(), String> {
    let dir = functions::find_one(layout, id).map_err(|error| error.headline())?;
    let loaded = dir.and_then(|dir| load_stored_function(layout, id, &dir, None).ok());
    let path = layout.at(&layout.function_socket(id, loaded.is_none_or(|compiled| compiled.function.address)));
    let listener = bind(&path)?;
    let (unit, seconds) = (id.unit(), REST.as_secs());
    let text = format!("502: systemd cannot start {unit}.service; the next request after {seconds} s tries it again");
    log::failure(log::Failure::Function, &text);
    refuse(id, Some(listener), REST).map_err(|error| format!("could not refuse requests: {error}"))
}

fn refuse(id: &FunctionId, listener: Option<UnixListener>, limit: Duration) -> io::Result<()> {
    // This process may run as root. It has no other thread yet.
    if geteuid().is_root() {
        set_thread_groups(&[])?;
        set_thread_gid(Gid::from_raw(NOBODY))?;
        set_thread_uid(Uid::from_raw(NOBODY))?;
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(listener) = listener else {
            let connection: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
            return refuse_one(UnixStream::from(connection), id.clone()).await;
        };
        let mut clients = JoinSet::new();
        let _ = timeout(limit, accept(listener, id, &mut clients)).await;
        while clients.join_next().await.is_some() {}
        Ok(())
    })
}

async fn accept(listener: UnixListener, id: &FunctionId, clients: &mut JoinSet<io::Result<()>>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(clients.spawn(refuse_one(stream.into_std()?, id.clone()))),
            Err(_) => sleep(RETRY_PAUSE).await,
        }
    }
}

async fn refuse_one(stream: UnixStream, id: FunctionId) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let stream = TokioIo::new(net::UnixStream::from_std(stream)?);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_SIZE).keep_alive(false);
    let answer = move |_| std::future::ready(Ok::<_, Infallible>(body::bad_gateway(&id)));
    let service = service_fn(answer);
    http.serve_connection(stream, service).await.map_err(io::Error::other)
}
