//! Who speaks HTTP itself: programs that are kept warm, given one request after the other, and replaced in time; or the
//! units of an isolated function, one a request.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;

use crate::gateway::body::{Body, Watched};
use crate::gateway::container::this_program;
use crate::gateway::fault::Fault;
use crate::gateway::function::Turn;
use crate::gateway::header::is_hop_by_hop;
use crate::gateway::process::{Children, Process, Program, Streams, scratch};
use crate::model::function::{Function, Talk};
use crate::target::systemd::function::STAND_BY;

/// A worker beyond those that are kept warm is ended when it has had nothing to do for so long.
const IDLE: Duration = Duration::from_secs(10);
/// Whom nobody needs any more is told by the end of its input, and given so long.
const FAREWELL: Duration = Duration::from_secs(1);

/// All workers of a function.
pub struct Workers {
    source: Source,
    children: Arc<Children>,
    preload: u32,
    max_requests: u32,
    idle: Mutex<Vec<(Worker, Instant)>>,
    /// Workers that live, idle or not.
    count: Arc<AtomicU32>,
    /// Held while more are started.
    warming: tokio::sync::Mutex<()>,
}

/// Where workers come from.
enum Source {
    /// A process each, on its stdin and stdout.
    Processes(Program),
    /// Connections to some processes that accept from one socket.
    Shared(Shared, Program),
    /// A unit each: systemd accepts there, and starts it for the connection.
    Units(PathBuf),
}

/// The socket that programs accept from, and those that do.
struct Shared {
    listener: UnixListener,
    path: PathBuf,
    processes: Mutex<Vec<Process>>,
    _dir: TempDir,
}

/// Somebody to send a request to: a process of its own, or a connection to one of several.
struct Worker {
    sender: SendRequest<Incoming>,
    process: Option<Process>,
    served: u32,
    _counted: Counted,
}

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
    /// Starts those that are kept warm. Needs a runtime.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn new(function: &Function, program: Program, children: Arc<Children>) -> Result<Arc<Self>, String> {
        let source = match function.listen {
            Talk::Stdio => Source::Processes(program),
            Talk::Socket => {
                let shared = Shared::bind().map_err(|error| format!("no socket for its programs: {error}"))?;
                Source::Shared(shared, handed_over(program).map_err(|error| error.to_string())?)
            }
        };
        Ok(Self::of(source, children, function.preload, function.max_requests))
    }

    /// Those of an isolated function: each connection to this socket becomes a unit, for one request. So many are there
    /// before it: of a request's time systemd's for a unit and its sandbox would be the most. Needs a runtime.
    pub fn units(function: &Function, socket: PathBuf, children: Arc<Children>) -> Arc<Self> {
        Self::of(Source::Units(socket), children, function.preload, 1)
    }

    fn of(source: Source, children: Arc<Children>, preload: u32, max_requests: u32) -> Arc<Self> {
        let (idle, count, warming) = Default::default();
        let workers = Arc::new(Self { source, children, preload, max_requests, idle, count, warming });
        workers.warm();
        workers
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Worker, Instant)>> {
        self.idle.lock().expect("nobody panics while holding it")
    }

    /// Has a request answered.
    ///
    /// # Errors
    /// Why no worker answers it.
    pub async fn respond(self: &Arc<Self>, head: Parts, body: Incoming, turn: Turn) -> Result<Response<Body>, Fault> {
        let mut request = Request::from_parts(head, body);
        strip(request.headers_mut());
        *request.version_mut() = hyper::Version::HTTP_11;
        loop {
            let (mut worker, is_fresh) = self.take().await?;
            if matches!(self.source, Source::Units(_)) {
                self.warm(); // none serves twice
            }
            if worker.sender.ready().await.is_err() {
                if is_fresh {
                    return Err(Fault::program("it ended before its first request".to_owned()));
                }
                continue;
            }
            match worker.sender.try_send_request(request).await {
                Ok(response) => return Ok(self.clone().answer(response, worker, turn)),
                Err(mut unsent) => match unsent.take_message() {
                    // It had closed its end before it could read anything.
                    Some(message) if !is_fresh => request = message,
                    _ => return Err(Fault::program(format!("it did not answer in HTTP: {}", unsent.into_error()))),
                },
            }
        }
    }

    fn answer(self: Arc<Self>, response: Response<Incoming>, worker: Worker, turn: Turn) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        strip(&mut head.headers);
        let deadline = turn.deadline;
        let end = move || {
            drop(turn);
            self.give_back(worker);
        };
        if hyper::body::Body::is_end_stream(&body) {
            end();
            return Response::from_parts(head, body.map_err(Into::into).boxed());
        }
        Response::from_parts(head, Watched::new(body, deadline, end).boxed())
    }

    /// The worker that was used last, or another one.
    async fn take(&self) -> Result<(Worker, bool), Fault> {
        while let Some((worker, _)) = { self.idle().pop() } {
            if !worker.sender.is_closed() {
                return Ok((worker, false));
            }
        }
        let failed = |error: io::Error| Fault::program(self.cannot_be_started(&error));
        Ok((self.start().await.map_err(failed)?, true))
    }

    fn give_back(self: Arc<Self>, mut worker: Worker) {
        worker.served += 1;
        let is_spent = !matches!(self.source, Source::Shared(..)) && worker.served >= self.max_requests;
        if is_spent || worker.sender.is_closed() {
            retire(worker);
            self.warm();
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
                let process = self.children.start(program, &Streams { stdin, stdout: theirs.into() })?;
                ours.set_nonblocking(true)?;
                (tokio::net::UnixStream::from_std(ours)?, Some(process))
            }
            Source::Shared(shared, program) => {
                shared.keep(self.preload.max(1) as usize, program, &self.children)?;
                (tokio::net::UnixStream::connect(&shared.path).await?, None)
            }
            Source::Units(socket) => (tokio::net::UnixStream::connect(socket).await?, None),
        };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Worker { sender, process, served: 0, _counted: counted })
    }

    fn cannot_be_started(&self, error: &io::Error) -> String {
        let (Source::Processes(Program { path, .. }) | Source::Shared(_, Program { path, .. }) | Source::Units(path)) =
            &self.source;
        format!("{} cannot be started: {error}", path.display())
    }

    /// Whether there are fewer than are to be kept warm: of those that serve again, or of those that nobody has yet.
    fn is_missing(&self) -> bool {
        let there = match self.source {
            Source::Units(_) => self.idle().len() as u32,
            Source::Processes(_) | Source::Shared(..) => self.count.load(Ordering::Acquire),
        };
        there < self.preload
    }

    /// Starts those that are missing, aside.
    fn warm(self: &Arc<Self>) {
        let workers = self.clone();
        tokio::spawn(async move { workers.keep_warm().await });
    }

    async fn keep_warm(&self) {
        let _one_at_a_time = self.warming.lock().await;
        while self.is_missing() {
            match self.start().await {
                Ok(worker) => self.idle().push((worker, Instant::now())),
                Err(error) => return eprintln!("{}", self.cannot_be_started(&error)),
            }
        }
    }

    /// Ends workers that have had nothing to do for too long, and replaces those that have ended.
    pub fn tend(self: &Arc<Self>) {
        let mut idle = self.idle();
        idle.retain(|(worker, _)| !worker.sender.is_closed());
        let (limit, most) = match self.source {
            // One has not for ever, RuntimeMaxSec=.
            Source::Units(_) => (STAND_BY, idle.len()),
            Source::Processes(_) | Source::Shared(..) => (IDLE, self.beyond_preload()),
        };
        // Who was used last is at the end.
        let over = idle.iter().take(most).take_while(|(_, since)| since.elapsed() > limit).count();
        let over: Vec<_> = idle.drain(..over).collect();
        drop(idle);
        over.into_iter().for_each(|(worker, _)| retire(worker));
        self.warm();
    }

    fn beyond_preload(&self) -> usize {
        self.count.load(Ordering::Acquire).saturating_sub(self.preload) as usize
    }
}

impl Shared {
    fn bind() -> io::Result<Self> {
        let dir = scratch(|dir| TempDir::with_prefix_in("conductor-", dir))?;
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path)?;
        fs::metadata(&path)?;
        Ok(Self { listener, path, processes: Mutex::default(), _dir: dir })
    }

    /// Starts as many programs as are missing.
    fn keep(&self, wanted: usize, program: &Program, children: &Arc<Children>) -> io::Result<()> {
        let mut processes = self.processes.lock().expect("nobody panics while holding it");
        processes.retain(Process::is_running);
        while processes.len() < wanted {
            let stdin = self.listener.try_clone()?.into();
            let stdout = fs::File::options().write(true).open("/dev/null")?.into();
            processes.push(children.start(program, &Streams { stdin, stdout })?);
        }
        Ok(())
    }
}

/// The program through `conductor cgi _listen`, which hands the socket on its stdin over as sd_listen_fds(3) has it.
fn handed_over(program: Program) -> io::Result<Program> {
    let mut own = this_program()?.into_iter().chain(["cgi", "_listen", "--"].map(Into::into));
    let path = own.next().unwrap_or_default().into();
    let arguments = own.chain([program.path.into_os_string()]).chain(program.arguments).collect();
    Ok(Program { path, arguments, ..program })
}

/// Lets a worker end by itself.
fn retire(worker: Worker) {
    tokio::spawn(async move {
        let Worker { sender, process, served: _, _counted } = worker;
        drop((sender, _counted));
        if let Some(mut process) = process {
            let _ = tokio::time::timeout(FAREWELL, process.ended()).await;
        }
    });
}

/// Takes out what belongs to one connection alone.
fn strip(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name.as_str())).cloned().collect();
    // Whether a body is chunked hyper knows from the body, and says anew.
    for name in own {
        headers.remove(name);
    }
}
