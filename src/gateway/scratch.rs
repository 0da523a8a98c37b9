//! Temporary files of the gateway: bodies of requests, and sockets of workers.

use std::io;
use std::path::Path;

/// Directories of temporary files, the preferred one first: /var/tmp is on a disk where /tmp is a tmpfs. A container's image
/// may have none but /dev/shm.
const DIRS: &[&str] = &["/var/tmp", "/tmp", "/dev/shm"];

/// Calls `create` with each directory until it succeeds.
///
/// # Errors
/// That of the last directory.
pub(crate) fn create<T>(create: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for dir in DIRS {
        outcome = create(Path::new(dir));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
