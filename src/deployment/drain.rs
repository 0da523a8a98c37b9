//! Draining: waiting until no request is in flight on a deployment's socket.

use std::time::{Duration, Instant};
use std::{error, fmt, io, thread};

use camino::Utf8Path;

use crate::deployment::connections::{Diagnostics, InFlight};

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

/// Waits until no connection is in flight on the unix socket at `socket`.
///
/// `network` is the network namespace of the listener, if that is not the host's: the kernel shows queued connections
/// in the listener's namespace, and accepted ones in that of the clients, the host's.
///
/// Two counts in a row must be zero: a count may miss a connection that is accepted while the kernel lists its sockets,
/// but the next count sees it as established.
///
/// # Errors
/// [`DrainError::TimedOut`] at `deadline`; [`DrainError::Unknown`] at once if connections cannot be counted.
pub(crate) fn wait(socket: &Utf8Path, network: Option<&str>, deadline: Instant) -> Result<(), DrainError> {
    let host = Diagnostics::of_host().map_err(DrainError::Unknown)?;
    let other = network.map(Diagnostics::of_other).transpose().map_err(DrainError::Unknown)?.flatten();
    let count = || match &other {
        Some(other) => Ok(host.count(socket)?.unwrap_or_default() + other.count(socket)?.unwrap_or_default()),
        None => host.in_flight(socket),
    };
    let mut pause = PAUSE;
    let mut was_zero = false;
    loop {
        let left = count().map_err(DrainError::Unknown)?;
        let remaining = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() && was_zero {
            return Ok(());
        } else if left.is_zero() {
            thread::sleep(CONFIRM);
        } else if remaining.is_zero() {
            return Err(DrainError::TimedOut { left });
        } else {
            thread::sleep(pause.min(remaining));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        was_zero = left.is_zero();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::sockets::{Place, accept, connect};
    use std::os::unix::net::UnixListener;

    fn soon(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    #[test]
    fn waits_until_the_last_connection_is_closed() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let clients = connect(&place.socket, 2);
        let accepted = accept(&listener, 1);
        let timed_out = wait(&place.socket, None, soon(30)).unwrap_err();
        let DrainError::TimedOut { left } = timed_out else { panic!("{timed_out}") };
        assert_eq!(left, InFlight { established: 1, queued: 1 });

        let closing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(60));
            drop((accepted, accept(&listener, 1)));
            drop(clients);
            listener
        });
        let started = Instant::now();
        wait(&place.socket, None, soon(5_000)).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(60), "{:?}", started.elapsed());
        drop(closing.join().unwrap());
    }

    #[test]
    fn what_is_idle_needs_no_time_to_drain() {
        let place = Place::new();
        let _listener = UnixListener::bind(&place.socket).unwrap();
        wait(&place.socket, None, Instant::now()).unwrap();
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
                wait(&place.socket, None, soon(10_000)).unwrap();
                for client in &clients {
                    client.set_nonblocking(true).unwrap();
                    let answered = io::Read::read(&mut &*client, &mut [0]);
                    assert_eq!(answered.unwrap(), 0, "this one was still open");
                }
            });
        }
    }
}
