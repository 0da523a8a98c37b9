//! Times of commands in a machine.

use conductor_machine::machine::Machine;

/// Runs shell commands in a machine, and returns the milliseconds that they take.
pub(crate) fn milliseconds(machine: &Machine, commands: &str) -> f64 {
    let timed = format!("start=$(date +%s%N); {commands}; end=$(date +%s%N); echo $(((end - start) / 1000))");
    machine.run(&timed).trim().parse::<f64>().expect("a number") / 1000.0
}
