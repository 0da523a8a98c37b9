//! The orders to the load (one JSON argument) and its report (one JSON line): see `bin/load.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

/// A bounded load of keep-alive HTTP/1.1 clients, each with one request at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    pub clients: usize,
    /// `ADDRESS:PORT`, or the path of a unix socket, as the machine sees it.
    pub connect: String,
    pub host: String,
    pub path: String,
    /// Every other request is a POST whose answer must contain its body.
    pub post: bool,
    pub body_bytes: usize,
    /// Each request has a connection of its own.
    pub close: bool,
    /// Milliseconds a client rests after each answer.
    pub pause_ms: u64,
    /// Milliseconds until a request without its complete answer has failed.
    pub timeout_ms: u64,
    /// The least number of requests, which the load makes even after it was stopped.
    pub at_least: u64,
    /// The load ends by itself after this many requests …
    pub requests: u64,
    /// … or seconds.
    pub seconds: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            clients: 16,
            connect: "127.0.0.1:80".into(),
            host: "localhost".into(),
            path: "/".into(),
            post: true,
            body_bytes: 512,
            close: false,
            pause_ms: 0,
            timeout_ms: 30_000,
            at_least: 0,
            requests: 5_000_000,
            seconds: 300,
        }
    }
}

/// Why a load ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    #[default]
    Stopped,
    Requests,
    Seconds,
}

/// Every request that was written is in `ok` or in `failed`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub ok: u64,
    pub failed: u64,
    /// `failed` by kind: connect, closed, timeout, body, or `status` with its number.
    pub kinds: BTreeMap<String, u64>,
    /// The first failures, in full.
    pub failures: Vec<String>,
    /// Milliseconds from the load's begin to the last failure.
    pub last_failure_ms: u64,
    /// Connections the server closed between two requests, which is its right.
    pub reconnects: u64,
    pub p50_us: u32,
    pub p99_us: u32,
    pub max_us: u32,
    pub seconds: f64,
    /// By `X-Version` of the answer, else the first word of its body.
    pub versions: BTreeMap<String, Version>,
    pub end: End,
}

/// Answers of one version of the application, in milliseconds since the load began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Version {
    pub answers: u64,
    pub first_ms: u64,
    pub last_ms: u64,
}

impl Seen {
    pub fn requests(&self) -> u64 {
        self.ok + self.failed
    }

    pub fn per_second(&self) -> u64 {
        (self.requests() as f64 / self.seconds.max(0.001)) as u64
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u32| f64::from(us) / 1000.0;
        write!(
            f,
            "{} requests, {} failed, {}/s, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            thousands(self.requests()),
            thousands(self.failed),
            thousands(self.per_second()),
            ms(self.p50_us),
            ms(self.p99_us),
            ms(self.max_us)
        )?;
        if self.failed > 0 {
            write!(f, "\n  failed by kind: {:?}", self.kinds)?;
        }
        self.failures.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

/// `214459` as `214,459`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A load that runs on a machine.
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Starts the program of `bin/load.rs`, and returns once every client has had an answer.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the load");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut running = Self { child, lines };
        assert_eq!(running.line(), "running", "the load does not start");
        running
    }

    /// Lets every client have its last answer, and returns what they saw. Panics when the load had already
    /// ended at its own bounds: then it was not there all the time.
    #[track_caller]
    pub fn stop(mut self) -> Seen {
        drop(self.child.stdin.take());
        let seen = self.report();
        assert_eq!(seen.end, End::Stopped, "the load ended too early: {seen}");
        seen
    }

    /// Waits until the load ends at its own bounds.
    pub fn wait(mut self) -> Seen {
        self.report()
    }

    fn report(&mut self) -> Seen {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the load reports {line:?}: {error}"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("the load's output");
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
