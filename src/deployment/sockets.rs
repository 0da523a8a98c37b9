//! Sockets and connections for tests.

use std::os::unix::net::{UnixListener, UnixStream};

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
