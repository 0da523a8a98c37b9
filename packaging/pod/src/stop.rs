//! The steps between Kubernetes' decision to stop a pod and its SIGTERM.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::{self, Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::connections::{self, Connection};
use crate::words::Words;

/// The time between two looks at the kernel's connections, or at a hook.
const INTERVAL: Duration = Duration::from_millis(100);

/// A step of a stop.
#[derive(Debug, PartialEq)]
enum Step<'a> {
    /// Runs a command, for at most a time.
    Hook { limit: Duration, command: &'a [String] },
    /// Waits until no Service sends callers here any more.
    Leave(Duration),
    /// Sends a signal to the container's main process.
    Signal(Signal),
    /// Waits until no request is in flight.
    Drain { limit: Duration, abandoned: Duration, ports: Vec<u16> },
}

/// Carries out all steps, also after one has failed.
pub(crate) fn stop(words: &[String]) -> Result<(), String> {
    let steps = steps(words)?;
    let failed: Vec<_> = steps.iter().filter_map(|step| step.carry_out().err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn steps(words: &[String]) -> Result<Vec<Step<'_>>, String> {
    let mut words = Words::new(words);
    let mut steps = Vec::new();
    while let Some(word) = words.next() {
        steps.push(match word {
            "hook" => {
                let limit = seconds(&mut words)?;
                let count = words.value("the number of words")?;
                let command = words.take(count)?;
                if command.is_empty() {
                    return Err("a hook needs a command".into());
                }
                Step::Hook { limit, command }
            }
            "leave" => Step::Leave(seconds(&mut words)?),
            "signal" => Step::Signal(signal(&words.value::<String>("the signal")?)?),
            "drain" => {
                let (limit, abandoned) = (seconds(&mut words)?, seconds(&mut words)?);
                Step::Drain { limit, abandoned, ports: words.values() }
            }
            other => return Err(format!("{other:?} is no step: write hook, leave, signal or drain")),
        });
    }
    Ok(steps)
}

fn seconds(words: &mut Words) -> Result<Duration, String> {
    let seconds = words.value("the number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{seconds} is no number of seconds"))
}

/// Reads the name of a signal, signal(7).
fn signal(name: &str) -> Result<Signal, String> {
    let signal = match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "PIPE" => Signal::PIPE,
        "ALRM" => Signal::ALARM,
        "TERM" => Signal::TERM,
        "CONT" => Signal::CONT,
        "TSTP" => Signal::TSTP,
        "TTIN" => Signal::TTIN,
        "TTOU" => Signal::TTOU,
        "URG" => Signal::URG,
        "VTALRM" => Signal::VTALARM,
        "PROF" => Signal::PROF,
        "WINCH" => Signal::WINCH,
        "IO" => Signal::IO,
        "PWR" => Signal::POWER,
        other => return Err(format!("{other:?} is no signal that can be sent")),
    };
    Ok(signal)
}

impl Step<'_> {
    fn carry_out(&self) -> Result<(), String> {
        match self {
            Self::Hook { limit, command } => hook(*limit, command),
            Self::Leave(time) => {
                thread::sleep(*time);
                Ok(())
            }
            Self::Signal(signal) => send(*signal),
            Self::Drain { limit, abandoned, ports } => drain(*limit, *abandoned, ports),
        }
    }
}

fn hook(limit: Duration, command: &[String]) -> Result<(), String> {
    let name = command.join(" ");
    let failed = |error: io::Error| format!("{name}: {error}");
    let mut child = Command::new(&command[0]).args(&command[1..]).spawn().map_err(failed)?;
    match ended(&mut child, limit).map_err(failed)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{name}: {status}")),
        None => {
            let killed = child.kill().and_then(|()| child.wait());
            killed.map_err(failed)?;
            Err(format!("{name}: killed after {} s", limit.as_secs_f64()))
        }
    }
}

/// Waits for the end of a process; None if it outlasts the limit.
fn ended(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(INTERVAL);
    }
}

/// Sends a signal to the main process of this container. The processes of all containers of a pod may be seen here:
/// those of this one have its mount namespace, and the first of them has no parent here.
fn send(signal: Signal) -> Result<(), String> {
    let own = fs::read_link("/proc/self/ns/mnt").map_err(|error| format!("/proc/self/ns/mnt: {error}"))?;
    let entries = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_main = |pid: &i32| {
        let number = u32::try_from(*pid).unwrap_or_default();
        let is_here = fs::read_link(format!("/proc/{pid}/ns/mnt")).is_ok_and(|namespace| namespace == own);
        is_here && number != process::id() && parent(*pid) == Some(0)
    };
    let main = numbers.filter(is_main).min().ok_or("the container's main process is not running")?;
    let main = Pid::from_raw(main).ok_or("the container's main process has no number")?;
    kill_process(main, signal).map_err(|error| format!("process {main:?}: {error}"))
}

/// Returns the parent of a process, 0 outside of this PID namespace: the fourth field of proc_pid_stat(5).
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may have any character.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Waits until no request is in flight on the ports, for at most a time.
fn drain(limit: Duration, abandoned: Duration, ports: &[u16]) -> Result<(), String> {
    let end = Instant::now() + limit;
    let mut closed = Abandoned::default();
    loop {
        // An error says nothing about requests: the whole time is waited for then.
        let in_flight = match connections::on(ports) {
            Ok(found) => Some(closed.count(&found, Instant::now(), abandoned)),
            Err(error) => {
                eprintln!("sock_diag(7): {error}");
                None
            }
        };
        if in_flight == Some(0) {
            return Ok(());
        }
        if Instant::now() >= end {
            let count = in_flight.map_or("an unknown number of".to_owned(), |count| count.to_string());
            return Err(format!("{count} requests in flight after {} s", limit.as_secs_f64()));
        }
        thread::sleep(INTERVAL);
    }
}

/// When each connection was first seen closed by its caller, by its number.
#[derive(Default)]
struct Abandoned(BTreeMap<u64, Instant>);

impl Abandoned {
    /// Returns how many of the connections have a request that somebody still waits for.
    fn count(&mut self, connections: &[Connection], now: Instant, limit: Duration) -> usize {
        let is_closed = |number: &u64| connections.iter().any(|it| it.number == *number && it.is_closed_by_caller);
        self.0.retain(|number, _| is_closed(number));
        let counts = |connection: &&Connection| {
            let Connection { number, is_closed_by_caller, has_request } = connection;
            let since = is_closed_by_caller.then(|| *self.0.entry(*number).or_insert(now));
            *has_request && since.is_none_or(|since| now - since < limit)
        };
        connections.iter().filter(counts).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn steps_are_read_in_their_order() {
        let words = words("hook 1.5 2 ./bye drain leave 5 signal SIGWINCH drain 30 5 8080 8081 hook 1 1 drain");
        let second = Duration::from_secs(1);
        let expected = [
            Step::Hook { limit: second * 3 / 2, command: &words[3..5] },
            Step::Leave(5 * second),
            Step::Signal(Signal::WINCH),
            Step::Drain { limit: 30 * second, abandoned: 5 * second, ports: vec![8080, 8081] },
            Step::Hook { limit: second, command: &words[17..] },
        ];
        assert_eq!(steps(&words).unwrap(), expected);
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for text in ["hook 1 2 one", "hook 1 0", "leave", "leave -1", "leave x", "signal KILL", "wait 3", "drain 1"] {
            steps(&words(text)).unwrap_err();
        }
    }

    #[test]
    fn a_hook_is_ended_after_its_time() {
        hook(Duration::from_secs(60), &words("true")).unwrap();
        hook(Duration::from_secs(60), &words("false")).unwrap_err();
        hook(Duration::from_secs(60), &words("/does/not/exist")).unwrap_err();
        assert!(hook(Duration::from_millis(10), &words("sleep 1000")).unwrap_err().contains("killed after 0.01 s"));
    }

    #[test]
    fn a_connection_that_its_caller_has_closed_counts_for_a_time() {
        let (limit, begin) = (Duration::from_secs(5), Instant::now());
        let closed = Connection { number: 1, is_closed_by_caller: true, has_request: true };
        let open = Connection { number: 2, is_closed_by_caller: false, has_request: true };
        let idle = Connection { number: 3, is_closed_by_caller: false, has_request: false };
        let all = [closed, open, idle];
        let mut abandoned = Abandoned::default();
        assert_eq!(abandoned.count(&all, begin, limit), 2);
        assert_eq!(abandoned.count(&all, begin + limit / 2, limit), 2);
        assert_eq!(abandoned.count(&all, begin + limit, limit), 1);
        // Another connection by the same number begins anew.
        assert_eq!(abandoned.count(&all[1..], begin + limit, limit), 1);
        assert_eq!(abandoned.count(&all, begin + limit, limit), 2);
    }
}
