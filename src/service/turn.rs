//! Of the services of a machine only so many start, roll or stop at a time; the others wait for their turn.
//!
//! A thousand that start at boot would gain nothing from being at it together: systemd starts their processes one
//! after the other. But each would be on the message bus, where dbus-daemon(1) lets root have 256 connections, the
//! manager's own and other services' among them.

use std::fs::{self, File};
use std::process;

use rustix::fs::{FlockOperation, flock};

use crate::layout::Layout;

const TURNS: u32 = 64;

/// Held until dropped. None where the file system refuses: better all at a time than none.
pub fn wait(layout: &Layout) -> Option<File> {
    let dir = layout.at(&layout.turns());
    fs::create_dir_all(&dir).ok()?;
    let first = process::id();
    let open = |number: u32| {
        let path = dir.join((number % TURNS).to_string());
        File::options().create(true).truncate(false).write(true).open(path).ok()
    };
    let is_free = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
    let free = (first..first + TURNS).filter_map(open).find(is_free);
    free.or_else(|| open(first).filter(|file| flock(file, FlockOperation::LockExclusive).is_ok()))
}
