//! The ways in which routes reach one listener of a service, where a proxy has upstreams for each.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use camino::Utf8PathBuf;

use super::routing::{Backend, Match, Reached, RoutingTable};
use crate::declaration::Affinity;

/// Upstreams of a listener; as text, their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variant<'a> {
    pub(super) reached: &'a Reached,
    pub(super) affinity: Option<Affinity>,
    pub(super) keepalive: bool,
    pub(super) slots: &'a [Utf8PathBuf],
}

impl Display for Variant<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let affinity = match self.affinity {
            None => "",
            Some(Affinity::Cookie) => "+cookie",
            Some(Affinity::Source) => "+source",
        };
        let keepalive = if self.keepalive { "+keepalive" } else { "" };
        write!(out, "conductor-{}{affinity}{keepalive}", self.reached)
    }
}

impl<'a> Variant<'a> {
    /// Returns the upstreams of a route; None if it leads to no service. They have no slots yet.
    pub(super) fn of(it: &'a Match) -> Option<Self> {
        let Backend::Service(reached, _) = &it.backend else { return None };
        Some(Self { reached, affinity: it.handling.affinity, keepalive: it.handling.keepalive, slots: &[] })
    }
}

/// Lists the upstreams of all routes, by name.
pub(super) fn variants(table: &RoutingTable) -> Vec<Variant<'_>> {
    let matches = table.sites.iter().flat_map(|site| &site.matches);
    let asked: BTreeSet<_> = matches.filter_map(Variant::of).collect();
    let with_slots = |variant: Variant<'_>| {
        let upstreams = table.upstreams.iter().find(|upstreams| upstreams.reached == *variant.reached)?;
        Some(Variant { slots: &upstreams.slots, reached: &upstreams.reached, ..variant })
    };
    asked.into_iter().filter_map(with_slots).collect()
}
