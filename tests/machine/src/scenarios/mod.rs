//! What must be true of a booted machine. One file a theme; a new one is added to `ALL`.

mod faults;
mod guarantees;
mod harness;
mod lifecycle;
mod proxy;
mod shop;
mod updates;

use std::fmt;

use conductor_machine::machine::Machine;

pub struct Scenario {
    group: &'static str,
    name: &'static str,
    pub run: fn(&mut Machine),
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

/// `scenarios!("group": one, two)` makes these functions a file's `SCENARIOS`.
macro_rules! scenarios {
    ($group:literal: $($function:ident),+ $(,)?) => {
        pub const SCENARIOS: &[$crate::scenarios::Scenario] = &[
            $($crate::scenarios::Scenario { group: $group, name: stringify!($function), run: $function }),+
        ];
    };
}
use scenarios;

const ALL: &[&[Scenario]] = &[
    harness::SCENARIOS,
    updates::SCENARIOS,
    faults::SCENARIOS,
    guarantees::SCENARIOS,
    lifecycle::SCENARIOS,
    proxy::SCENARIOS,
];

/// Those whose `GROUP::NAME` contains one of the filters; without filters, all.
pub fn matching(filters: &[String]) -> Vec<&'static Scenario> {
    let chosen = |scenario: &&Scenario| {
        let name = scenario.to_string();
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
    };
    ALL.iter().copied().flatten().filter(chosen).collect()
}
