//! `[hooks] verify`: a command that says whether a canary may take its next step.

use crate::compile::host::Compiled;
use crate::error::{Error, Result};
use crate::layout::Scope;
use crate::live::Target;
use crate::names::{Deployment, GenerationId, PROXY_GROUP};
use crate::service::canary::own;
use crate::service::machine::Machine;
use crate::service::run::Generation;

/// The variables that the hook has beside those of a service.
pub const OF_VERIFY: &[&str] = &[
    "CONDUCTOR_STABLE_GENERATION",
    "CONDUCTOR_STABLE_SOCKET",
    "CONDUCTOR_CANARY_GENERATION",
    "CONDUCTOR_CANARY_SOCKET",
    "CONDUCTOR_CANARY_SLOTS",
    "CONDUCTOR_NEXT_SLOTS",
    "CONDUCTOR_SLOTS",
];

/// Runs the hook of a generation before it gets `next` slots, beside the generation that served `before`.
///
/// # Errors
/// The hook's last lines, and why it failed.
pub(crate) fn run(machine: &Machine, compiled: &Compiled, before: &Target, next: u32) -> Result<()> {
    let Compiled { service, id, .. } = compiled;
    let Some(hook) = &service.hooks.verify else { return Ok(()) };
    let (layout, name) = (machine.layout, &service.name);
    let socket = |id: &GenerationId| match service.listen.main() {
        Some(_) => Deployment::new(name, id, 1).socket(layout, None).into_string(),
        None => String::new(),
    };
    let old = &before.generation;
    let slots = own(before, id).map_or(0, |canary| canary.slots);
    let values = [
        old.to_string(),
        socket(old),
        id.to_string(),
        socket(id),
        slots.to_string(),
        next.to_string(),
        service.slots.to_string(),
    ];
    let mut properties: Vec<_> =
        OF_VERIFY.iter().zip(values).map(|(name, value)| format!("--setenv={name}={value}")).collect();
    if layout.scope == Scope::System {
        // The group reaches all sockets; only those of the two generations are there.
        properties.push(format!("--property=SupplementaryGroups={PROXY_GROUP}"));
        properties.push(format!("--property=TemporaryFileSystem={}:ro", layout.runtime()));
        let sockets = [old, id].map(|id| layout.sockets(name, id).into_string());
        properties.push(format!("--property=BindReadOnlyPaths={}", sockets.join(" ")));
    }
    let ran = Generation::of(machine, compiled).run_hook(machine, "verify", hook, &properties);
    ran.map_err(|failure| Error(failure.into_text()))
}
