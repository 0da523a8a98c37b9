//! `conductor service logs`

use std::collections::BTreeSet;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::journal;
use crate::layout::Scope;
use crate::names::{GenerationId, ServiceName};
use crate::service::parts::{group_of, members};

/// Shows what the service's processes and hooks logged, and what systemd logged about the service.
pub(crate) fn run(
    context: &Context,
    name: &ServiceName,
    generation: Option<&GenerationId>,
    options: &journal::Options,
) -> Outcome {
    if let Some(id) = generation {
        return journal::show(context, &[format!("--unit={name}-{id}@*.service")], options);
    }
    let parts = members(&context.layout, name)?;
    let names: BTreeSet<_> = parts.iter().chain([name]).collect();
    let all = |key: &str, suffix: &str| names.iter().map(|name| format!("{key}={name}{suffix}")).collect::<Vec<_>>();
    let or = || vec!["+".to_owned()];
    // Any user can write an entry with any field, but not with those that journald adds itself, systemd.journal-fields(7).
    let group = group_of(&context.layout, name)?.unwrap_or_else(|| name.clone());
    let slices = parts.iter().map(|part| format!("_SYSTEMD_SLICE={}", part.slice(&group))).collect::<Vec<_>>();
    let matches: Vec<String> = match context.layout.scope {
        Scope::System => [
            all("CONDUCTOR_SERVICE", ""),
            slices,
            or(),
            // journald has no slice of a process that ended at once. Neither transport lets its sender add fields.
            all("CONDUCTOR_SERVICE", ""),
            ["stdout", "syslog"].map(|it| format!("_TRANSPORT={it}")).to_vec(),
            or(),
            all("CONDUCTOR_SERVICE", ""),
            vec!["_PID=1".to_owned()],
            or(),
            all("_SYSTEMD_UNIT", ".service"),
            or(),
            vec!["_PID=1".to_owned()],
            all("UNIT", ".service"),
        ]
        .concat(),
        // A user's manager cannot mark what its services log.
        Scope::User => [all("--unit", ".service"), all("--unit", "-*@*.service")].concat(),
    };
    journal::show(context, &matches, options)
}
