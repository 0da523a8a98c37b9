//! Printing an environment.

use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::cli::table;
use crate::environment::Environment;

/// Prints `NAME=value` lines, then comments on what systemd adds.
pub(crate) fn print(environment: &Environment, json: bool) -> Outcome {
    if json {
        return table::print_json(&environment.variables);
    }
    for (name, value) in &environment.variables {
        outln!("{name}={value}");
    }
    for line in &environment.beside {
        outln!("# {line}");
    }
    Ok(())
}
