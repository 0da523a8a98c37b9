//! An environment as people read it.

use crate::cli::output::outln;
use crate::cli::{Outcome, table};
use crate::environment::Environment;

/// Prints `NAME=value` lines in order, what comes from elsewhere as comments behind them.
pub fn print(environment: &Environment, json: bool) -> Outcome {
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
