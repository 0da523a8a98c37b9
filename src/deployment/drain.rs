//! Draining: waiting until no request is in flight on a deployment's socket.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use std::{error, fmt, io, thread};

use camino::Utf8Path;

use crate::deployment::connections::Watched;
use crate::deployment::in_flight::{Connections, InFlight};

/// The pause between two counts; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// The pause between the two counts that must both be zero.
const CONFIRM: Duration = Duration::from_millis(3);

/// The reason why draining ended although connections may be in flight.
#[derive(Debug)]
pub(crate) enum DrainError {
    /// The deadline passed.
    TimedOut {
        /// The connections in flight at the last count.
        left: InFlight,
    },
    /// The kernel did not answer: the number of connections in flight is unknown.
    Unknown(io::Error),
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::TimedOut { left } => write!(f, "connections still in flight: {left}"),
            Self::Unknown(error) => write!(f, "connections in flight cannot be counted: {error}"),
        }
    }
}

impl error::Error for DrainError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::TimedOut { .. } => None,
            Self::Unknown(error) => Some(error),
        }
    }
}

/// How long a drain waits, and for which connections.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) deadline: Instant,
    /// The time for which a connection is waited for after its caller has closed it.
    pub(crate) abandoned: Duration,
    /// The inodes of connections that are not waited for once their callers have closed them: those of health checks.
    pub(crate) checks: BTreeSet<u32>,
}

/// Waits until no connection is in flight on the unix socket at `socket`, and returns how many are left whose callers have
/// closed them.
///
/// `network` is the network namespace of the listener, if that is not the host's.
///
/// Two counts in a row must be zero: a count may miss a connection that is accepted while the kernel lists its sockets,
/// but the next count sees it as established.
///
/// # Errors
/// [`DrainError::TimedOut`] at the deadline; [`DrainError::Unknown`] at once if connections cannot be counted.
pub(crate) fn wait(socket: &Utf8Path, network: Option<&str>, limits: &Limits) -> Result<InFlight, DrainError> {
    let watched = Watched::open(socket, network).map_err(DrainError::Unknown)?;
    wait_by(limits, || watched.connections())
}

/// Waits until no connection is in flight by this `count`, and returns how many are left whose callers have closed them.
///
/// # Errors
/// As [`wait`].
pub(crate) fn wait_by(limits: &Limits, count: impl Fn() -> io::Result<Connections>) -> Result<InFlight, DrainError> {
    let mut callers = Callers { limits, gone: BTreeMap::new() };
    let mut pause = PAUSE;
    let mut was_over = false;
    loop {
        let mut connections = count().map_err(DrainError::Unknown)?;
        connections.abandoned.retain(|inode| !limits.checks.contains(inode));
        let is_over = callers.are_gone(&connections, Instant::now());
        let remaining = limits.deadline.saturating_duration_since(Instant::now());
        if is_over && was_over {
            return Ok(connections.without_caller());
        } else if is_over {
            thread::sleep(CONFIRM);
        } else if remaining.is_zero() {
            return Err(DrainError::TimedOut { left: connections.all() });
        } else {
            thread::sleep(pause.min(remaining));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        was_over = is_over;
    }
}

/// The key of all connections in the queue whose callers have closed them: they have no inodes.
const QUEUE: u32 = 0;

/// The callers that have closed their connections, and when that was seen first.
struct Callers<'a> {
    limits: &'a Limits,
    gone: BTreeMap<u32, Instant>,
}

impl Callers<'_> {
    /// Returns whether no connection is left but those whose callers have closed them for long enough.
    fn are_gone(&mut self, connections: &Connections, now: Instant) -> bool {
        let queue = (connections.abandoned_in_queue > 0).then_some(QUEUE);
        let present: BTreeSet<_> = connections.abandoned.iter().copied().chain(queue).collect();
        self.gone.retain(|inode, _| present.contains(inode));
        for inode in present {
            self.gone.entry(inode).or_insert(now);
        }
        let is_long_gone = |since: &Instant| now.duration_since(*since) >= self.limits.abandoned;
        connections.with_caller.is_zero() && self.gone.values().all(is_long_gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::sockets::{Place, accept, connect};
    use rustix::fs::fstat;
    use std::os::unix::net::UnixListener;

    /// With time for abandoned connections that outlasts each test.
    fn soon(milliseconds: u64) -> Limits {
        let deadline = Instant::now() + Duration::from_millis(milliseconds);
        Limits { deadline, abandoned: Duration::from_secs(3600), checks: BTreeSet::new() }
    }

    #[test]
    fn waits_until_the_last_connection_is_closed() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let clients = connect(&place.socket, 2);
        let accepted = accept(&listener, 1);
        let timed_out = wait(&place.socket, None, &soon(30)).unwrap_err();
        let DrainError::TimedOut { left } = timed_out else { panic!("{timed_out}") };
        assert_eq!(left, InFlight { established: 1, queued: 1 });

        let closing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            drop((accepted, accept(&listener, 1)));
            drop(clients);
            listener
        });
        let started = Instant::now();
        wait(&place.socket, None, &soon(5_000)).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(60), "{:?}", started.elapsed());
        drop(closing.join().unwrap());
    }

    #[test]
    fn connections_without_a_caller_have_their_time_and_those_of_checks_none() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let mut clients = connect(&place.socket, 4);
        let accepted = accept(&listener, 3);
        let checks = [fstat(&accepted[0]).unwrap().st_ino as u32].into();
        let limits = Limits { abandoned: Duration::from_millis(40), checks, ..soon(100) };
        // One that a check has open counts as long as it does.
        let left = InFlight { established: 3, queued: 1 };
        assert!(matches!(wait(&place.socket, None, &limits), Err(DrainError::TimedOut { left: all }) if all == left));
        let staying = clients.remove(1);
        drop(clients);
        let left = InFlight { established: 2, queued: 1 };
        let limits = Limits { deadline: Instant::now() + Duration::from_millis(100), ..limits };
        assert!(matches!(wait(&place.socket, None, &limits), Err(DrainError::TimedOut { left: all }) if all == left));
        drop(staying);
        let (started, limits) =
            (Instant::now(), Limits { deadline: Instant::now() + Duration::from_secs(60), ..limits });
        assert_eq!(wait(&place.socket, None, &limits).unwrap(), left);
        assert!((40..30_000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        drop(accept(&listener, 1));
        drop(accepted.into_iter().skip(1));
        assert_eq!(wait(&place.socket, None, &limits).unwrap(), InFlight::default());
    }

    #[test]
    fn what_is_idle_needs_no_time_to_drain() {
        let place = Place::new();
        let _listener = UnixListener::bind(&place.socket).unwrap();
        wait(&place.socket, None, &soon(0)).unwrap();
    }

    /// No connection may be missed while a server accepts, answers and closes.
    #[test]
    fn nothing_is_in_flight_only_after_the_last_answer() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        for _ in 0..20 {
            let clients = connect(&place.socket, 50);
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let taken = accept(&listener, 1);
                        thread::sleep(Duration::from_micros(200));
                        drop(taken);
                    }
                });
                wait(&place.socket, None, &soon(10_000)).unwrap();
                for client in &clients {
                    client.set_nonblocking(true).unwrap();
                    let answered = io::Read::read(&mut &*client, &mut [0]);
                    assert_eq!(answered.unwrap(), 0, "this one was still open");
                }
            });
        }
    }
}
