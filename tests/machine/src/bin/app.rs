//! The application under test: serves the socket that systemd passes, or that its options name, and misbehaves by its
//! options.
//!
//! `GET /` answers `VERSION PID`, a POST its own body, `/healthz` says `ok`, `/slow?ms=N` takes its time,
//! `/status/N` answers with that status, and `/upgrade` echoes what comes on its connection from then on.
//! SIGTERM kills it at once, whatever it is doing, unless `--stop-delay` is given.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::future::pending;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use listenfd::ListenFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

#[derive(Parser)]
struct Options {
    /// What answers say of themselves
    #[arg(long, env = "VERSION", default_value = "0")]
    version: String,
    /// Bind this TCP port
    #[arg(long, env = "PORT")]
    tcp: Option<u16>,
    /// Bind the TCP port there
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Bind this unix socket
    #[arg(long)]
    unix: Option<PathBuf>,
    /// Serve one connection at a time
    #[arg(long)]
    single: bool,
    /// Time between two accepts
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    accept_delay: Duration,
    /// Answer health checks with status 500
    #[arg(long)]
    unhealthy: bool,
    /// Never answer health checks
    #[arg(long)]
    hang_health: bool,
    /// Answer health checks with status 401 unless they have this in their Authorization header
    #[arg(long)]
    health_token: Option<String>,
    /// Say READY=1 to systemd after this long
    #[arg(long, value_parser = humantime::parse_duration)]
    notify_after: Option<Duration>,
    /// Print a line and exit with this code instead of serving
    #[arg(long, value_name = "CODE")]
    exit_at_start: Option<i32>,
    /// Die after this long
    #[arg(long, value_parser = humantime::parse_duration)]
    exit_after: Option<Duration>,
    /// Time until the first accept
    #[arg(long, value_parser = humantime::parse_duration, default_value = "0s")]
    start_delay: Duration,
    /// Go on serving for this long after SIGTERM, then exit
    #[arg(long, value_parser = humantime::parse_duration)]
    stop_delay: Option<Duration>,
    /// Keep every connection open, whatever the client does
    #[arg(long)]
    never_close: bool,
    /// Accept nobody any more and close upgraded connections on SIGUSR1
    #[arg(long)]
    close_on_usr1: bool,
    /// Append a line to this file every 50 ms (relative to $STATE_DIRECTORY), and die when that fails
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Words after `--` are there to be looked at, in /proc/PID/cmdline
    #[arg(last = true)]
    _words: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let options = Arc::new(Options::parse());
    if let Some(code) = options.exit_at_start {
        say(&options.version, &format!("told to exit with {code}"));
        std::process::exit(code);
    }
    if options.unhealthy || options.hang_health {
        say(&options.version, "out of order");
    }
    if let Some(delay) = options.stop_delay {
        stop_after(delay)?;
    }
    if options.close_on_usr1 {
        drop(signal(SignalKind::user_defined1())?); // from now on it does not end the process
    }
    if let Some(delay) = options.exit_after {
        tokio::spawn(async move {
            sleep(delay).await;
            std::process::exit(70); // EX_SOFTWARE
        });
    }
    if let Some(file) = &options.write {
        let state = std::env::var_os("STATE_DIRECTORY").map(PathBuf::from).unwrap_or_default();
        tokio::spawn(keep_writing(state.join(file), options.version.clone()));
    }
    if let Some(delay) = options.notify_after {
        tokio::spawn(async move {
            sleep(delay).await;
            notify().expect("systemd listens");
        });
    }
    sleep(options.start_delay).await;
    match (options.tcp, options.unix.clone()) {
        (Some(port), _) => serve_tcp(TcpListener::bind((options.address, port)).await?, options).await,
        (_, Some(path)) => serve(UnixListener::bind(path)?, options).await,
        _ => serve_passed(options).await,
    }
}

async fn serve_tcp(socket: TcpListener, options: Arc<Options>) -> io::Result<()> {
    let mut closing = pin!(closing(options.clone()));
    loop {
        let (stream, _) = tokio::select! {
            accepted = socket.accept() => accepted?,
            () = &mut closing => break,
        };
        tokio::spawn(serve_connection(stream, options.clone()));
        if !options.accept_delay.is_zero() {
            sleep(options.accept_delay).await; // even sleeping for no time costs a millisecond
        }
    }
    drop(socket);
    pending().await
}

/// Serves the first socket of LISTEN_FDS, sd_listen_fds(3).
async fn serve_passed(options: Arc<Options>) -> io::Result<()> {
    let mut passed = ListenFd::from_env();
    if let Ok(Some(socket)) = passed.take_unix_listener(0) {
        socket.set_nonblocking(true)?;
        return serve(UnixListener::from_std(socket)?, options).await;
    }
    let socket = passed.take_tcp_listener(0)?;
    let socket = socket.ok_or_else(|| io::Error::other("no socket was passed (LISTEN_FDS)"))?;
    socket.set_nonblocking(true)?;
    serve_tcp(TcpListener::from_std(socket)?, options).await
}

/// sd_notify(3)
fn notify() -> io::Result<()> {
    let socket = std::env::var_os("NOTIFY_SOCKET").ok_or(io::ErrorKind::NotFound)?;
    std::os::unix::net::UnixDatagram::unbound()?.send_to(b"READY=1", socket).map(drop)
}

fn stop_after(delay: Duration) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        sleep(delay).await;
        std::process::exit(0);
    });
    Ok(())
}

async fn serve(socket: UnixListener, options: Arc<Options>) -> io::Result<()> {
    let mut closing = pin!(closing(options.clone()));
    loop {
        let (stream, _) = tokio::select! {
            accepted = socket.accept() => accepted?,
            () = &mut closing => break,
        };
        if options.single {
            serve_connection(stream, options.clone()).await;
        } else {
            tokio::spawn(serve_connection(stream, options.clone()));
        }
        if !options.accept_delay.is_zero() {
            sleep(options.accept_delay).await; // even sleeping for no time costs a millisecond
        }
    }
    drop(socket);
    pending().await
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, options: Arc<Options>) {
    let mut http = http1::Builder::new();
    http.keep_alive(!options.single); // else the first client would keep all others out
    let never_close = options.never_close;
    let service = service_fn(move |request| answer(request, options.clone()));
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if !never_close {
        let _ = connection.with_upgrades().await; // a client that went away
    } else if let Ok(parts) = connection.without_shutdown().await {
        std::mem::forget(parts.io);
    }
}

/// Returns when upgraded connections are to be closed.
async fn closing(options: Arc<Options>) {
    match signal(SignalKind::user_defined1()) {
        Ok(mut closing) if options.close_on_usr1 => drop(closing.recv().await),
        _ => pending().await,
    }
}

/// Answers with 101, and then gives back what it gets.
fn upgrade(request: Request<Incoming>, options: &Arc<Options>) -> Response<Full<Bytes>> {
    let closing = closing(options.clone());
    tokio::spawn(async move {
        if let Ok(connection) = hyper::upgrade::on(request).await {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(connection));
            tokio::select! {
                _ = tokio::io::copy(&mut from, &mut to) => {} // a client that went away
                () = closing => {}
            }
        }
    });
    let answer = Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "websocket");
    answer.header("x-version", &options.version).body(Full::default()).expect("a version that fits a header")
}

async fn answer(request: Request<Incoming>, options: Arc<Options>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.uri().path() == "/upgrade" {
        return Ok(upgrade(request, &options));
    }
    let (head, body) = request.into_parts();
    let text = match (&head.method, head.uri.path()) {
        (_, "/healthz") => return Ok(health(&head.headers, &options).await),
        (&Method::POST, _) => body.collect().await?.to_bytes(),
        (_, path) => {
            if path == "/slow" {
                sleep(slowness(head.uri.query())).await;
            }
            format!("{} {}\n", options.version, std::process::id()).into()
        }
    };
    let status: Option<u16> = head.uri.path().strip_prefix("/status/").and_then(|status| status.parse().ok());
    let mut answer = Response::builder().status(status.unwrap_or(200));
    answer = answer.header("x-version", &options.version).header("x-pid", std::process::id());
    if let Some(id) = head.headers.get("x-request-id") {
        answer = answer.header("x-request-id", id);
    }
    Ok(answer.body(Full::new(text)).expect("a version that fits a header"))
}

async fn health(headers: &HeaderMap, options: &Options) -> Response<Full<Bytes>> {
    if options.hang_health {
        pending::<Infallible>().await;
    }
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    let (status, text) = match &options.health_token {
        Some(wanted) if token != Some(wanted) => (401, "who is there?\n"),
        _ if options.unhealthy => (500, "out of order\n"),
        _ => (200, "ok\n"),
    };
    Response::builder().status(status).body(Full::new(text.into())).expect("constant parts")
}

fn slowness(query: Option<&str>) -> Duration {
    let ms = query.and_then(|query| query.strip_prefix("ms=")).and_then(|ms| ms.parse().ok());
    Duration::from_millis(ms.unwrap_or(0))
}

/// In one piece: conmon(8) takes what it reads for a line, and `eprintln!` writes in several.
fn say(version: &str, what: &str) {
    let _ = io::stderr().write_all(format!("app {version}: {what}\n").as_bytes());
}

async fn keep_writing(file: PathBuf, version: String) {
    for line in 0u64.. {
        if let Err(error) = append(&file, &format!("{version} {} {line}\n", std::process::id())) {
            say(&version, &format!("cannot write {}: {error}", file.display()));
            std::process::exit(74); // EX_IOERR
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn append(file: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(file)?.write_all(line.as_bytes())
}
