//! Workers: programs that speak HTTP and serve one request after the other, and the units of an isolated function, which
//! serve one request each.

use std::error::Error;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, SERVER};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::pipe::{PipeFlags, pipe_with};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use crate::gateway::admission::Permit;
use crate::gateway::body::{Body, Watched};
use crate::gateway::executable::this_program;
use crate::gateway::fault::Fault;
use crate::gateway::header::is_hop_by_hop;
use crate::gateway::process::{Children, Process, Streams};
use crate::gateway::program::Program;
use crate::gateway::scratch;
use crate::gateway::upload::{TooLarge, Upload};
use crate::log;
use crate::model::function::{Function, STAND_BY, Transport};

/// Workers beyond `preload` are ended after this time without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// A process that accepts connections is waited for this long before another one is started.
const PATIENCE: Duration = Duration::from_secs(1);
/// A worker whose input has ended is killed after this time.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The workers of a function.
pub(crate) struct Workers {
    source: Source,
    children: Arc<Children>,
    preload: u32,
    max_requests: u32,
    max_body: u64,
    idle: Mutex<Vec<(Worker, Instant)>>,
    /// Workers that run, idle or not.
    count: Arc<AtomicU32>,
    /// Locked by the task that starts missing workers.
    starting: tokio::sync::Mutex<()>,
}

/// Where workers come from.
enum Source {
    /// Each worker is a process, on its stdin and stdout.
    Processes(Program),
    /// Each worker is a connection to one of some processes that accept from the same socket.
    Shared(Shared, Program),
    /// Each worker is a connection to the socket with this path, for which systemd starts a unit.
    Units(PathBuf),
}

/// The socket that several processes accept from, and the processes.
struct Shared {
    listener: UnixListener,
    path: PathBuf,
    processes: Mutex<Vec<Process>>,
    /// Locked by who starts processes.
    starting: tokio::sync::Mutex<()>,
    _dir: TempDir,
}

/// A connection to send requests to; and the process, if it is on the other end alone.
struct Worker {
    sender: SendRequest<Upload>,
    process: Option<Process>,
    served: u32,
    _counted: Counted,
}

/// Counts a worker until it is dropped.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Workers {
    /// Starts `preload` workers of a function's program. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the kernel refuses the socket that they accept from.
    pub(crate) fn new(function: &Function, program: Program, children: Arc<Children>) -> Result<Arc<Self>, String> {
        let source = match function.listen {
            Transport::Stdio => Source::Processes(program),
            Transport::Socket => {
                let shared = Shared::bind().map_err(|error| format!("could not bind the workers' socket: {error}"))?;
                Source::Shared(shared, listening(program).map_err(|error| error.to_string())?)
            }
        };
        Ok(Self::from_source(source, children, function, function.max_requests))
    }

    /// Connects to `socket` for each request of an isolated function, and `preload` times in advance: otherwise systemd would
    /// take most of a request's time to start a unit and its sandbox. Needs a tokio runtime.
    pub(crate) fn of_units(function: &Function, socket: PathBuf, children: Arc<Children>) -> Arc<Self> {
        Self::from_source(Source::Units(socket), children, function, 1)
    }

    fn from_source(source: Source, children: Arc<Children>, function: &Function, max_requests: u32) -> Arc<Self> {
        let (preload, max_body) = (function.preload, function.max_body);
        let (idle, count, starting) = Default::default();
        let workers = Arc::new(Self { source, children, preload, max_requests, max_body, idle, count, starting });
        workers.start_missing();
        workers
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Worker, Instant)>> {
        self.idle.lock().expect("no holder panics")
    }

    /// Answers a request.
    ///
    /// # Errors
    /// 502 if no worker starts, or the worker does not answer in HTTP; 413 if the body is larger than `max_body`.
    pub(crate) async fn respond(
        self: &Arc<Self>,
        head: Parts,
        body: Incoming,
        permit: Permit,
    ) -> Result<Response<Body>, Fault> {
        let mut request = Request::from_parts(head, Upload::new(body, self.max_body));
        remove_hop_by_hop(request.headers_mut());
        *request.version_mut() = hyper::Version::HTTP_11;
        // A client of HTTP/1.0 need not name one, RFC 9112 section 3.2.
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static(""));
        loop {
            let (mut worker, is_fresh) = self.take().await?;
            if matches!(self.source, Source::Units(_)) {
                self.start_missing(); // a unit serves one request
            }
            if worker.sender.ready().await.is_err() {
                if is_fresh {
                    return Err(Fault::program("the program ended before its first request"));
                }
                continue;
            }
            match worker.sender.try_send_request(request).await {
                Ok(response) => return Ok(self.clone().answer(response, worker, permit)),
                Err(mut unsent) => match unsent.take_message() {
                    // The worker closed the connection before hyper wrote anything.
                    Some(message) if !is_fresh => request = message,
                    _ => return Err(unanswered(&unsent.into_error())),
                },
            }
        }
    }

    fn answer(self: Arc<Self>, response: Response<Incoming>, worker: Worker, permit: Permit) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        remove_hop_by_hop(&mut head.headers);
        head.headers.remove(SERVER); // the proxy has its own
        let end = move || {
            drop(permit);
            self.give_back(worker);
        };
        if hyper::body::Body::is_end_stream(&body) {
            end();
            return Response::from_parts(head, body.map_err(Into::into).boxed());
        }
        Response::from_parts(head, Watched::new(body, end).boxed())
    }

    /// Returns the idle worker that was used last, or a new one; and whether it is new.
    async fn take(&self) -> Result<(Worker, bool), Fault> {
        while let Some((worker, _)) = { self.idle().pop() } {
            if !worker.sender.is_closed() {
                return Ok((worker, false));
            }
        }
        let failed = |error: io::Error| Fault::program(self.start_failed(&error));
        Ok((self.start().await.map_err(failed)?, true))
    }

    fn give_back(self: Arc<Self>, mut worker: Worker) {
        worker.served += 1;
        let must_end = !matches!(self.source, Source::Shared(..)) && worker.served >= self.max_requests;
        if must_end || worker.sender.is_closed() {
            end(worker);
            self.start_missing();
        } else {
            self.idle().push((worker, Instant::now()));
        }
    }

    async fn start(&self) -> io::Result<Worker> {
        let counted = Counted::new(&self.count);
        let (stream, process) = match &self.source {
            Source::Processes(program) => {
                let (ours, theirs) = UnixStream::pair()?;
                let stdin = theirs.try_clone()?.into();
                let process = self.children.start(program, &Streams { stdin, stdout: theirs.into() }).await?;
                ours.set_nonblocking(true)?;
                (tokio::net::UnixStream::from_std(ours)?, Some(process))
            }
            Source::Shared(shared, program) => {
                shared.start_missing(1, program, &self.children).await?;
                (tokio::net::UnixStream::connect(&shared.path).await?, None)
            }
            Source::Units(socket) => (tokio::net::UnixStream::connect(socket).await?, None),
        };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Worker { sender, process, served: 0, _counted: counted })
    }

    fn start_failed(&self, error: &io::Error) -> String {
        let (Source::Processes(Program { path, .. }) | Source::Shared(_, Program { path, .. }) | Source::Units(path)) =
            &self.source;
        format!("could not start {}: {error}", path.display())
    }

    /// Returns whether `preload` is not reached: by the workers that run, or, of units, by those that have no request yet.
    fn is_missing(&self) -> bool {
        let count = match self.source {
            Source::Units(_) => self.idle().len() as u32,
            Source::Processes(_) | Source::Shared(..) => self.count.load(Ordering::Acquire),
        };
        count < self.preload
    }

    /// Starts workers in a task of its own, until `preload` is reached.
    fn start_missing(self: &Arc<Self>) {
        let workers = self.clone();
        tokio::spawn(async move { workers.start_until_preloaded().await });
    }

    async fn start_until_preloaded(&self) {
        let _one_at_a_time = self.starting.lock().await;
        if let Source::Shared(shared, program) = &self.source
            && let Err(error) = shared.start_missing(self.preload as usize, program, &self.children).await
        {
            return log::failure(log::Failure::Function, &self.start_failed(&error));
        }
        while self.is_missing() {
            match self.start().await {
                Ok(worker) => self.idle().push((worker, Instant::now())),
                Err(error) => return log::failure(log::Failure::Function, &self.start_failed(&error)),
            }
        }
    }

    /// Ends workers that have been idle for too long, and replaces those that have ended. To be called now and then.
    pub(crate) fn tend(self: &Arc<Self>) {
        let mut idle = self.idle();
        idle.retain(|(worker, _)| !worker.sender.is_closed());
        let (limit, most) = match self.source {
            // RuntimeMaxSec= of a unit includes this time.
            Source::Units(_) => (STAND_BY, idle.len()),
            Source::Processes(_) | Source::Shared(..) => (IDLE_TIMEOUT, self.beyond_preload()),
        };
        // The longest idle one is first.
        let count = idle.iter().take(most).take_while(|(_, since)| since.elapsed() > limit).count();
        let ended: Vec<_> = idle.drain(..count).collect();
        drop(idle);
        ended.into_iter().for_each(|(worker, _)| end(worker));
        self.start_missing();
    }

    fn beyond_preload(&self) -> usize {
        self.count.load(Ordering::Acquire).saturating_sub(self.preload) as usize
    }
}

impl Shared {
    fn bind() -> io::Result<Self> {
        let dir = scratch::create(|dir| TempDir::with_prefix_in("conductor-", dir))?;
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path)?;
        let (processes, starting) = Default::default();
        Ok(Self { listener, path, processes, starting, _dir: dir })
    }

    /// Counts the processes that run.
    fn count(&self) -> usize {
        let mut processes = self.processes.lock().expect("no holder panics");
        processes.retain(Process::is_running);
        processes.len()
    }

    /// Starts processes until there are `wanted` ones.
    async fn start_missing(&self, wanted: usize, program: &Program, children: &Arc<Children>) -> io::Result<()> {
        if self.count() >= wanted {
            return Ok(());
        }
        // One at a time; but an execve(2) that hangs must not keep others from trying.
        let _turn = timeout(PATIENCE, self.starting.lock()).await;
        while self.count() < wanted {
            let stdin = self.listener.try_clone()?.into();
            let (running, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
            let process = children.start(program, &Streams { stdin, stdout }).await?;
            // `_listen` runs; its end of the pipe is closed when the program does, or has failed to.
            let _nothing = Receiver::from_owned_fd(running)?.read(&mut [0]).await?;
            self.processes.lock().expect("no holder panics").push(process);
        }
        Ok(())
    }
}

/// Returns `conductor cgi _listen` with the program: it passes the socket on its stdin to the program by sd_listen_fds(3).
fn listening(program: Program) -> io::Result<Program> {
    let mut command = this_program()?.into_iter().chain(["cgi", "_listen", "--"].map(Into::into));
    let path = command.next().unwrap_or_default().into();
    let arguments = command.chain([program.path.into_os_string()]).chain(program.arguments).collect();
    Ok(Program { path, arguments, ..program })
}

/// The fault of a request that a worker has not answered.
fn unanswered(error: &hyper::Error) -> Fault {
    if error.source().is_some_and(|source| source.is::<TooLarge>()) {
        return Fault::too_large();
    }
    Fault::program(format!("the program did not answer in HTTP: {error}"))
}

/// Closes a worker's connection, and kills the process if it does not exit then.
fn end(worker: Worker) {
    tokio::spawn(async move {
        let Worker { sender, process, served: _, _counted } = worker;
        drop((sender, _counted));
        if let Some(mut process) = process {
            let _ = timeout(EXIT_TIMEOUT, process.ended()).await;
        }
    });
}

/// Removes the fields that belong to one connection, RFC 9110 section 7.6.1. hyper adds Transfer-Encoding where it is due.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}
