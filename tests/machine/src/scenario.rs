//! A scenario: what must be true of a booted machine, as a function with a name.

use std::fmt;

use conductor_machine::machine::Machine;

pub(crate) struct Scenario {
    pub group: &'static str,
    pub name: &'static str,
    pub run: fn(&mut Machine),
    /// None for what must hold on a good day.
    pub fault: Option<Fault>,
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
/// wrong and what must hold: `one: "…" => "…"`. `one(|m| …)` runs the closure in parentheses.
macro_rules! scenarios {
    (@run $name:ident) => { $name };
    (@run $name:ident $run:expr) => { $run };
    (@fault) => { None };
    (@fault $what:expr, $holds:expr) => { Some($crate::scenario::Fault { what: $what, holds: $holds }) };
    ($group:literal: $($name:ident $(($run:expr))? $(: $what:expr => $holds:expr)?),+ $(,)?) => {
        pub(crate) const SCENARIOS: &[$crate::scenario::Scenario] = &[
            $($crate::scenario::Scenario {
                group: $group,
                name: stringify!($name),
                run: scenarios!(@run $name $($run)?),
                fault: scenarios!(@fault $($what, $holds)?),
            }),+
        ];
    };
}
pub(crate) use scenarios;
