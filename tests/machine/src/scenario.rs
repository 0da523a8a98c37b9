//! A scenario: what must be true of a booted machine, as a function with a name.

use std::fmt;

use conductor_machine::cluster::Cluster;
use conductor_machine::machine::{Machine, Packages};

pub(crate) struct Scenario {
    pub group: &'static str,
    pub name: &'static str,
    pub run: Run,
    pub packages: Packages,
    /// None for what must hold on a good day.
    pub fault: Option<Fault>,
}

/// What a scenario runs on.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    One(fn(&mut Machine)),
    /// So many machines on one network.
    Cluster(usize, fn(&mut Cluster)),
}

/// A line of docs/reliability.md.
pub(crate) struct Fault {
    pub what: &'static str,
    pub holds: &'static str,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

/// Makes the functions of a file its `SCENARIOS`: `scenarios!("group": one, two)`. A fault has two sentences, what goes
/// wrong and what must hold: `one: "…" => "…"`. `one(|m| …)` runs the closure in parentheses. Behind `"group" with Servers`
/// the machines have those packages, and behind `on 3` there are three of them: `scenarios!("group" with Pacemaker on 3: …)`.
macro_rules! scenarios {
    (@run $name:ident) => { $name };
    (@run $name:ident $run:expr) => { $run };
    (@fault) => { None };
    (@fault $what:expr, $holds:expr) => { Some($crate::scenario::Fault { what: $what, holds: $holds }) };
    (@on $run:expr) => { $crate::scenario::Run::One($run) };
    (@on $run:expr, $machines:literal) => { $crate::scenario::Run::Cluster($machines, $run) };
    (@with [$($on:tt)*] $run:expr) => { scenarios!(@on $run $($on)*) };
    (@packages) => { conductor_machine::machine::Packages::Base };
    (@packages $packages:ident) => { conductor_machine::machine::Packages::$packages };
    ($group:literal with $packages:ident on $machines:literal: $($rest:tt)+) => {
        scenarios!(@all $group, scenarios!(@packages $packages), [, $machines]; $($rest)+);
    };
    ($group:literal $(with $packages:ident)?: $($rest:tt)+) => {
        scenarios!(@all $group, scenarios!(@packages $($packages)?), []; $($rest)+);
    };
    (@all $group:literal, $packages:expr, $on:tt; $($name:ident $(($run:expr))? $(: $what:expr => $holds:expr)?),+ $(,)?) => {
        pub(crate) const SCENARIOS: &[$crate::scenario::Scenario] = &[
            $($crate::scenario::Scenario {
                group: $group,
                name: stringify!($name),
                run: scenarios!(@with $on scenarios!(@run $name $($run)?)),
                packages: $packages,
                fault: scenarios!(@fault $($what, $holds)?),
            }),+
        ];
    };
}
pub(crate) use scenarios;
