//! Keep-alive HTTP/1.1 clients that check every answer and count every request. No pool and no retries: a
//! request that was written and not answered in full has failed, whatever the reason.
//!
//! Usage: `load JSON` (`conductor_machine::load::Load`). Prints `running` once every client has had its first
//! answer, and the report as one JSON line at the end: when the input is closed, on SIGTERM, or at its bounds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use conductor_machine::load::{End, Load, Seen};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

type Sender = SendRequest<Full<Bytes>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let argument = std::env::args().nth(1).expect("usage: load JSON");
    let load: Load = serde_json::from_str(&argument).expect("the load's JSON");
    let run = Arc::new(Run::new(load));
    let clients: Vec<_> = (0..run.load.clients).map(|number| tokio::spawn(client(run.clone(), number))).collect();

    let all = async {
        for client in clients {
            client.await.expect("a client panicked");
        }
        End::Requests
    };
    tokio::pin!(all);
    let end = tokio::select! {
        end = &mut all => end,
        () = run.told_to_stop() => End::Stopped,
        () = sleep(Duration::from_secs(run.load.seconds)) => End::Seconds,
    };
    run.stopping.store(true, Ordering::Relaxed);
    if end != End::Requests {
        all.await; // every client ends with the answer to its last request
    }
    println!("{}", serde_json::to_string(&run.report(end)).expect("a report"));
}

async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler");
    let mut buffer = [0; 64];
    let input_closed = async {
        let mut input = tokio::io::stdin();
        while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        _ = terminate.recv() => (),
        () = input_closed => (),
    }
}

/// What the clients share.
struct Run {
    load: Load,
    begun: Instant,
    started: AtomicU64,
    stopping: AtomicBool,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    seen: Seen,
    latencies: Vec<u32>,
    running: usize,
}

/// What became of a request: the version that answered, or what went wrong.
type Outcome = Result<String, Failure>;

struct Failure {
    kind: String,
    detail: String,
}

fn failure(kind: impl Into<String>, detail: impl std::fmt::Debug) -> Failure {
    Failure { kind: kind.into(), detail: format!("{detail:?}") }
}

impl Run {
    fn new(load: Load) -> Self {
        Self {
            load,
            begun: Instant::now(),
            started: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            tally: Mutex::default(),
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no client panics while it counts")
    }

    async fn told_to_stop(&self) {
        told_to_stop().await;
        while self.tally().seen.requests() < self.load.at_least {
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn goes_on(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed) && self.started.fetch_add(1, Ordering::Relaxed) < self.load.requests
    }

    fn count(&self, what: &Message, asked: Instant, outcome: Outcome) {
        let now_ms = self.begun.elapsed().as_millis() as u64;
        let mut tally = self.tally();
        match outcome {
            Ok(version) => {
                tally.latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                tally.seen.ok += 1;
                let version = tally.seen.versions.entry(version).or_default();
                if version.answers == 0 {
                    version.first_ms = now_ms;
                }
                version.answers += 1;
                version.last_ms = now_ms;
            }
            Err(Failure { kind, detail }) => {
                tally.seen.failed += 1;
                tally.seen.last_failure_ms = now_ms;
                if tally.seen.failures.len() < 5 {
                    let (method, id) = (&what.method, &what.id);
                    tally.seen.failures.push(format!("{kind} at {now_ms} ms, {method} {id}: {detail}"));
                }
                *tally.seen.kinds.entry(kind).or_default() += 1;
            }
        }
    }

    fn is_running(&self) {
        let mut tally = self.tally();
        tally.running += 1;
        if tally.running == self.load.clients {
            println!("running");
        }
    }

    fn report(&self, end: End) -> Seen {
        let mut tally = self.tally();
        tally.latencies.sort_unstable();
        let at = |part: f64| {
            let index = (tally.latencies.len() as f64 * part) as usize;
            tally.latencies.get(index).or(tally.latencies.last()).copied().unwrap_or(0)
        };
        let (p50_us, p99_us, max_us) = (at(0.5), at(0.99), at(1.0));
        Seen { p50_us, p99_us, max_us, end, seconds: self.begun.elapsed().as_secs_f64(), ..tally.seen.clone() }
    }
}

async fn client(run: Arc<Run>, number: usize) {
    let mut connection = None;
    let mut sent = 0u64;
    while run.goes_on() {
        let message = Message::new(&run.load, number, sent);
        let asked = Instant::now();
        let limit = Duration::from_millis(run.load.timeout_ms);
        let outcome = match timeout(limit, message.exchange(&run, &mut connection)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(failure("timeout", limit)),
        };
        if outcome.is_err() {
            connection = None;
            sleep(Duration::from_millis(5)).await; // a server that is gone must not be asked in a tight loop
        }
        run.count(&message, asked, outcome);
        sent += 1;
        if sent == 1 {
            run.is_running();
        }
        if run.load.pause_ms > 0 {
            sleep(Duration::from_millis(run.load.pause_ms)).await;
        }
    }
}

struct Message {
    method: Method,
    id: String,
    body: Bytes,
}

impl Message {
    fn new(load: &Load, client: usize, number: u64) -> Self {
        let id = format!("request-{client}-{number}");
        if !load.post || number.is_multiple_of(2) {
            return Self { method: Method::GET, id, body: Bytes::new() };
        }
        let mut body = format!("{id};");
        while body.len() < load.body_bytes {
            body.push_str("0123456789abcdef");
        }
        Self { method: Method::POST, id, body: body.into() }
    }

    async fn exchange(&self, run: &Run, connection: &mut Option<Sender>) -> Outcome {
        if let Some(mut sender) = connection.take() {
            match self.send(&run.load, &mut sender).await {
                Some(answer) => return self.finish(run, answer, sender, connection).await,
                // Closed before anything of the request was written: an idle connection may be.
                None => run.tally().seen.reconnects += 1,
            }
        }
        let mut sender = connect(&run.load.connect).await.map_err(|error| failure("connect", error))?;
        match self.send(&run.load, &mut sender).await {
            Some(answer) => self.finish(run, answer, sender, connection).await,
            None => Err(failure("closed", "a new connection, before the request")),
        }
    }

    /// None when the connection was closed before anything was written.
    async fn send(&self, load: &Load, sender: &mut Sender) -> Option<hyper::Result<Response<Incoming>>> {
        let request = Request::builder()
            .method(&self.method)
            .uri(&load.path)
            .header("host", &load.host)
            .header("x-request-id", &self.id)
            .body(Full::new(self.body.clone()))
            .expect("a valid request");
        sender.ready().await.ok()?;
        match sender.try_send_request(request).await {
            Ok(answer) => Some(Ok(answer)),
            Err(unsent) if unsent.message().is_some() => None,
            Err(mut lost) => {
                let _ = lost.take_message();
                Some(Err(lost.into_error()))
            }
        }
    }

    async fn finish(
        &self,
        run: &Run,
        answer: hyper::Result<Response<Incoming>>,
        sender: Sender,
        connection: &mut Option<Sender>,
    ) -> Outcome {
        let (head, body) = answer.map_err(|error| failure("closed", error))?.into_parts();
        let body = body.collect().await.map_err(|error| failure("body", (&head, error)))?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        let echoed = head.headers.get("x-request-id").is_none_or(|id| id == self.id.as_str());
        let whole = match self.method {
            Method::POST => text.contains(std::str::from_utf8(&self.body).expect("own text")),
            _ => !text.is_empty(),
        };
        let wrong = || (&head.status, &head.headers, text.chars().take(300).collect::<String>());
        if head.status != StatusCode::OK {
            return Err(failure(format!("status {}", head.status.as_u16()), wrong()));
        }
        if !echoed || !whole {
            return Err(failure("body", wrong()));
        }
        *connection = (!run.load.close).then_some(sender);
        let tag = head.headers.get("x-version").and_then(|value| value.to_str().ok());
        let word = text.split_whitespace().next().unwrap_or_default();
        Ok(tag.unwrap_or(if self.method == Method::GET { word } else { "-" }).chars().take(40).collect())
    }
}

async fn connect(target: &str) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
    if target.starts_with('/') {
        return handshake(UnixStream::connect(target).await?).await;
    }
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    handshake(stream).await
}

async fn handshake<S>(stream: S) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
