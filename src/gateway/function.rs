//! A function's gateway: which requests it takes, in which order, and who answers them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use camino::Utf8PathBuf;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::gateway::body::{Body, answer};
use crate::gateway::cgi::{self, Input};
use crate::gateway::fault::Fault;
use crate::gateway::meta::{self, Place};
use crate::gateway::process::{Children, Program};
use crate::gateway::worker::Workers;
use crate::model::function::{Compiled, Function, Interface};
use crate::model::{Command, Engine};
use crate::names::FunctionId;
use crate::target::systemd::function::MARGIN;
use crate::target::systemd::units::program_path;

/// Longer paths and queries are refused with 414.
const MAX_URI: usize = 8 << 10;
/// Larger headers are refused with 431: they would be a program's environment.
const MAX_HEADER: usize = 48 << 10;
/// Variables of this process that its programs have as well; all others are the declaration's, or the request's.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
];
/// Variables of this process in a container that are not its programs'.
const OWN: &[&str] = &["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"];
/// Where programs are found that are no files of the function.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Gateway {
    pub id: FunctionId,
    pub function: Function,
    pub dir: Utf8PathBuf,
    pub children: Arc<Children>,
    behind: Behind,
    /// Of a request.
    limit: Duration,
    /// One for each request that may have a process.
    turns: Arc<Semaphore>,
    /// Requests that have a turn or wait for one.
    present: Arc<AtomicU32>,
    answered: AtomicU64,
}

/// Who runs a function's programs.
pub enum Runner {
    /// This process: the function's command.
    Own,
    /// The same, in a container: what its image runs.
    Inside(Vec<String>),
    /// systemd: a unit for each connection to this socket.
    Units(PathBuf),
}

/// Who answers.
enum Behind {
    Cgi(Program),
    Workers(Arc<Workers>),
}

/// A request's place among those that are served; it is free again when this is dropped.
pub struct Turn {
    pub deadline: Instant,
    what: String,
    _permit: OwnedSemaphorePermit,
    _presence: Presence,
}

impl Turn {
    /// Says something of the request in the journal.
    pub fn tell(&self, why: &str) {
        eprintln!("{}: {why}", self.what);
    }
}

struct Presence(Arc<AtomicU32>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Gateway {
    /// Needs a runtime.
    ///
    /// # Errors
    /// Where its program is not found.
    pub fn new(compiled: Compiled, children: Arc<Children>, runner: Runner) -> Result<Arc<Self>, String> {
        let mut limit = compiled.function.timeout;
        let programs = |program: Program| match compiled.function.interface {
            Interface::Cgi => Ok(Behind::Cgi(program)),
            Interface::Http => Workers::new(&compiled.function, program, children.clone()).map(Behind::Workers),
        };
        let behind = match runner {
            Runner::Units(socket) => {
                if compiled.function.interface == Interface::Cgi {
                    limit += MARGIN; // what becomes of a slow program its own unit says
                }
                Behind::Workers(Workers::units(&compiled.function, socket, children.clone()))
            }
            Runner::Own => programs(program(&compiled)?)?,
            Runner::Inside(words) => programs(program_inside(&compiled, &words)?)?,
        };
        let Compiled { id, function, dir } = compiled;
        Ok(Arc::new(Self {
            turns: Arc::new(Semaphore::new(function.max_concurrency as usize)),
            present: Arc::default(),
            answered: AtomicU64::new(0),
            id,
            function,
            dir,
            children,
            behind,
            limit,
        }))
    }

    /// Requests that are there now.
    pub fn present(&self) -> u32 {
        self.present.load(Ordering::Acquire)
    }

    /// Requests that were there so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether a path leads to this function, too.
    pub fn is_mounted_at(&self, head: &Parts, uri: &Uri) -> bool {
        let place = |uri: &Uri| Place::of(&self.function, &self.id, meta::host(head), uri.path());
        let mount = |place: Place| place.script_name;
        let strip = Function { path_info_strip: 0, ..self.function.clone() };
        let bare = |uri: &Uri| Place::of(&strip, &self.id, meta::host(head), uri.path()).map(mount);
        place(uri).is_some() && (bare(uri) == bare(&head.uri) || bare(uri).is_some_and(|it| !it.is_empty()))
    }

    /// Answers a request, whatever happens.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let what = format!("{} {}", head.method, head.uri.path());
        match self.try_handle(head, body, &what).await {
            Ok(response) => Ok(response),
            Err(Fault { status, why }) => {
                eprintln!("{what}: {}: {why}", status.as_u16());
                Ok(answer(status))
            }
        }
    }

    async fn try_handle(self: &Arc<Self>, head: Parts, body: Incoming, what: &str) -> Result<Response<Body>, Fault> {
        if head.uri.path_and_query().is_some_and(|uri| uri.as_str().len() > MAX_URI) {
            return Err(Fault::new(StatusCode::URI_TOO_LONG, "the path is longer than 8 KiB".to_owned()));
        }
        let sizes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        if sizes.sum::<usize>() > MAX_HEADER {
            let why = "the header is larger than 48 KiB".to_owned();
            return Err(Fault::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why));
        }
        if !head.uri.path().starts_with('/') {
            return Err(Fault::client("neither a path nor a URL".to_owned())); // CONNECT, OPTIONS *
        }
        let presence = self.enter()?;
        let program = match &self.behind {
            Behind::Cgi(program) => program,
            Behind::Workers(workers) => {
                let turn = self.turn(presence, what).await?;
                let deadline = turn.deadline;
                let answered = timeout_at(deadline, workers.respond(head, body, turn)).await;
                return answered.map_err(|_| Fault::slow(&self.limit))?;
            }
        };
        let slow = |_| Fault::new(StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time".to_owned());
        let input = timeout(self.limit, Input::of(body)).await.map_err(slow)??;
        let turn = self.turn(presence, what).await?;
        cgi::respond(self, program, head, input, turn).await
    }

    fn enter(&self) -> Result<Presence, Fault> {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let presence = Presence(self.present.clone());
        let before = self.present.fetch_add(1, Ordering::AcqRel);
        if before >= self.function.max_concurrency.saturating_add(self.function.max_queue) {
            return Err(Fault::busy("as many requests as may wait are waiting"));
        }
        Ok(presence)
    }

    /// Waits for a turn; the request's time begins with it.
    async fn turn(&self, presence: Presence, what: &str) -> Result<Turn, Fault> {
        let limit = self.limit;
        let permit = timeout(limit, self.turns.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| Fault::busy("no turn came within the time of a request"))?;
        let permit = permit.expect("nobody closes it");
        Ok(Turn { deadline: Instant::now() + limit, what: what.to_owned(), _permit: permit, _presence: presence })
    }

    /// What is due now and then: workers that are too many are ended.
    pub fn tend(&self) {
        if let Behind::Workers(workers) = &self.behind {
            workers.tend();
        }
    }
}

/// What a function runs, with what does not depend on the request.
fn program(compiled: &Compiled) -> Result<Program, String> {
    let Compiled { function, dir, .. } = compiled;
    let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let mut environment: BTreeMap<_, _> = inherited.collect();
    environment.entry("PATH".into()).or_insert_with(|| SEARCH_PATH.into());
    environment.extend(function.process.environment.iter().map(|(name, value)| (name.into(), value.into())));
    let Engine::Exec { command: Command(words) } = &function.process.engine else {
        return Err("it runs in its container alone".to_owned());
    };
    let (word, arguments) = words.split_first().ok_or("the command is empty")?;
    let word = program_path(dir, word);
    let path = located(word.as_str(), SEARCH_PATH.as_ref());
    let path = path.ok_or_else(|| format!("there is no program {word} in {SEARCH_PATH}"))?;
    Ok(complete(compiled, path, arguments, environment, dir.into()))
}

/// What it runs in its container, whose environment and directory are the image's.
fn program_inside(compiled: &Compiled, words: &[String]) -> Result<Program, String> {
    let (word, arguments) = words.split_first().ok_or("the command is empty")?;
    let search_path = std::env::var_os("PATH").unwrap_or_else(|| SEARCH_PATH.into());
    let path = located(word, &search_path);
    let path = path.ok_or_else(|| format!("there is no program {word} in {}", search_path.display()))?;
    let environment = std::env::vars_os().filter(|(name, _)| !OWN.iter().any(|own| name == own)).collect();
    let dir = std::env::current_dir().map_err(|error| format!("the working directory: {error}"))?;
    Ok(complete(compiled, path, arguments, environment, dir))
}

fn complete(
    compiled: &Compiled,
    path: PathBuf,
    arguments: &[String],
    mut environment: BTreeMap<OsString, OsString>,
    dir: PathBuf,
) -> Program {
    environment.insert("CONDUCTOR_FUNCTION".into(), compiled.id.as_str().into());
    // Not part of RFC 3875, but asked for by php-cgi(1) and others.
    environment.insert("SCRIPT_FILENAME".into(), path.clone().into());
    Program { path, arguments: arguments.iter().map(Into::into).collect(), dir, environment }
}

/// A program's path; one without a slash is looked for.
fn located(program: &str, search_path: &OsStr) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(program.into());
    }
    std::env::split_paths(search_path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
