//! The health check that runs a command.

use std::convert::Infallible;
use std::future::pending;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::deployment::health::answer::{Answer, excerpt, joined};
use crate::deployment::health::exit::{exit_of, unless};

/// The part of a command's standard error that is kept, in bytes from its end.
const STDERR_TAIL: usize = 4 * 1024;

/// Runs a command; the attempt passes if it exits with status 0.
pub(crate) async fn execute(command: &[String]) -> Answer {
    let [program, arguments @ ..] = command else { return Err("no command".into()) };
    match run(program, arguments).await {
        Ok((status, tail)) => {
            let answer = joined(describe(status), &last_line(&tail));
            if status.success() { Ok(answer) } else { Err(answer) }
        }
        Err(error) => Err(format!("cannot run {program}: {error}")),
    }
}

/// Runs a command to its exit; returns the status and the end of its standard error.
///
/// # Errors
/// If the command cannot be started or watched.
async fn run(program: &str, arguments: &[String]) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (stderr, child_end) = io::pipe()?;
    let mut stderr = Receiver::from_owned_fd(stderr.into())?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(child_end);
    let child = command.spawn()?;
    let exited = exit_of(Some(child.id()));
    let mut running = Running(Some(child));

    let mut tail = Vec::new();
    let Err(watched) = unless(exited, follow(&mut stderr, &mut tail)).await;
    watched?;
    read_rest(&stderr, &mut tail);
    Ok((running.collect()?, tail))
}

/// A running command in a process group of its own, which is killed when this is dropped.
struct Running(Option<Child>);

impl Running {
    /// Returns the status of a command that has exited.
    fn collect(&mut self) -> io::Result<ExitStatus> {
        self.end().map_or(Err(io::ErrorKind::NotFound.into()), |mut child| child.wait())
    }

    /// Kills the process group. The child must not have been waited for: the kernel may give its number to another
    /// group after that.
    fn end(&mut self) -> Option<Child> {
        let child = self.0.take()?;
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL); // the group may be empty
        Some(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.end() {
            // In a thread, because a process that hangs in the kernel would delay the check beyond its deadline.
            let _ = thread::Builder::new().spawn(move || child.wait());
        }
    }
}

/// Reads a command's standard error and keeps its end. Never returns: a command may close the pipe before it exits.
async fn follow(stderr: &mut Receiver, tail: &mut Vec<u8>) -> Infallible {
    let mut chunk = [0; STDERR_TAIL];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        keep(tail, &chunk[..length]);
    }
    pending().await
}

/// Reads what is left in the pipe of a command that has exited.
fn read_rest(stderr: &Receiver, tail: &mut Vec<u8>) {
    let mut chunk = [0; STDERR_TAIL];
    while let Ok(length @ 1..) = stderr.try_read(&mut chunk) {
        keep(tail, &chunk[..length]);
    }
}

/// Appends a chunk and drops bytes from the start beyond the limit.
fn keep(tail: &mut Vec<u8>, chunk: &[u8]) {
    tail.extend_from_slice(chunk);
    tail.drain(..tail.len().saturating_sub(STDERR_TAIL));
}

fn last_line(bytes: &[u8]) -> String {
    bytes.split(|byte| *byte == b'\n').rev().map(excerpt).find(|line| !line.is_empty()).unwrap_or_default()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{command, exec, place, soon, wait};
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_command_passes_with_status_0_and_fails_with_its_last_words() {
        let place = place();
        assert_eq!(wait(&exec("exit 0"), &place.socket, None, soon(60_000)).unwrap().answer, "exited with status 0");
        let cases = [
            ("echo one >&2; echo ' two  words' >&2; echo >&2; exit 2", "exited with status 2: two words"),
            ("kill -9 $$", "killed by signal 9"),
            ("seq 100000 >&2; exit 1", "exited with status 1: 100000"),
            ("echo closed >&2; exec 2>&-; sleep 0.01; exit 3", "exited with status 3: closed"),
        ];
        for (script, last) in cases {
            assert_eq!(wait(&exec(script), &place.socket, None, soon(1_000)).unwrap_err().last, last, "{script}");
        }
        let missing = command(&["./no-such-check", "--fast"]);
        let failed = wait(&missing, &place.socket, None, soon(500)).unwrap_err();
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
            assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
            thread::sleep(Duration::from_millis(50));
            for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
                let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // Its parent being gone, the first is init's to collect.
                assert!(status.is_empty() || status.contains(") Z "), "left running: {status}");
            }
        }
    }
}
