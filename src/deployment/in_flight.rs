//! Connections of a deployment, and how many there are.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Add;

/// Numbers of connections of one listening unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct InFlight {
    /// Connections that the process has accepted and not closed, even if the client has closed them.
    pub(crate) established: u32,
    /// Connections in the listener's queue, which the process has not accepted, even if the client has closed them.
    pub(crate) queued: u32,
}

impl InFlight {
    /// Returns whether no connection is in flight.
    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for InFlight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { established: self.established + other.established, queued: self.queued + other.queued }
    }
}

/// The connections of one listening unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Connections {
    /// Those that a caller holds open, if only for the answer.
    pub(crate) with_caller: InFlight,
    /// The inodes of accepted connections whose callers have closed them.
    pub(crate) abandoned: BTreeSet<u32>,
    /// The number of connections in the queue whose callers have closed them.
    pub(crate) abandoned_in_queue: u32,
}

impl Connections {
    /// Counts all connections, whether their callers have closed them or not.
    pub(crate) fn all(&self) -> InFlight {
        self.with_caller + self.without_caller()
    }

    /// Counts the connections whose callers have closed them.
    pub(crate) fn without_caller(&self) -> InFlight {
        InFlight { established: self.abandoned.len() as u32, queued: self.abandoned_in_queue }
    }
}

impl Add for Connections {
    type Output = Self;

    fn add(mut self, mut other: Self) -> Self {
        self.abandoned.append(&mut other.abandoned);
        let abandoned_in_queue = self.abandoned_in_queue + other.abandoned_in_queue;
        Self { with_caller: self.with_caller + other.with_caller, abandoned_in_queue, ..self }
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} accepted and {} queued", self.established, self.queued)
    }
}
