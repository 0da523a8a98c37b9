//! Of the services of a machine only so many start, roll or stop at a time; the others wait for their turn.
//!
//! A thousand that start at boot would gain nothing from being at it together: systemd starts their processes one
//! after the other. But each would be on the message bus, where dbus-daemon(1) lets root have 256 connections, the
//! manager's own and other services' among them.

use std::fs::File;
use std::process;

use crate::atomic;
use crate::layout::Layout;

const TURNS: u32 = 64;

/// Held until dropped. None where the file system refuses: better all at a time than none.
pub fn wait(layout: &Layout) -> Option<File> {
    let dir = layout.at(&layout.turns());
    let path = |number: u32| dir.join((number % TURNS).to_string());
    let first = process::id();
    let free = (first..first + TURNS).find_map(|number| atomic::try_lock(&path(number)).ok().flatten());
    free.or_else(|| atomic::lock(&path(first)).ok())
}
