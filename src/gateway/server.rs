//! The HTTP server on a function's socket: connections, their limits, and its end.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{RecvFlags, recv};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::gateway::connection::Connection;
use crate::gateway::function::Gateway;
use crate::gateway::limits::{BUFFER_SIZE, HEADER_TIMEOUT, POLL_INTERVAL, RETRY_PAUSE};
use crate::log::note;
use crate::model::function::Interface;

/// Threads that pass on requests of workers. More would only wait for the kernel.
const THREADS: usize = 2;
/// Threads that write bodies of requests to the disk and look for programs in directories. A file system that does not answer
/// keeps those that look there.
const BLOCKING_THREADS: usize = 64;
/// File descriptors that are not for connections: of the gateway itself, and of each process that may run.
const RESERVED_DESCRIPTORS: u64 = 64;
const PROCESS_DESCRIPTORS: u64 = 4;
/// The limit of file descriptors where setrlimit(2) set none, and the least and the most connections at a time.
const DEFAULT_DESCRIPTORS: u64 = 1024;
const MIN_CONNECTIONS: u64 = 16;
const MAX_CONNECTIONS: u64 = 1 << 20;

/// Builds the tokio runtime of a function with this interface, or of several functions.
///
/// # Errors
/// If the kernel refuses its files.
pub(crate) fn runtime(interface: Option<Interface>) -> Result<Runtime, String> {
    // A CGI request passes through several tasks. On one thread none of them waits for another thread to wake up.
    let mut builder = match interface {
        Some(Interface::Cgi) => Builder::new_current_thread(),
        Some(Interface::Http) | None => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(THREADS).max_blocking_threads(BLOCKING_THREADS).enable_all().build();
    runtime.map_err(|error| format!("could not start the runtime: {error}"))
}

/// The signals that end a server: SIGTERM and SIGINT.
pub(crate) struct Termination(Signal, Signal);

impl Termination {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// If the kernel refuses a signal handler.
    pub(crate) fn watch() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    /// Waits for one of the signals.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Accepts the connections of a function, and serves their requests.
pub(crate) struct Server {
    pub(crate) gateway: Arc<Gateway>,
    listener: net::UnixListener,
    http: http1::Builder,
    /// A permit for each connection.
    connections: Arc<Semaphore>,
    max_connections: u32,
    accepted: AtomicU64,
    is_closing: watch::Sender<bool>,
}

/// A type without values: what never returns, returns one.
pub(crate) enum Never {}

impl Server {
    /// At most `max_concurrency` processes run beside the connections. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the kernel refuses the listener's changes.
    pub(crate) fn new(gateway: Arc<Gateway>, listener: UnixListener, max_concurrency: u32) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(DEFAULT_DESCRIPTORS);
        let reserved = RESERVED_DESCRIPTORS + PROCESS_DESCRIPTORS * u64::from(max_concurrency);
        let max_connections = descriptors.saturating_sub(reserved).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS) as u32;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_SIZE);
        Ok(Self {
            gateway,
            listener: net::UnixListener::from_std(listener)?,
            http,
            connections: Arc::new(Semaphore::new(max_connections as usize)),
            max_connections,
            accepted: AtomicU64::new(0),
            is_closing: watch::Sender::new(false),
        })
    }

    /// Accepts connections for ever.
    pub(crate) async fn accept(&self) -> Never {
        loop {
            self.accept_one().await;
        }
    }

    async fn accept_one(&self) {
        // Connections beyond the limit wait in the socket's backlog.
        let permit = self.connections.clone().acquire_owned().await.expect("nothing closes the semaphore");
        let Ok((stream, _)) = self.listener.accept().await else { return sleep(RETRY_PAUSE).await };
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let (http, gateway, mut is_closing) = (self.http.clone(), self.gateway.clone(), self.is_closing.subscribe());
        tokio::spawn(async move {
            // Thousands of connections may wait for their first byte: until then they have no buffers.
            let has_begun = tokio::select! {
                biased;
                has_begun = wait_for_data(&stream) => has_begun,
                _ = is_closing.wait_for(|is_closing| *is_closing) => false,
                () = sleep(HEADER_TIMEOUT) => false,
            };
            if has_begun {
                // Boxed, so that tasks have no room for it before.
                Box::pin(serve_connection(http, gateway, stream, is_closing)).await;
            }
            drop(permit);
        });
    }

    /// Accepts the connections that were made before the socket closed.
    pub(crate) async fn accept_rest(&self) {
        while timeout(RETRY_PAUSE, self.accept_one()).await.is_ok() {}
    }

    /// Returns when no request has come, and none was in flight, for as long as `limit`.
    pub(crate) async fn idle(&self, limit: Duration) {
        let (mut last_count, mut since) = (0, Instant::now());
        loop {
            sleep(POLL_INTERVAL.min(limit / 4)).await;
            self.gateway.tend();
            let count = self.accepted.load(Ordering::Relaxed) + self.gateway.total();
            if self.gateway.in_flight() > 0 || count != last_count {
                (last_count, since) = (count, Instant::now());
            } else if since.elapsed() >= limit {
                return;
            }
        }
    }

    /// Finishes the requests in flight, and closes all connections.
    pub(crate) async fn finish(&self) {
        self.is_closing.send_replace(true);
        drop(self.connections.acquire_many(self.max_connections).await);
    }
}

/// Waits for the first byte of a connection. Returns false if the client closes it before.
async fn wait_for_data(stream: &net::UnixStream) -> bool {
    let peek = || Ok(recv(stream, &mut [0; 1], RecvFlags::PEEK)?.0);
    loop {
        if stream.readable().await.is_err() {
            return false;
        }
        match stream.try_io(Interest::READABLE, peek) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome.is_ok_and(|read| read > 0),
        }
    }
}

/// Serves the requests of a connection until the client closes it, its time is over, or, once `is_closing`, its request in flight
/// is answered.
pub(crate) async fn serve_connection<S>(
    http: http1::Builder,
    gateway: Arc<Gateway>,
    stream: S,
    mut is_closing: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limit = Connection::new();
    let of_service = limit.clone();
    let service = service_fn(move |request| gateway.clone().handle(request, of_service.clone()));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        outcome = connection.as_mut() => return log_refusal(&outcome),
        () = limit.overdue() => return,
        _ = is_closing.wait_for(|is_closing| *is_closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        outcome = connection => log_refusal(&outcome),
        () = limit.overdue() => {}
    }
}

/// Writes to the journal why hyper has refused a request, with 400 in most cases, before the gateway saw it.
fn log_refusal(outcome: &hyper::Result<()>) {
    if let Err(error) = outcome
        && error.is_parse()
    {
        note!("400: {error}; in a URL, `\"`, `<`, `>` and bytes that are not UTF-8 must be percent-encoded");
    }
}
