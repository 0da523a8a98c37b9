//! What must be true of a booted machine. One file a theme; a new one is added to `ALL`.

mod commands;
mod disk;
mod endings;
mod enforcement;
mod engines;
mod faults;
mod functions;
mod guarantees;
mod harness;
mod health;
mod hooks;
mod interrupted;
mod lifecycle;
mod listeners;
mod long;
mod manager;
mod manual;
mod newcomer;
mod package;
mod parts;
mod plan;
mod proxy;
mod services;
mod settings;
mod shop;
mod storms;
mod strategies;
mod strike;
mod traps;
mod updates;
mod upgrade;
mod user;
mod verbs;
mod watch;

use std::fmt;

use conductor_machine::machine::Machine;

pub struct Scenario {
    pub group: &'static str,
    name: &'static str,
    pub run: fn(&mut Machine),
    /// None for what must hold on a good day.
    pub fault: Option<Fault>,
}

/// A line of docs/reliability.md.
pub struct Fault {
    pub what: &'static str,
    pub holds: &'static str,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

/// `scenarios!("group": one, two)` makes these functions a file's `SCENARIOS`. A fault is told with what goes
/// wrong and what must hold: `one: "…" => "…"`. `one(|m| …)` runs what is in parentheses.
macro_rules! scenarios {
    (@run $name:ident) => { $name };
    (@run $name:ident $run:expr) => { $run };
    (@fault) => { None };
    (@fault $what:expr, $holds:expr) => { Some($crate::scenarios::Fault { what: $what, holds: $holds }) };
    ($group:literal: $($name:ident $(($run:expr))? $(: $what:expr => $holds:expr)?),+ $(,)?) => {
        pub const SCENARIOS: &[$crate::scenarios::Scenario] = &[
            $($crate::scenarios::Scenario {
                group: $group,
                name: stringify!($name),
                run: scenarios!(@run $name $($run)?),
                fault: scenarios!(@fault $($what, $holds)?),
            }),+
        ];
    };
}
use scenarios;

const ALL: &[&[Scenario]] = &[
    enforcement::SCENARIOS, // first, since the longest
    harness::SCENARIOS,
    updates::SCENARIOS,
    engines::SCENARIOS,
    listeners::SCENARIOS,
    guarantees::SCENARIOS,
    lifecycle::SCENARIOS,
    proxy::SCENARIOS,
    strategies::SCENARIOS,
    plan::SCENARIOS,
    verbs::SCENARIOS,
    user::SCENARIOS,
    settings::SCENARIOS,
    health::SCENARIOS,
    hooks::SCENARIOS,
    commands::SCENARIOS,
    services::SCENARIOS,
    parts::SCENARIOS,
    faults::SCENARIOS,
    interrupted::SCENARIOS,
    manager::SCENARIOS,
    storms::SCENARIOS,
    disk::SCENARIOS,
    endings::SCENARIOS,
    long::SCENARIOS,
    traps::SCENARIOS,
    upgrade::SCENARIOS,
    functions::SCENARIOS,
    package::SCENARIOS,
    newcomer::SCENARIOS,
    manual::SCENARIOS,
];

/// Those whose `GROUP::NAME` contains one of the filters; without filters, all.
pub fn matching(filters: &[String]) -> Vec<&'static Scenario> {
    let chosen = |scenario: &&Scenario| {
        let name = scenario.to_string();
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
    };
    ALL.iter().copied().flatten().filter(chosen).collect()
}
