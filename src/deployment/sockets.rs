//! Sockets and connections for tests.

use std::fmt::Debug;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

/// A scratch directory with the path of a socket.
pub(super) struct Place {
    _directory: tempfile::TempDir,
    pub(super) socket: Utf8PathBuf,
}

impl Place {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = Utf8PathBuf::from_path_buf(directory.path().join("socket")).unwrap();
        Self { _directory: directory, socket }
    }
}

pub(super) fn connect(socket: &Utf8Path, number: usize) -> Vec<UnixStream> {
    (0..number).map(|_| UnixStream::connect(socket).unwrap()).collect()
}

pub(super) fn accept(listener: &UnixListener, number: usize) -> Vec<UnixStream> {
    (0..number).map(|_| listener.accept().unwrap().0).collect()
}

/// Asserts that `look` returns `expected` within a minute.
///
/// A socket that a test has dropped may be open a little longer: a process that another test starts shares all
/// descriptors until it runs its own program.
pub(super) fn becomes<T: PartialEq + Debug>(expected: T, look: impl Fn() -> T) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while look() != expected && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(look(), expected);
}
