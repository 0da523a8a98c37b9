//! The health check that the process accepts a connection.

use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::deployment::connections;
use crate::deployment::endpoint::Endpoint;
use crate::deployment::health::stream::Stream;

/// The pause between two queries whether a connection was accepted; it doubles up to the longest.
const ACCEPT_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Connects and waits until the process has accepted the connection. Over TCP an established connection passes: the
/// kernel does not show whether it was accepted, but the process itself listens there, not systemd.
///
/// # Errors
/// If the connection is refused, or closed before it was accepted.
pub(crate) async fn be_accepted(endpoint: &Endpoint) -> io::Result<String> {
    let Stream::Unix(stream) = Stream::connect(endpoint).await? else {
        return Ok("connection established".into());
    };
    let mut pause = ACCEPT_PAUSE;
    loop {
        if connections::is_accepted(&stream)? {
            return Ok("connection accepted".into());
        }
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error), // reset: closed without having been accepted
            Ok(0) => return Ok("connection accepted and closed".into()),
            Ok(_) => return Ok("connection accepted and written to".into()),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{health, place, soon, wait};
    use crate::model::Check;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_connection_counts_once_the_process_accepts_it() {
        let place = place();
        let listener = UnixListener::bind(&place.socket).unwrap();
        // Callers that wait since before must not matter.
        let _callers: Vec<_> = (0..2).map(|_| UnixStream::connect(&place.socket).unwrap()).collect();
        thread::scope(|scope| {
            let accepting = scope.spawn(|| {
                thread::sleep(Duration::from_millis(60));
                let accepted: Vec<_> = (0..3).map(|_| listener.accept().unwrap()).collect();
                thread::sleep(Duration::from_millis(100));
                accepted.len()
            });
            let passed = wait(&health(Check::Tcp), &place.socket, None, soon(60_000)).unwrap();
            assert!((60..).contains(&passed.elapsed.as_millis()), "{passed:?}");
            assert_eq!((passed.attempts, passed.answer.as_str()), (1, "connection accepted"));
            accepting.join().unwrap();
        });
    }

    #[test]
    fn accepting_and_closing_at_once_is_accepting_and_a_closed_listener_is_not() {
        let place = place();
        let listener = UnixListener::bind(&place.socket).unwrap();
        let accepting = thread::spawn(move || {
            drop(listener.accept().unwrap());
            listener
        });
        let passed = wait(&health(Check::Tcp), &place.socket, None, soon(60_000)).unwrap();
        assert_eq!(passed.attempts, 1);
        let listener = accepting.join().unwrap();
        let closing = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            drop(listener);
        });
        let failed = wait(&health(Check::Tcp), &place.socket, None, soon(200)).unwrap_err();
        assert_eq!(failed.last, "connection refused");
        closing.join().unwrap();
    }
}
