//! The gate before a deployment takes traffic: its health check, tried until it passes.
//!
//! The check is made on the deployment's own socket. systemd holds that socket, so connecting always
//! succeeds at once; only an answer, or the kernel's word that the process has accepted the connection,
//! says anything about the process. A process that exits ends the wait at once.

use crate::deployment::drain;
use crate::model::{Check, Health};
use camino::Utf8Path;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::pin::pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};
use std::{error, fmt, io, thread};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between the first attempts, doubling up to the check's interval: what is ready soon is found soon.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// Between looks at whether a connection was accepted, doubling up to the longer one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Of an HTTP answer's body, in bytes; what follows is not read.
const BODY: usize = 64 * 1024;
/// Of a command's standard error, in bytes from the end.
const STDERR: usize = 4 * 1024;
/// Of an answer in messages, in bytes.
const EXCERPT: usize = 200;

/// A health check that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Including the one that passed.
    pub attempts: u32,
    /// Since the wait began.
    pub elapsed: Duration,
    /// For example "200 OK: ready".
    pub answer: String,
}

/// A health check that did not pass. Shown as one sentence, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// For example "GET /healthz" or "./check --fast".
    pub check: String,
    /// Including one that was cut short.
    pub attempts: u32,
    /// Since the wait began.
    pub elapsed: Duration,
    /// The last answer, for example "503 Service Unavailable: starting", "connection refused", "exited
    /// with status 2: no such table" or "no answer within 30s".
    pub last: String,
    /// What ended the wait.
    pub cause: Cause,
}

/// What ended the wait for a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The deadline came.
    TimedOut,
    /// The deployment's main process exited.
    ProcessExited,
    /// The kernel refused what the wait itself needs, such as a descriptor; nothing is known of the deployment.
    NotCarriedOut,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { check, attempts, last, .. } = self;
        let elapsed = rounded(self.elapsed);
        let attempts = format_args!("{attempts} attempt{}", if *attempts == 1 { "" } else { "s" });
        match self.cause {
            Cause::TimedOut => write!(f, "health check ({check}) did not pass within {elapsed:?} ({attempts}): {last}"),
            Cause::ProcessExited => write!(
                f,
                "the main process exited after {elapsed:?}, before its health check ({check}) passed ({attempts}): {last}"
            ),
            Cause::NotCarriedOut => write!(f, "health check ({check}) could not be carried out: {last}"),
        }
    }
}

impl error::Error for Failed {}

/// Tries the check on a deployment's `socket` until it passes.
///
/// The first attempt is made at once, the next ones after pauses that grow from 2 ms to the check's
/// interval. No attempt outlasts the check's timeout or `deadline`. Commands run in the current
/// directory, environment, namespaces and credentials, each in a process group that is killed with it.
///
/// `main_pid` is watched through a pidfd; without one only `deadline` ends the wait. A number that no
/// process has any more counts as exited. (A number that was given to another process since systemd
/// told it goes unnoticed; the deadline still holds.)
///
/// # Errors
///
/// [`Failed`] with its [`Cause`].
pub fn wait(health: &Health, socket: &Utf8Path, main_pid: Option<u32>, deadline: Instant) -> Result<Passed, Failed> {
    let mut gate = Gate { health, socket, started: Instant::now(), deadline, attempts: 0, last: None };
    match gate.run(main_pid) {
        Ok(Ok(answer)) => Ok(Passed { attempts: gate.attempts, elapsed: gate.started.elapsed(), answer }),
        Ok(Err(cause)) => Err(gate.failed(cause)),
        Err(error) => {
            gate.last = Some(error.to_string());
            Err(gate.failed(Cause::NotCarriedOut))
        }
    }
}

/// What an attempt was answered: `Err` if that does not pass.
type Answer = Result<String, String>;

struct Gate<'a> {
    health: &'a Health,
    socket: &'a Utf8Path,
    started: Instant,
    deadline: Instant,
    attempts: u32,
    last: Option<String>,
}

impl Gate<'_> {
    fn run(&mut self, main_pid: Option<u32>) -> io::Result<Result<String, Cause>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match unless(exit_of(main_pid), self.until_passed()).await {
                Ok(outcome) => Ok(outcome),
                Err(exited) => exited.map(|()| Err(Cause::ProcessExited)),
            }
        })
    }

    async fn until_passed(&mut self) -> Result<String, Cause> {
        let mut pause = FIRST_PAUSE;
        while !self.remaining().is_zero() {
            match self.attempt().await {
                Ok(answer) => return Ok(answer),
                Err(answer) => self.last = Some(answer),
            }
            sleep(pause.min(self.remaining())).await;
            pause = (pause * 2).min(self.health.interval.max(FIRST_PAUSE));
        }
        Err(Cause::TimedOut)
    }

    async fn attempt(&mut self) -> Answer {
        self.attempts += 1;
        let limit = self.health.timeout.min(self.remaining());
        match timeout(limit, ask(&self.health.check, self.socket)).await {
            Ok(answer) => answer,
            // The deadline cut this attempt short; what was answered before says more.
            Err(_) if limit < self.health.timeout && self.last.is_some() => Err(self.last.take().unwrap_or_default()),
            Err(_) => Err(format!("no answer within {:?}", rounded(limit))),
        }
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn failed(self, cause: Cause) -> Failed {
        Failed {
            check: named(&self.health.check),
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
            last: self.last.unwrap_or_else(|| "no answer yet".into()),
            cause,
        }
    }
}

/// A check as messages call it.
fn named(check: &Check) -> String {
    match check {
        Check::Http { path, .. } => format!("GET {path}"),
        Check::Tcp => "connection accepted".into(),
        Check::Exec { command } => command.to_string(),
    }
}

/// One attempt.
async fn ask(check: &Check, socket: &Utf8Path) -> Answer {
    match check {
        Check::Http { path, status } => get(socket, path, status).await,
        Check::Tcp => be_accepted(socket).await.map_err(|error| reason(&error)),
        Check::Exec { command } => execute(&command.0).await,
    }
}

/// Asks for `path` and passes with one of the `status` codes, or any from 200 to 399 if none are given.
async fn get(socket: &Utf8Path, path: &str, status: &[u16]) -> Answer {
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, "conductor")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let stream = UnixStream::connect(socket).await.map_err(|error| reason(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(with_sources)?;
    let mut background = JoinSet::new(); // ends the connection when dropped
    background.spawn(connection);

    let response = sender.send_request(request).await.map_err(with_sources)?;
    let code = response.status();
    let body = beginning(response).await.map_err(|error| format!("{code}: {}", with_sources(error)))?;
    let answer = joined(code.to_string(), &excerpt(&body));
    let passes = if status.is_empty() { (200..400).contains(&code.as_u16()) } else { status.contains(&code.as_u16()) };
    if passes { Ok(answer) } else { Err(answer) }
}

/// An answer's body as far as it is read.
async fn beginning(mut response: Response<Incoming>) -> hyper::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(frame) = response.frame().await {
        body.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
        if body.len() >= BODY {
            break;
        }
    }
    Ok(body)
}

/// Connects, and passes when the process has accepted this connection or closed it after doing so.
async fn be_accepted(socket: &Utf8Path) -> io::Result<String> {
    let stream = UnixStream::connect(socket).await?;
    let mut pause = ACCEPT_PAUSE;
    loop {
        if drain::is_accepted(&stream)? {
            return Ok("connection accepted".into());
        }
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error), // reset: closed without having been accepted
            Ok(0) => return Ok("connection accepted and closed".into()),
            Ok(_) => return Ok("connection accepted and written to".into()),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
    }
}

/// Runs a command and passes when it exits with status 0.
async fn execute(command: &[String]) -> Answer {
    let [program, arguments @ ..] = command else { return Err("no command".into()) };
    match run(program, arguments).await {
        Ok((status, tail)) => {
            let answer = joined(told(status), &last_line(&tail));
            if status.success() { Ok(answer) } else { Err(answer) }
        }
        Err(error) => Err(format!("cannot run {program}: {error}")),
    }
}

/// How a command exited, and the end of its standard error.
async fn run(program: &str, arguments: &[String]) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (stderr, theirs) = io::pipe()?;
    let mut stderr = Receiver::from_owned_fd(stderr.into())?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(theirs);
    let child = command.spawn()?;
    let exited = exit_of(Some(child.id()));
    let mut running = Running(Some(child));

    let mut tail = Vec::new();
    let Err(watched) = unless(exited, follow(&mut stderr, &mut tail)).await;
    watched?;
    rest_of(&stderr, &mut tail);
    Ok((running.collect()?, tail))
}

/// A command in a process group of its own. Nothing of the group is left when this is dropped.
struct Running(Option<Child>);

impl Running {
    /// Of a command that has exited.
    fn collect(&mut self) -> io::Result<ExitStatus> {
        self.end().map_or(Err(io::ErrorKind::NotFound.into()), |mut child| child.wait())
    }

    /// Kills what is left of the group. The child must not have been waited for: until then nobody
    /// else can be given the group's number.
    fn end(&mut self) -> Option<Child> {
        let child = self.0.take()?;
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL); // there may be nothing left
        Some(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.end() {
            // Elsewhere, because a process that hangs in the kernel would hold up the deadline.
            let _ = thread::Builder::new().spawn(move || child.wait());
        }
    }
}

/// Ends when a process has exited; never without one.
async fn exit_of(pid: Option<u32>) -> io::Result<()> {
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
async fn unless<W, E>(end: impl Future<Output = E>, work: impl Future<Output = W>) -> Result<W, E> {
    let (mut end, mut work) = (pin!(end), pin!(work));
    poll_fn(|context| match end.as_mut().poll(context) {
        Poll::Ready(ended) => Poll::Ready(Err(ended)),
        Poll::Pending => work.as_mut().poll(context).map(Ok),
    })
    .await
}

/// Keeps the last bytes of what a command writes; its closing the pipe does not mean that it has ended.
async fn follow(stderr: &mut Receiver, tail: &mut Vec<u8>) -> Infallible {
    let mut chunk = [0; STDERR];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        keep(tail, &chunk[..length]);
    }
    pending().await
}

/// What a command that has exited had written since.
fn rest_of(stderr: &Receiver, tail: &mut Vec<u8>) {
    let mut chunk = [0; STDERR];
    while let Ok(length @ 1..) = stderr.try_read(&mut chunk) {
        keep(tail, &chunk[..length]);
    }
}

fn keep(tail: &mut Vec<u8>, chunk: &[u8]) {
    tail.extend_from_slice(chunk);
    tail.drain(..tail.len().saturating_sub(STDERR));
}

fn last_line(bytes: &[u8]) -> String {
    bytes.split(|byte| *byte == b'\n').rev().map(excerpt).find(|line| !line.is_empty()).unwrap_or_default()
}

/// The beginning of an answer, as one line that is safe on a terminal.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT)]);
    let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER); // a character that was cut in two
    whole
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn joined(mut answer: String, detail: &str) -> String {
    if !detail.is_empty() {
        answer.push_str(": ");
        answer.push_str(detail);
    }
    answer
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::NotFound => "no such socket".into(),
        io::ErrorKind::WouldBlock => "the socket's queue of connections is full".into(),
        _ => error.to_string(),
    }
}

/// hyper tells what happened, and its source why.
fn with_sources(error: hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = error::Error::source(&error);
    while let Some(cause) = source {
        text = joined(text, &cause.to_string());
        source = cause.source();
    }
    text
}

/// To milliseconds, for people.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use camino::Utf8PathBuf;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Place {
        directory: tempfile::TempDir,
        socket: Utf8PathBuf,
    }

    fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let socket = Utf8PathBuf::from_path_buf(directory.path().join("socket")).unwrap();
        Place { directory, socket }
    }

    fn health(check: Check) -> Health {
        Health { check, interval: Duration::from_millis(50), timeout: Duration::from_secs(5) }
    }

    fn http(path: &str, status: &[u16]) -> Health {
        health(Check::Http { path: path.into(), status: status.into() })
    }

    fn command(words: &[&str]) -> Health {
        health(Check::Exec { command: model::Command(words.iter().map(|word| word.to_string()).collect()) })
    }

    fn exec(script: &str) -> Health {
        command(&["sh", "-c", script])
    }

    fn soon(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    /// Answers one connection after the other with `answers`, the last one again and again, and
    /// returns what was asked first.
    fn serving<T>(socket: &Utf8Path, answers: &[&str], what: impl FnOnce() -> T) -> (T, String) {
        let listener = UnixListener::bind(socket).unwrap();
        let over = AtomicBool::new(false);
        let serve = || {
            let mut first = String::new();
            for number in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).unwrap();
                if number == 0 {
                    first = String::from_utf8_lossy(&asked[..length]).into_owned();
                }
                let _ = stream.write_all(answers[answers.len().min(number + 1) - 1].as_bytes());
            }
            first
        };
        thread::scope(|scope| {
            let server = scope.spawn(serve);
            let outcome = what();
            over.store(true, Ordering::SeqCst);
            drop(std::os::unix::net::UnixStream::connect(socket).unwrap());
            (outcome, server.join().unwrap())
        })
    }

    const READY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n";
    const STARTING: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\nno\n\x1b[1mdb\tup";

    #[test]
    fn a_ready_server_passes_at_the_first_attempt() {
        let place = place();
        let (passed, asked) = serving(&place.socket, &[READY], || {
            wait(&http("/healthz?full", &[]), &place.socket, Some(std::process::id()), soon(5_000)).unwrap()
        });
        assert_eq!((passed.attempts, passed.answer.as_str()), (1, "200 OK: ready"));
        assert!(asked.starts_with("GET /healthz?full HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: localhost\r\nuser-agent: conductor\r\n"), "{asked}");
    }

    #[test]
    fn a_server_that_becomes_ready_passes_then() {
        let place = place();
        let answers = [STARTING, "", STARTING, READY];
        let (passed, _) =
            serving(&place.socket, &answers, || wait(&http("/", &[]), &place.socket, None, soon(5_000)).unwrap());
        assert_eq!(passed.attempts, 4);
        assert!(passed.elapsed >= Duration::from_millis(2 + 4 + 8), "{:?}", passed.elapsed);
    }

    #[test]
    fn a_server_that_is_never_ready_fails_with_its_last_answer() {
        let place = place();
        let (failed, _) =
            serving(&place.socket, &[STARTING], || wait(&http("/h", &[]), &place.socket, None, soon(300)).unwrap_err());
        assert_eq!(failed.last, "503 Service Unavailable: no [1mdb up");
        assert_eq!(failed.cause, Cause::TimedOut);
        assert!((300..1_000).contains(&failed.elapsed.as_millis()), "{:?}", failed.elapsed);
        assert!((2..=11).contains(&failed.attempts), "after 2, 4, 8, 16 and 32 ms, then every 50 ms: {failed}");
        let text = failed.to_string();
        assert!(text.starts_with("health check (GET /h) did not pass within "), "{text}");
        assert!(text.ends_with(" attempts): 503 Service Unavailable: no [1mdb up"), "{text}");
    }

    #[test]
    fn only_the_declared_codes_pass() {
        let place = place();
        let teapot = "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n";
        let (passed, _) = serving(&place.socket, &[READY, teapot], || {
            wait(&http("/", &[418]), &place.socket, None, soon(5_000)).unwrap()
        });
        assert_eq!((passed.attempts, passed.answer.as_str()), (2, "418 I'm a teapot"));
    }

    #[test]
    fn a_body_without_end_is_read_no_further_than_its_limit() {
        let place = place();
        let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "x".repeat(BODY));
        let (passed, _) =
            serving(&place.socket, &[&endless], || wait(&http("/", &[]), &place.socket, None, soon(5_000)).unwrap());
        assert_eq!(passed.answer, format!("200 OK: {}", "x".repeat(EXCERPT)));
        // Broken off before the limit, it is no answer.
        let short = place.socket.with_file_name("short");
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx";
        let (failed, _) = serving(&short, &[cut], || wait(&http("/", &[]), &short, None, soon(100)).unwrap_err());
        assert!(failed.last.starts_with("200 OK: "), "{failed}");
    }

    #[test]
    fn what_is_not_http_fails() {
        let place = place();
        let (failed, _) = serving(&place.socket, &["SSH-2.0\r\n"], || {
            wait(&http("/", &[]), &place.socket, None, soon(100)).unwrap_err()
        });
        assert!(failed.last.contains("invalid HTTP"), "{failed}");
    }

    #[test]
    fn connections_that_are_not_possible_are_named() {
        let place = place();
        for check in [http("/", &[]), health(Check::Tcp)] {
            assert_eq!(wait(&check, &place.socket, None, soon(60)).unwrap_err().last, "no such socket");
        }
        drop(UnixListener::bind(&place.socket).unwrap());
        for check in [http("/", &[]), health(Check::Tcp)] {
            assert_eq!(wait(&check, &place.socket, None, soon(60)).unwrap_err().last, "connection refused");
        }
    }

    #[test]
    fn one_attempt_ends_at_its_timeout_and_at_the_deadline() {
        let place = place();
        let _silent = UnixListener::bind(&place.socket).unwrap();
        for check in [http("/", &[]), health(Check::Tcp), exec("sleep 60")] {
            let hasty = Health { timeout: Duration::from_millis(40), ..check.clone() };
            let failed = wait(&hasty, &place.socket, None, soon(200)).unwrap_err();
            assert_eq!(failed.last, "no answer within 40ms", "{failed}");
            assert!((2..=5).contains(&failed.attempts), "{failed}");

            let failed = wait(&check, &place.socket, None, soon(100)).unwrap_err();
            assert!((100..900).contains(&failed.elapsed.as_millis()), "{failed}");
            assert!(failed.last.starts_with("no answer within "), "{failed}");
            assert_eq!((failed.attempts, failed.cause), (1, Cause::TimedOut));
        }
        let late = wait(&http("/", &[]), &place.socket, None, Instant::now()).unwrap_err();
        assert_eq!((late.attempts, late.last.as_str()), (0, "no answer yet"));
    }

    #[test]
    fn a_connection_counts_once_the_process_accepts_it() {
        let place = place();
        let listener = UnixListener::bind(&place.socket).unwrap();
        // Callers that wait since before must not matter.
        let _callers: Vec<_> =
            (0..2).map(|_| std::os::unix::net::UnixStream::connect(&place.socket).unwrap()).collect();
        thread::scope(|scope| {
            let accepting = scope.spawn(|| {
                thread::sleep(Duration::from_millis(60));
                let accepted: Vec<_> = (0..3).map(|_| listener.accept().unwrap()).collect();
                thread::sleep(Duration::from_millis(100));
                accepted.len()
            });
            let passed = wait(&health(Check::Tcp), &place.socket, None, soon(5_000)).unwrap();
            assert!((60..).contains(&passed.elapsed.as_millis()), "{passed:?}");
            assert_eq!((passed.attempts, passed.answer.as_str()), (1, "connection accepted"));
            accepting.join().unwrap();
        });
    }

    #[test]
    fn accepting_and_closing_at_once_is_accepting_and_a_closed_listener_is_not() {
        let place = place();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let accepting = thread::spawn(move || {
            drop(listener.accept().unwrap());
            listener
        });
        let passed = wait(&health(Check::Tcp), &place.socket, None, soon(5_000)).unwrap();
        assert_eq!(passed.attempts, 1);
        let listener = accepting.join().unwrap();
        let closing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            drop(listener);
        });
        let failed = wait(&health(Check::Tcp), &place.socket, None, soon(200)).unwrap_err();
        assert_eq!(failed.last, "connection refused");
        closing.join().unwrap();
    }

    #[test]
    fn a_command_passes_with_status_0_and_fails_with_its_last_words() {
        let place = place();
        assert_eq!(wait(&exec("exit 0"), &place.socket, None, soon(5_000)).unwrap().answer, "exited with status 0");
        let cases = [
            ("echo one >&2; echo ' two  words' >&2; echo >&2; exit 2", "exited with status 2: two words"),
            ("kill -9 $$", "killed by signal 9"),
            ("seq 100000 >&2; exit 1", "exited with status 1: 100000"),
            ("echo closed >&2; exec 2>&-; sleep 0.01; exit 3", "exited with status 3: closed"),
        ];
        for (script, last) in cases {
            assert_eq!(wait(&exec(script), &place.socket, None, soon(150)).unwrap_err().last, last, "{script}");
        }
        let missing = command(&["./no-such-check", "--fast"]);
        let failed = wait(&missing, &place.socket, None, soon(50)).unwrap_err();
        assert_eq!(failed.check, "./no-such-check --fast");
        assert!(failed.last.starts_with("cannot run ./no-such-check: No such file"), "{failed}");
    }

    #[test]
    fn nothing_of_a_command_is_left_running() {
        let place = place();
        let pids = place.directory.path().join("pids");
        // The second keeps standard error open after the command has exited.
        for (rest, milliseconds) in [("wait", 80), ("exit 0", 5_000)] {
            let script = format!("sleep 60 & echo $! $$ > {}; {rest}", pids.display());
            let started = Instant::now();
            let _ = wait(&exec(&script), &place.socket, None, soon(milliseconds));
            assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
            thread::sleep(Duration::from_millis(50));
            for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
                let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // Its parent being gone, the first is init's to collect.
                assert!(status.is_empty() || status.contains(") Z "), "left running: {status}");
            }
        }
    }

    #[test]
    fn a_main_process_that_exits_ends_the_wait_at_once() {
        let place = place();
        let _silent = UnixListener::bind(&place.socket).unwrap();
        for check in [http("/", &[]), health(Check::Tcp), exec("sleep 60")] {
            let mut main = Command::new("sleep").arg("0.1").spawn().unwrap();
            let failed = wait(&check, &place.socket, Some(main.id()), soon(5_000)).unwrap_err();
            assert!((50..1_000).contains(&failed.elapsed.as_millis()), "{failed}");
            assert_eq!(
                (failed.cause, failed.attempts, failed.last.as_str()),
                (Cause::ProcessExited, 1, "no answer yet")
            );
            main.wait().unwrap();
        }
    }

    #[test]
    fn a_main_process_that_has_exited_before_counts_too() {
        let place = place();
        let mut zombie = Command::new("true").spawn().unwrap();
        thread::sleep(Duration::from_millis(50));
        let cause = |pid| wait(&exec("sleep 60"), &place.socket, Some(pid), soon(1_000)).unwrap_err().cause;
        assert_eq!(cause(zombie.id()), Cause::ProcessExited);
        zombie.wait().unwrap();
        assert_eq!(cause(zombie.id()), Cause::ProcessExited);
        assert_eq!(cause(0), Cause::ProcessExited);
        assert_eq!(cause(u32::MAX), Cause::ProcessExited);
        // Its number lives on as a process group's.
        let mut leader = Command::new("sh").args(["-c", "sleep 1 &"]).process_group(0).spawn().unwrap();
        leader.wait().unwrap();
        assert_eq!(cause(leader.id()), Cause::ProcessExited);
    }

    #[test]
    fn an_exited_main_process_is_told_with_the_last_answer() {
        let failed = Failed {
            check: "GET /".into(),
            attempts: 1,
            elapsed: Duration::from_micros(1_234_567),
            last: "connection refused".into(),
            cause: Cause::ProcessExited,
        };
        assert_eq!(
            failed.to_string(),
            "the main process exited after 1.234s, before its health check (GET /) passed (1 attempt): connection refused"
        );
    }

    #[test]
    fn an_excerpt_is_one_clean_line() {
        assert_eq!(excerpt(b" a\r\n\x1b]0;b\x07 \tc\n"), "a ]0;b c");
        let long = "é".repeat(EXCERPT);
        assert_eq!(excerpt(&long.as_bytes()[1..]).chars().filter(|c| *c == 'é').count(), EXCERPT / 2 - 1);
    }
}
