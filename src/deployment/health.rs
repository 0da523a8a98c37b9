//! The health check of a deployment, repeated until it passes: before that, the deployment takes no traffic.
//!
//! The check connects to the deployment's own socket, not to its bridge. Connecting to a socket that systemd holds
//! always succeeds at once, so that only an answer, or an accepted connection, proves that the process serves. The wait
//! ends at once if the process exits.

mod answer;
mod exec;
mod exit;
mod http;
mod stream;
mod tcp;

use std::time::{Duration, Instant};
use std::{error, fmt, io};

use tokio::time::{sleep, timeout};

use crate::deployment::endpoint::Endpoint;
use crate::deployment::health::answer::{Answer, reason};
pub(crate) use crate::deployment::health::exit::exit_of;
pub(crate) use crate::deployment::health::exit::unless;
pub use crate::deployment::health::http::HEALTHY;
use crate::deployment::health::http::Wanted;
use crate::engine::podman::host;
use crate::model::Check;
use crate::model::Health;
use crate::timespan;

/// The pause after the first attempt, which doubles up to the check's interval.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Messages call an exit within this time "at once".
const AT_ONCE: Duration = Duration::from_millis(5);

/// A health check that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The number of attempts, including the one that passed.
    pub(crate) attempts: u32,
    /// The time since the wait began.
    pub(crate) elapsed: Duration,
    /// The answer that passed, for example "200 OK: ready".
    pub(crate) answer: String,
}

/// A health check that did not pass; its text is one sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The name of the check, for example "GET /healthz" or "./check --fast".
    pub(crate) check: String,
    /// The number of attempts, including one that the deadline ended.
    pub(crate) attempts: u32,
    /// The time since the wait began.
    pub(crate) elapsed: Duration,
    /// The last answer, for example "503 Service Unavailable: starting", "connection refused", "exited
    /// with status 2: no such table" or "no answer within 30s".
    pub(crate) last: String,
    /// The event that ended the wait.
    pub(crate) cause: Cause,
}

/// The event that ended the wait for a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The deadline passed.
    TimedOut,
    /// `health.retries` attempts failed.
    OutOfRetries,
    /// The deployment's main process exited.
    ProcessExited,
    /// Another process than the deployment's own listens at its endpoint.
    Taken,
    /// The kernel refused a resource that the check needs, such as a descriptor: the deployment's health is unknown.
    NotCarriedOut,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { check, attempts, last, .. } = self;
        let elapsed = rounded(self.elapsed);
        let after = if self.elapsed < AT_ONCE { "at once".to_owned() } else { format!("after {elapsed:?}") };
        let attempts = format!("{attempts} attempt{}", if *attempts == 1 { "" } else { "s" });
        match self.cause {
            Cause::TimedOut => write!(f, "health check ({check}) did not pass within {elapsed:?} ({attempts}): {last}"),
            Cause::OutOfRetries => write!(f, "health check ({check}) failed {attempts} within {elapsed:?}: {last}"),
            Cause::ProcessExited if self.attempts == 0 => {
                write!(f, "the main process exited {after}, before its health check ({check}) passed")
            }
            Cause::ProcessExited => write!(
                f,
                "the main process exited {after}, before its health check ({check}) passed ({attempts}): {last}"
            ),
            Cause::Taken => f.write_str(last),
            Cause::NotCarriedOut => write!(f, "health check ({check}) could not be carried out: {last}"),
        }
    }
}

impl error::Error for Failed {}

/// Waits until the health check passes at a deployment's `endpoint`.
///
/// The pauses between attempts grow from 2 ms to the check's interval; with `health.retries` each is as long as the
/// interval. The check's timeout and `deadline` limit each attempt. Commands run in the caller's directory,
/// environment, namespaces and credentials, each in a process group of its own that is killed with the attempt.
///
/// The exit of `main_pid` ends the wait, pidfd_open(2); a number without a process counts as an exit. Without
/// `main_pid`, or if another process has its number by now, only `deadline` ends the wait.
///
/// `holder` returns who else listens at the endpoint, which is asked before each attempt and ends the wait.
///
/// # Errors
/// [`Failed`] with its [`Cause`].
pub(crate) fn wait(
    health: &Health,
    endpoint: impl Into<Endpoint>,
    main_pid: Option<u32>,
    deadline: Instant,
    holder: &dyn Fn() -> Option<String>,
) -> Result<Passed, Failed> {
    let (endpoint, started) = (endpoint.into(), Instant::now());
    let mut gate = Gate { health, endpoint: &endpoint, holder, started, deadline, attempts: 0, last: None };
    match gate.run(main_pid) {
        Ok(Ok(answer)) => Ok(Passed { attempts: gate.attempts, elapsed: gate.started.elapsed(), answer }),
        Ok(Err(cause)) => Err(gate.failed(cause)),
        Err(error) => {
            gate.last = Some(error.to_string());
            Err(gate.failed(Cause::NotCarriedOut))
        }
    }
}

struct Gate<'a> {
    health: &'a Health,
    endpoint: &'a Endpoint,
    holder: &'a dyn Fn() -> Option<String>,
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
        let Health { interval, retries, .. } = *self.health;
        let mut pause = if retries.is_some() { interval } else { FIRST_PAUSE };
        while !self.remaining().is_zero() {
            if let Some(holder) = (self.holder)() {
                self.last = Some(holder);
                return Err(Cause::Taken);
            }
            match self.attempt().await {
                Ok(answer) => return Ok(answer),
                Err(answer) => self.last = Some(answer),
            }
            if retries.is_some_and(|most| self.attempts >= most) {
                return Err(Cause::OutOfRetries);
            }
            sleep(pause.min(self.remaining())).await;
            pause = (pause * 2).min(interval.max(FIRST_PAUSE));
        }
        Err(Cause::TimedOut)
    }

    async fn attempt(&mut self) -> Answer {
        let limit = match self.health.check {
            // Nothing is asked: the wait ends with the process.
            Check::Start { .. } => self.remaining(),
            _ => {
                self.attempts += 1;
                self.health.timeout.min(self.remaining())
            }
        };
        match timeout(limit, ask(&self.health.check, self.endpoint)).await {
            Ok(answer) => answer,
            // The deadline ended this attempt, so that the previous answer says more.
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

/// Returns the name of a check in messages.
pub(crate) fn named(check: &Check) -> String {
    match check {
        Check::Http { path, .. } => format!("GET {path}"),
        Check::Tcp => "connection accepted".into(),
        Check::Exec { command } | Check::Inside { command, .. } => command.to_string(),
        Check::Probes => "the probes of the pod's file".into(),
        Check::Notify => "READY=1 by sd_notify".into(),
        Check::Start { time } => format!("runs for {}", timespan::format(*time)),
    }
}

/// Makes one attempt.
pub(crate) async fn ask(check: &Check, endpoint: &Endpoint) -> Answer {
    match check {
        Check::Http { path, status, headers, body, announced } => {
            let (body, announces) = (body.as_deref(), *announced);
            http::get(endpoint, Wanted { path, status, headers, body, announces }).await
        }
        // Without a probe; the caller asks each of the others by itself.
        Check::Tcp | Check::Probes => tcp::be_accepted(endpoint).await.map_err(|error| reason(&error)),
        Check::Exec { command } => exec::execute(&command.0).await,
        Check::Inside { container, command } => exec::execute(&host::in_container(container, &command.0)).await,
        // systemd runs ExecStartPost= only after the process has sent READY=1, systemd.service(5).
        Check::Notify => Ok("READY=1".into()),
        Check::Start { time } => {
            sleep(*time).await;
            Ok(format!("it has run for {}", timespan::format(*time)))
        }
    }
}

/// Rounds a duration for messages: to milliseconds below a second, to tenths of a second above.
fn rounded(duration: Duration) -> Duration {
    let millis = duration.as_millis() as u64;
    Duration::from_millis(if millis < 1_000 { millis.max(1) } else { (millis + 50) / 100 * 100 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::sockets::becomes;
    use crate::model;
    use camino::{Utf8Path, Utf8PathBuf};
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    pub(crate) struct Place {
        pub(crate) directory: tempfile::TempDir,
        pub(crate) socket: Utf8PathBuf,
    }

    /// Waits at an endpoint that nobody else can take.
    pub(crate) fn wait(
        health: &Health,
        endpoint: impl Into<Endpoint>,
        main_pid: Option<u32>,
        deadline: Instant,
    ) -> Result<Passed, Failed> {
        super::wait(health, endpoint, main_pid, deadline, &|| None)
    }

    pub(crate) fn place() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let socket = Utf8PathBuf::from_path_buf(directory.path().join("socket")).unwrap();
        Place { directory, socket }
    }

    pub(crate) fn health(check: Check) -> Health {
        Health {
            check,
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(5),
            retries: None,
            listener: None,
            live: None,
        }
    }

    pub(crate) fn http(path: &str, status: &[u16]) -> Health {
        health(Check::Http {
            path: path.into(),
            status: status.into(),
            headers: BTreeMap::new(),
            body: None,
            announced: false,
        })
    }

    pub(crate) fn command(words: &[&str]) -> Health {
        health(Check::Exec { command: model::Command(words.iter().map(|word| word.to_string()).collect()) })
    }

    pub(crate) fn exec(script: &str) -> Health {
        command(&["sh", "-c", script])
    }

    pub(crate) fn soon(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    /// Serves `answers` to one connection after the other, the last one repeatedly, while `what` runs; returns its
    /// result and the first request.
    pub(crate) fn serving<T>(socket: &Utf8Path, answers: &[&str], what: impl FnOnce() -> T) -> (T, String) {
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
            drop(UnixStream::connect(socket).unwrap());
            (outcome, server.join().unwrap())
        })
    }

    pub(crate) const READY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n";
    pub(crate) const STARTING: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\nno\n\x1b[1mdb\tup";

    #[test]
    fn a_server_that_becomes_ready_passes_then() {
        let place = place();
        let answers = [STARTING, "", STARTING, READY];
        let (passed, _) =
            serving(&place.socket, &answers, || wait(&http("/", &[]), &place.socket, None, soon(60_000)).unwrap());
        assert_eq!(passed.attempts, 4);
        assert!(passed.elapsed >= Duration::from_millis(2 + 4 + 8), "{:?}", passed.elapsed);
    }

    #[test]
    fn a_server_that_is_never_ready_fails_with_its_last_answer() {
        let place = place();
        let (failed, _) = serving(&place.socket, &[STARTING], || {
            wait(&http("/h", &[]), &place.socket, None, soon(1_000)).unwrap_err()
        });
        assert_eq!(failed.last, "503 Service Unavailable: no [1mdb up");
        assert_eq!(failed.cause, Cause::TimedOut);
        assert!((1_000..30_000).contains(&failed.elapsed.as_millis()), "{:?}", failed.elapsed);
        assert!((2..=25).contains(&failed.attempts), "after 2, 4, 8, 16 and 32 ms, then every 50 ms: {failed}");
        let text = failed.to_string();
        assert!(text.starts_with("health check (GET /h) did not pass within "), "{text}");
        assert!(text.ends_with(" attempts): 503 Service Unavailable: no [1mdb up"), "{text}");
    }

    #[test]
    fn nobody_is_asked_who_has_taken_the_endpoint() {
        let place = place();
        let holder = || Some("the user mallory listens there".to_owned());
        let asked = || super::wait(&http("/", &[]), &place.socket, None, soon(60_000), &holder).unwrap_err();
        let (failed, request) = serving(&place.socket, &[READY], asked);
        assert_eq!((failed.cause, failed.attempts), (Cause::Taken, 0));
        assert_eq!((failed.to_string().as_str(), request.as_str()), ("the user mallory listens there", ""));
    }

    #[test]
    fn counted_attempts_are_an_interval_apart_and_end_the_wait() {
        let place = place();
        let three = Health { retries: Some(3), ..http("/h", &[]) };
        let (failed, _) =
            serving(&place.socket, &[STARTING], || wait(&three, &place.socket, None, soon(60_000)).unwrap_err());
        assert_eq!((failed.cause, failed.attempts), (Cause::OutOfRetries, 3));
        assert!((100..30_000).contains(&failed.elapsed.as_millis()), "two pauses of 50 ms: {failed}");
        let text = failed.to_string();
        assert!(text.starts_with("health check (GET /h) failed 3 attempts within "), "{text}");
        assert!(text.ends_with(": 503 Service Unavailable: no [1mdb up"), "{text}");
        let other = place.socket.with_file_name("other");
        let (passed, _) =
            serving(&other, &[STARTING, STARTING, READY], || wait(&three, &other, None, soon(60_000)).unwrap());
        assert_eq!(passed.attempts, 3);
    }

    #[test]
    fn connections_that_are_not_possible_are_named() {
        let place = place();
        for check in [http("/", &[]), health(Check::Tcp)] {
            assert_eq!(wait(&check, &place.socket, None, soon(60)).unwrap_err().last, "no such socket");
        }
        drop(UnixListener::bind(&place.socket).unwrap());
        for check in [http("/", &[]), health(Check::Tcp)] {
            let refused = "connection refused".to_owned();
            becomes(refused, || wait(&check, &place.socket, None, soon(60)).unwrap_err().last);
        }
    }

    #[test]
    fn one_attempt_ends_at_its_timeout_and_at_the_deadline() {
        let place = place();
        let _silent = UnixListener::bind(&place.socket).unwrap();
        for check in [http("/", &[]), health(Check::Tcp), exec("sleep 60")] {
            let hasty = Health { timeout: Duration::from_millis(40), ..check.clone() };
            let failed = wait(&hasty, &place.socket, None, soon(1_000)).unwrap_err();
            assert_eq!(failed.last, "no answer within 40ms", "{failed}");
            assert!((2..=25).contains(&failed.attempts), "{failed}");

            let failed = wait(&check, &place.socket, None, soon(100)).unwrap_err();
            assert!((100..30_000).contains(&failed.elapsed.as_millis()), "{failed}");
            assert!(failed.last.starts_with("no answer within "), "{failed}");
            assert_eq!((failed.attempts, failed.cause), (1, Cause::TimedOut));
        }
        let late = wait(&http("/", &[]), &place.socket, None, Instant::now()).unwrap_err();
        assert_eq!((late.attempts, late.last.as_str()), (0, "no answer yet"));
    }

    #[test]
    fn a_main_process_that_exits_ends_the_wait_at_once() {
        let place = place();
        let _silent = UnixListener::bind(&place.socket).unwrap();
        for check in [http("/", &[]), health(Check::Tcp), exec("sleep 60")] {
            let mut main = Command::new("sleep").arg("0.1").spawn().unwrap();
            let failed = wait(&check, &place.socket, Some(main.id()), soon(60_000)).unwrap_err();
            assert!((50..30_000).contains(&failed.elapsed.as_millis()), "{failed}");
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
        let message = |elapsed| {
            let failed = Failed {
                check: "GET /".into(),
                attempts: 1,
                elapsed,
                last: "connection refused".into(),
                cause: Cause::ProcessExited,
            };
            failed.to_string()
        };
        for (micros, when) in [
            (0, "at once"),
            (4_999, "at once"),
            (5_000, "after 5ms"),
            (999_999, "after 999ms"),
            (1_267_890, "after 1.3s"),
            (29_999_000, "after 30s"),
        ] {
            let check = "before its health check (GET /) passed (1 attempt): connection refused";
            assert_eq!(message(Duration::from_micros(micros)), format!("the main process exited {when}, {check}"));
        }
    }
}
