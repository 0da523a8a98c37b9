//! Commands that somebody who types waits for, with ten services.

use conductor_machine::figure::median;
use conductor_machine::machine::Machine;

use crate::Outcome;
use crate::build::Host;
use crate::clock::milliseconds;
use crate::declarations::running;
use crate::table::Table;

/// Rounds, after a first one that does not count.
const ROUNDS: usize = 15;
/// Calls of a command in a row: one is too short to be timed by a shell.
const CALLS: usize = 20;

/// A command of ours, one of systemd's that does as much, and how many times as long ours may take.
const PAIRS: [(&str, &str, f64); 2] = [
    ("conductor --help", "systemctl --version", 1.5),
    ("conductor service list", "systemctl list-units --no-pager", 0.8),
];

/// Calls commands in turn with systemd's.
pub(crate) fn measure(host: &Host, table: &mut Table) -> Outcome {
    let machine = running(host, 10)?;
    for (ours, theirs, limit) in PAIRS {
        let rounds = (0..=ROUNDS).map(|_| (call(&machine, ours), call(&machine, theirs))).skip(1);
        let (mine, its): (Vec<_>, Vec<_>) = rounds.unzip();
        table.compare(&format!("{ours}, {host}, against {theirs}"), median(&mine), median(&its), limit);
    }
    Ok(())
}

/// The milliseconds of one call.
fn call(machine: &Machine, command: &str) -> f64 {
    let calls = format!("for call in $(seq {CALLS}); do {command}; done >/dev/null");
    milliseconds(machine, &calls) / CALLS as f64
}
