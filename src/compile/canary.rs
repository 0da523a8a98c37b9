//! The timers of canaries: units of what runs, and not of what is declared.

use std::collections::BTreeMap;
use std::io;

use crate::layout::Layout;
use crate::live::{self, Live, Target};
use crate::names::ServiceName;
use crate::target::systemd::canary;
use crate::tree::Tree;

/// Renders the units of all canaries whose next step has a time. One that cannot be read has none.
pub fn timers(layout: &Layout, live: &BTreeMap<ServiceName, Live>) -> Tree {
    let mut tree = Tree::default();
    // Beside a canary another generation serves.
    for Live { name, .. } in live.values().filter(|live| live.generations.len() > 1) {
        let Ok(Some(target)) = Target::read(layout, name) else { continue };
        tree.extend(timer(layout, name, &target).unwrap_or_default());
    }
    tree
}

/// Renders the units of the next step of a service's canary; empty if no time is set for it.
///
/// # Errors
/// A snapshot that cannot be read.
pub(crate) fn timer(layout: &Layout, name: &ServiceName, target: &Target) -> io::Result<Tree> {
    let due = target.canary.as_ref().and_then(|canary| Some((canary, canary.due?)));
    let Some((canary, due)) = due else { return Ok(Tree::default()) };
    let service = live::service(layout, name, &canary.generation)?;
    Ok(canary::render(layout, &service, canary, due))
}
