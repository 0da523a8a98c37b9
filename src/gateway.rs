//! `conductor cgi serve`: requests on a function's socket, answered by its processes.
//!
//! One process, hyper for HTTP. It runs as the function's user, in the function's sandbox and control group,
//! takes its socket from systemd, and ends when nobody has called for a while.

pub mod all;
mod body;
mod cgi;
mod fault;
pub mod container;
mod function;
pub mod header;
mod meta;
mod process;
pub mod refuse;
mod spawn;
mod worker;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{RecvFlags, recv};
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::compile::functions::load_stored_function;
use crate::deployment::prepare::give_to_proxy;
use crate::gateway::function::{Gateway, Runner};
use crate::gateway::process::Children;
use crate::layout::Layout;
use crate::model::function::{Compiled, Interface, Mode};
use crate::names::FunctionId;
use crate::source::functions;

/// Of what passes requests on: more would only wait for the kernel.
const THREADS: usize = 2;
/// A request's header must be there within this time, a connection's first one as well as a later one.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Nothing larger is read before somebody looks at it.
const MAX_BUFFER: usize = 64 << 10;
/// File descriptors that are no connection's: those of processes that run, and some.
const RESERVED: u64 = 64;
const PER_PROCESS: u64 = 4;
/// Between two looks whether there is anything to do.
const TICK: Duration = Duration::from_secs(1);
/// While there are no file descriptors or memory for another connection.
const PAUSE: Duration = Duration::from_millis(10);

fn load(layout: &Layout, id: &FunctionId) -> Result<Compiled, String> {
    let dir = functions::find_one(layout, id).ok_or_else(|| format!("the function {id} is not declared"))?;
    let compiled = load_stored_function(layout, id, &dir, None).map_err(|errors| errors.to_string())?;
    Ok(Compiled { dir: layout.at(&dir), ..compiled })
}

/// Serves a function until nobody has called for its `idle_timeout`, or until it is told to stop: what is in flight is
/// finished then.
///
/// # Errors
/// Why it is not served.
pub fn run(layout: &Layout, id: &FunctionId) -> Result<(), String> {
    let compiled = load(layout, id)?;
    match compiled.function.mode {
        Mode::Isolated => pooled(layout, compiled, Runner::Units(layout.at(&layout.function_requests(id)).into())),
        Mode::Pooled if compiled.function.process.engine.is_podman() => {
            Err(format!("its container is started by systemd: systemctl start {}.socket", id.unit()))
        }
        Mode::Pooled => pooled(layout, compiled, Runner::Own),
    }
}

/// In a function's container, whose programs are `words`: serves it, or the connection that is stdin.
///
/// # Errors
/// Why it is not served.
pub fn inside(layout: &Layout, id: &FunctionId, words: Vec<String>) -> Result<(), String> {
    let compiled = load(layout, id)?;
    match (compiled.function.mode, compiled.function.interface) {
        (Mode::Pooled, _) => pooled(layout, compiled, Runner::Inside(words)),
        (Mode::Isolated, Interface::Cgi) => one(compiled, Runner::Inside(words)),
        (Mode::Isolated, Interface::Http) => Err(hand_over(&words, Passing::Connection).to_string()),
    }
}

fn pooled(layout: &Layout, compiled: Compiled, runner: Runner) -> Result<(), String> {
    let listener = match passed() {
        Some(listener) => listener,
        None => bind(&layout.at(&layout.function_sockets()), &compiled.id)?,
    };
    let interface = (compiled.function.mode == Mode::Pooled).then_some(compiled.function.interface);
    runtime(interface)?.block_on(async {
        let failed = |error: io::Error| error.to_string();
        let idle_timeout = compiled.function.idle_timeout;
        let gateway = Gateway::new(compiled, Children::adopt().map_err(failed)?, runner)?;
        let server = Server::new(gateway, listener).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        tokio::select! {
            never = server.accept() => match never {},
            () = server.idle(idle_timeout) => {}
            _ = terminate.recv() => server.accept_rest().await,
            _ = interrupt.recv() => server.accept_rest().await,
        }
        server.finish().await;
        Ok(())
    })
}

fn runtime(interface: Option<Interface>) -> Result<Runtime, String> {
    // What a CGI program needs of it goes through many hands: in one thread none of them waits for another to wake up.
    let mut builder = match interface {
        Some(Interface::Cgi) => Builder::new_current_thread(),
        Some(Interface::Http) | None => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(THREADS).enable_all().build();
    runtime.map_err(|error| format!("no runtime: {error}"))
}

/// The socket that systemd passes as stdin, `StandardInput=socket`.
pub fn passed() -> Option<UnixListener> {
    let stdin = io::stdin();
    let listens = rustix::net::sockopt::socket_acceptconn(stdin.as_fd()).unwrap_or(false);
    let socket: OwnedFd = listens.then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten()?;
    Some(socket.into())
}

/// A socket of our own, where systemd has none.
fn bind(dir: &Utf8Path, id: &FunctionId) -> Result<UnixListener, String> {
    let path = dir.join(id.as_str());
    let failed = |error: io::Error| format!("{path}: {error}");
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(format!("{path}: somebody serves there already"));
    }
    fs::create_dir_all(dir).map_err(failed)?;
    crate::atomic::remove_file(&path).map_err(failed)?;
    let listener = UnixListener::bind(&path).map_err(failed)?;
    // As SocketGroup= and SocketMode= of systemd's; who may not do it is no proxy's server.
    if give_to_proxy(&path).is_ok() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    }
    Ok(listener)
}

struct Server {
    gateway: Arc<Gateway>,
    listener: net::UnixListener,
    http: http1::Builder,
    /// One for each connection that there may be.
    connections: Arc<Semaphore>,
    most: u32,
    accepted: AtomicU64,
    closing: watch::Sender<bool>,
}

enum Never {}

impl Server {
    fn new(gateway: Arc<Gateway>, listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(1024);
        let of_processes = RESERVED + PER_PROCESS * u64::from(gateway.function.max_concurrency);
        let most = descriptors.saturating_sub(of_processes).clamp(16, 1 << 20) as u32;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(MAX_BUFFER);
        Ok(Self {
            gateway,
            listener: net::UnixListener::from_std(listener)?,
            http,
            connections: Arc::new(Semaphore::new(most as usize)),
            most,
            accepted: AtomicU64::new(0),
            closing: watch::Sender::new(false),
        })
    }

    async fn accept(&self) -> Never {
        loop {
            self.accept_one().await;
        }
    }

    async fn accept_one(&self) {
        // Who finds no room waits in the socket's backlog.
        let permit = self.connections.clone().acquire_owned().await.expect("nobody closes it");
        let stream = match self.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => return tokio::time::sleep(PAUSE).await,
        };
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let (http, gateway, mut closing) = (self.http.clone(), self.gateway.clone(), self.closing.subscribe());
        tokio::spawn(async move {
            // Before its first byte a connection needs no buffers: there may be thousands.
            let has_begun = tokio::select! {
                biased;
                has_begun = begins(&stream) => has_begun,
                _ = closing.wait_for(|closing| *closing) => false,
                () = tokio::time::sleep(HEADER_TIME) => false,
            };
            if has_begun {
                // On the heap, or each task had room for it from the beginning.
                Box::pin(serve(http, gateway, stream, closing)).await;
            }
            drop(permit);
        });
    }

    /// Takes those who had connected when the socket was closed to others.
    async fn accept_rest(&self) {
        while tokio::time::timeout(PAUSE, self.accept_one()).await.is_ok() {}
    }

    /// Returns when nobody has called for so long.
    async fn idle(&self, limit: Duration) {
        let mut last = (0, Instant::now());
        loop {
            tokio::time::sleep(TICK.min(limit / 4)).await;
            self.gateway.tend();
            let accepted = self.accepted.load(Ordering::Relaxed) + self.gateway.answered();
            if self.gateway.present() > 0 || accepted != last.0 {
                last = (accepted, Instant::now());
            } else if last.1.elapsed() >= limit {
                return;
            }
        }
    }

    /// Lets every connection have the answer to its last request.
    async fn finish(&self) {
        self.closing.send_replace(true);
        drop(self.connections.acquire_many(self.most).await);
    }
}

/// Waits for the first byte; whether there is one.
async fn begins(stream: &net::UnixStream) -> bool {
    let look = || Ok(recv(stream, &mut [0; 1], RecvFlags::PEEK)?.0);
    loop {
        if stream.readable().await.is_err() {
            return false;
        }
        match stream.try_io(Interest::READABLE, look) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome.is_ok_and(|read| read > 0),
        }
    }
}

/// One connection, request by request.
async fn serve<S>(http: http1::Builder, gateway: Arc<Gateway>, stream: S, mut closing: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(move |request| gateway.clone().handle(request));
    let connection = http.serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let is_closing = tokio::select! {
        biased;
        _ = connection.as_mut() => false,
        _ = closing.wait_for(|closing| *closing) => true,
    };
    if is_closing {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// Serves the one connection that is this process's stdin, with one request: an isolated function's unit.
///
/// # Errors
/// Why it is not served.
pub fn request(layout: &Layout, id: &FunctionId) -> Result<(), String> {
    one(load(layout, id)?, Runner::Own)
}

fn one(compiled: Compiled, runner: Runner) -> Result<(), String> {
    let failed = |error: io::Error| format!("stdin is no connection: {error}");
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true).map_err(failed)?;
    // One request, one process: one thread.
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let gateway = Gateway::new(compiled, Children::adopt().map_err(failed)?, runner)?;
        let mut http = http1::Builder::new();
        // Its gateway may have connected before there was a request.
        http.header_read_timeout(None).max_buf_size(MAX_BUFFER).keep_alive(false);
        let stream = net::UnixStream::from_std(stream).map_err(failed)?;
        let (_open, closing) = watch::channel(false);
        serve(http, gateway.clone(), stream, closing).await;
        // A program that has closed its output runs on for as long as it may.
        while gateway.present() > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    })
}

/// What a program is given that becomes this process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// The listening socket that is stdin, as sd_listen_fds(3) has it.
    Listener,
    /// The connection that is stdin, as stdout too.
    Connection,
}

/// # Errors
/// Why it does not become that program.
pub fn hand_over(words: &[String], passing: Passing) -> io::Error {
    use std::os::unix::process::CommandExt;
    let Some((program, arguments)) = words.split_first() else { return io::Error::other("no program") };
    let mut command = std::process::Command::new(program);
    if let Err(error) = pass(command.args(arguments), passing) {
        return error;
    }
    let error = command.exec();
    io::Error::new(error.kind(), format!("{program}: {error}"))
}

fn pass(command: &mut std::process::Command, passing: Passing) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let stdin = io::stdin();
    if passing == Passing::Connection {
        return Ok(rustix::stdio::dup2_stdout(stdin.as_fd())?);
    }
    let socket = rustix::io::dup(stdin.as_fd())?; // the lowest number that is free
    if socket.as_raw_fd() != 3 {
        return Err(io::Error::other("file descriptor 3 is taken"));
    }
    std::mem::forget(socket); // it is the program's
    rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
    let pid = std::process::id().to_string();
    command.envs([("LISTEN_FDS", "1"), ("LISTEN_PID", &pid), ("LISTEN_FDNAMES", "connection")]);
    Ok(())
}
