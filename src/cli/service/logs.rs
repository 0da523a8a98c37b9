//! `conductor service logs`

use super::super::{Context, Outcome, journal};
use crate::layout::Scope;
use crate::model::ServiceName;

/// What its processes and hooks logged, and what systemd says of the service itself.
pub fn run(context: &Context, name: &ServiceName, options: &journal::Options) -> Outcome {
    let matches: Vec<String> = match context.layout.scope {
        Scope::System => vec![
            format!("CONDUCTOR_SERVICE={name}"),
            "+".to_owned(),
            format!("_SYSTEMD_UNIT={name}.service"),
            "+".to_owned(),
            "_PID=1".to_owned(),
            format!("UNIT={name}.service"),
        ],
        // A user's manager cannot mark what its services log.
        Scope::User => vec![format!("--unit={name}.service"), format!("--unit={name}-*@*.service")],
    };
    journal::show(context, &matches, options)
}
