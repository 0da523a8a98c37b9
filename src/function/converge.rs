//! Brings the units of all functions, and the proxy's configuration, to what is declared.

use crate::compile::host::Host;
use crate::names::FunctionId;
use crate::proxy::publish;
use crate::service::failure::Result;
use crate::service::machine::Machine;
use crate::source::functions;

/// Starts the sockets of declared functions, and stops units of functions that are no longer declared.
///
/// # Errors
/// If systemd refuses a job.
pub(crate) fn converge(machine: &Machine, host: &Host) -> Result<()> {
    let manager = machine.manager;
    let wanted = host.functions.keys().map(|id| format!("{}.socket", id.unit()));
    // One of which that cannot be known stays.
    let is_declared = |unit: &str| {
        FunctionId::from_unit(unit).is_some_and(|id| !matches!(functions::find_one(machine.layout, &id), Ok(None)))
    };
    let active = manager.active("conductor-cgi-*")?;
    let is_unit = |unit: &&String| unit.ends_with(".socket") || unit.ends_with(".service");
    let stale: Vec<_> = active.iter().filter(is_unit).filter(|unit| !is_declared(unit)).cloned().collect();
    manager.stop(&stale)?;
    let missing: Vec<_> = wanted.filter(|unit| !active.contains(unit)).collect();
    Ok(manager.start(&missing)?)
}

/// Publishes the proxy's configuration of a compiled host if it has changed.
///
/// # Errors
/// If systemd refuses a job or the proxy its configuration.
pub(crate) fn publish(machine: &Machine, host: &Host) -> Result<()> {
    if !publish::is_published(machine.layout, &host.proxy) {
        publish::republish(machine.manager)?;
    }
    Ok(())
}
