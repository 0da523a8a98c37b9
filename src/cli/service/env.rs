//! `conductor service env`

use crate::cli::{Context, Failure, Outcome, environment};
use crate::environment::Environment;
use crate::names::ServiceName;
use crate::{compile, live};

/// What all deployments have in common, of the generation that serves or else would.
pub fn run(context: &Context, name: &ServiceName, json: bool) -> Outcome {
    let layout = &context.layout;
    let environment = match live::of(layout, name) {
        Some(live) => {
            let id = live.current(layout);
            Environment::of(&live.units(layout, id)?, name, id, None)
        }
        None => {
            let compiled = compile::compile_located(layout, &context.location(name.as_str())?, context.systemd());
            let compiled = compiled.map_err(Failure::Declaration)?;
            Environment::of(&compiled.units, name, &compiled.id, None)
        }
    };
    environment::print(&environment, json)
}
