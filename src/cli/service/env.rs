//! `conductor service env`

use crate::cli::context::Context;
use crate::cli::environment;
use crate::cli::failure::{Failure, Outcome};
use crate::environment::Environment;
use crate::names::ServiceName;
use crate::{compile, live};

/// Prints the environment that all deployments have in common, of the generation that serves or else is declared.
pub(crate) fn run(context: &Context, name: &ServiceName, json: bool) -> Outcome {
    let layout = &context.layout;
    let environment = match live::of(layout, name)? {
        Some(live) => {
            let id = live.current(layout);
            Environment::of(&live.units(layout, id)?, name, id, None)
        }
        None => {
            let compiled = compile::compile_located(layout, &context.location(name.as_str())?, &context.target());
            let compiled = compiled.map_err(Failure::Declaration)?;
            Environment::of(&compiled.units(layout, &context.target()), name, &compiled.id, None)
        }
    };
    environment::print(&environment, json)
}
