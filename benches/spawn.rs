//! Compares how the gateway starts programs, src/gateway/spawn.rs, with the standard library: `cargo bench --bench spawn`.
//!
//! A server on one thread answers each HTTP request with the output of a process, as the gateway does for a CGI program. Only
//! the call that starts the process differs: clone(2) of the gateway; `std::process::Command` on tokio's pool of blocking
//! threads; the same on the server's own thread. Servers take turns in each round, and figures are medians of rounds. The
//! clients are a process of their own. The gateway's code is worth its unsafe blocks while it gains a tenth.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

#[allow(
    dead_code,
    unused_imports,
    reason = "the gateway starts workers with what is not used here, and tests are left out"
)]
#[path = "../src/gateway/spawn.rs"]
mod spawn;

use std::collections::HashMap;
use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, wait, waitid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use self::spawn::{ChildMemory, Image, StringBlock, spawn};

const ROUNDS: usize = 9;
const SECONDS: &str = "1";
const CONNECTIONS: [usize; 2] = [1, 16];
/// What a CGI program is given, by number: RFC 3875 defines 17, a browser sends some header fields more.
const VARIABLES: usize = 30;
const PROGRAM: &str = r#"
#include <unistd.h>
int main(void) { return write(1, "hello\n", 6) != 6; }
"#;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = || Builder::new_current_thread().enable_all().build();
    match &words[1..] {
        ["server", way, dir] => runtime()?.block_on(serve(Way::named(way), Path::new(dir))),
        ["client", connections, seconds, socket] => {
            let (connections, seconds) = (connections.parse()?, Duration::from_secs(seconds.parse()?));
            let times = runtime()?.block_on(request(connections, seconds, socket))?;
            let percentile = |part: usize| times[(times.len() - 1) * part / 100].as_micros();
            println!("{} {} {}", times.len() as f64 / seconds.as_secs_f64(), percentile(50), percentile(99));
            Ok(())
        }
        _ => compare(),
    }
}

/// How a process is started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Clone,
    Pool,
    OwnThread,
}

impl Way {
    const ALL: [(Self, &str); 3] =
        [(Self::Clone, "clone"), (Self::Pool, "std-pool"), (Self::OwnThread, "std-own-thread")];

    fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|(_, it)| *it == name).map_or(Self::Clone, |(way, _)| way)
    }
}

/// Requests per second, and the median and 99th percentile of a request's time in microseconds.
type Figures = [f64; 3];

fn compare() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("hello.c"), PROGRAM)?;
    let mut compiler = Command::new("gcc");
    compiler.current_dir(&dir).args(["-O2", "-static", "-o", "hello", "hello.c"]);
    if !compiler.status().map_err(|error| format!("gcc: {error}"))?.success() {
        return Err("gcc failed".into());
    }
    println!("{:2} {:16} {:>12} {:>9} {:>9}", "", "", "requests/s", "p50 us", "p99 us");
    for connections in CONNECTIONS {
        let mut seen: [Vec<Figures>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (seen, (_, name)) in seen.iter_mut().zip(Way::ALL) {
                seen.push(measure(dir.path(), name, connections)?);
            }
        }
        let [clone, pool, own] = seen.map(|all| [0, 1, 2].map(|figure| median(all.iter().map(|it| it[figure]))));
        for ([rate, p50, p99], (_, name)) in [clone, pool, own].into_iter().zip(Way::ALL) {
            println!("{connections:2} {name:16} {rate:>12.0} {p50:>9.0} {p99:>9.0}");
        }
        let (rate, p99) = (clone[0] / pool[0], clone[2] / pool[2]);
        let verdict = if rate >= 1.1 || p99 <= 0.9 { "holds" } else { "MISSED" };
        println!("{connections:2} clone of std-pool: {rate:.2} requests/s, {p99:.2} p99 (1.1 or 0.9: {verdict})");
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(dir: &Path, way: &str, connections: usize) -> Outcome<Figures> {
    let own = env::current_exe()?;
    let mut server = Command::new(&own).args(["server", way]).arg(dir).stdout(Stdio::piped()).spawn()?;
    let output = server.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut String::new())?; // it listens
    let mut client = Command::new(&own);
    let client = client.args(["client", &connections.to_string(), SECONDS]).arg(dir.join("socket")).output();
    server.kill()?;
    server.wait()?;
    let client = client?;
    let text = String::from_utf8(client.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    figures.try_into().map_err(|_| format!("the client failed: {}", String::from_utf8_lossy(&client.stderr)).into())
}

/// Returns the times of all requests, sorted.
async fn request(connections: usize, limit: Duration, socket: &str) -> Outcome<Vec<Duration>> {
    let end = Instant::now() + limit;
    let clients: Vec<_> = (0..connections).map(|_| tokio::spawn(one_client(socket.to_owned(), end))).collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await??);
    }
    times.sort_unstable();
    Ok(times)
}

async fn one_client(socket: String, end: Instant) -> Outcome<Vec<Duration>> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let mut times = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        sender.ready().await?;
        let response = sender.send_request(Request::get("/").header("host", "x").body(Empty::<Bytes>::new())?).await?;
        let body = response.into_body().collect().await?.to_bytes();
        if body != "hello\n" {
            return Err(format!("the answer is {body:?}").into());
        }
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// A server's processes.
struct Processes {
    way: Way,
    program: String,
    null: OwnedFd,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    running: HashMap<Pid, (oneshot::Sender<()>, Option<ChildMemory>)>,
    /// Calls on the pool that have not returned, and children that ended meanwhile: they may be theirs.
    starting: usize,
    ended: Vec<Pid>,
    count: u64,
}

async fn serve(way: Way, dir: &Path) -> Outcome<()> {
    let socket = dir.join("socket");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(socket)?;
    println!("listening");
    let (program, null) = (dir.join("hello").display().to_string(), File::open("/dev/null")?.into());
    let processes = Arc::new(Processes { way, program, null, registry: Mutex::default() });
    let reaper = processes.clone();
    let mut signals = signal(SignalKind::child())?;
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            reaper.reap();
        }
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let processes = processes.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let processes = processes.clone();
            async move {
                let output = processes.run().await.unwrap_or_else(|error| error.to_string().into());
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(output))))
            }
        });
        tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

impl Processes {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().expect("no holder panics")
    }

    /// Runs the program to its end, and returns what it writes.
    async fn run(self: &Arc<Self>) -> io::Result<Vec<u8>> {
        let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, ended) = oneshot::channel();
        let pid = match self.way {
            Way::Clone => {
                let mut registry = self.registry();
                let (pid, memory) = spawn(self.image(registry.next())?, &self.null, &stdout, None, None)?;
                drop(stdout);
                registry.running.insert(pid, (sender, Some(memory)));
                pid
            }
            Way::OwnThread => {
                let mut registry = self.registry();
                let pid = self.command(registry.next(), stdout)?;
                registry.running.insert(pid, (sender, None));
                pid
            }
            Way::Pool => self.run_on_pool(stdout, sender).await?,
        };
        let (mut output, mut written) = (Receiver::from_owned_fd(output)?, Vec::with_capacity(4096));
        output.read_to_end(&mut written).await?;
        // A program that has closed its output ends at once; the signal and its handler would take longer.
        std::thread::yield_now();
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_))) {
            let _ = ended.await;
        }
        Ok(written)
    }

    async fn run_on_pool(self: &Arc<Self>, stdout: OwnedFd, sender: oneshot::Sender<()>) -> io::Result<Pid> {
        let number = {
            let mut registry = self.registry();
            registry.starting += 1;
            registry.next()
        };
        let this = self.clone();
        let started = spawn_blocking(move || this.command(number, stdout)).await.map_err(io::Error::other)?;
        let mut registry = self.registry();
        registry.starting -= 1;
        if let Ok(pid) = started
            && !registry.ended.contains(&pid)
        {
            registry.running.insert(pid, (sender, None));
        }
        if registry.starting == 0 {
            registry.ended.clear();
        }
        started
    }

    fn image(&self, number: u64) -> io::Result<Image> {
        let (mut arguments, mut variables) = (StringBlock::default(), StringBlock::default());
        arguments.push(&[self.program.as_bytes()])?;
        for (name, value) in environment(number) {
            variables.push_variable(name.as_bytes(), value.as_bytes())?;
        }
        Image::new(self.program.as_ref(), "/usr".as_ref(), arguments, variables, 0)
    }

    fn command(&self, number: u64, stdout: OwnedFd) -> io::Result<Pid> {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(environment(number)).current_dir("/usr").process_group(0);
        command.stdin(self.null.try_clone()?).stdout(stdout);
        let child = command.spawn()?;
        Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn reap(&self) {
        let mut registry = self.registry();
        while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
            match registry.running.remove(&pid) {
                Some((sender, memory)) => {
                    let _ = sender.send(());
                    memory.into_iter().for_each(ChildMemory::free);
                }
                None if registry.starting > 0 => registry.ended.push(pid),
                None => {}
            }
        }
    }
}

impl Registry {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

fn environment(number: u64) -> impl Iterator<Item = (String, String)> {
    (0..VARIABLES).map(move |it| (format!("VARIABLE_{it}"), format!("{number}, a value of some length")))
}
