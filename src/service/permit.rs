//! Limits how many services of a machine start, roll or stop at a time; the others wait.
//!
//! A thousand that start at boot would gain nothing from being at it together: systemd starts their processes one
//! after the other. But each would be on the message bus, where dbus-daemon(1) lets root have 256 connections, the
//! manager's own and other services' among them.

use std::fs::File;
use std::process;

use crate::atomic;
use crate::layout::Layout;

const PERMITS: u32 = 64;

/// Waits for a permit and holds it until dropped. None where the file system refuses: then nothing limits the services,
/// which is better than to start none.
pub(crate) fn acquire(layout: &Layout) -> Option<File> {
    let dir = layout.at(&layout.permits());
    let path = |number: u32| dir.join((number % PERMITS).to_string());
    let first = process::id();
    let free = (first..first + PERMITS).find_map(|number| atomic::try_lock(&path(number)).ok().flatten());
    free.or_else(|| atomic::lock(&path(first)).ok())
}
