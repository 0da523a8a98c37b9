//! `[[port]]`: sockets of a service that lead to its first slot, with no reverse proxy between.

use crate::error::Result;
use crate::model::{Service, ServiceName};
use crate::render::bridge::port_name;
use crate::systemd::Manager;

/// Opens what is declared, once the service serves, and closes what is not any more. A port that is open stays so.
///
/// # Errors
/// What systemd refuses: somebody else's port, say.
pub fn open(manager: Manager, service: &Service) -> Result<()> {
    let wanted: Vec<_> =
        service.ports.iter().map(|listen| format!("{}.socket", port_name(&service.name, listen))).collect();
    let mut gone = sockets(manager, &service.name)?;
    gone.retain(|unit| !wanted.contains(unit));
    let relays: Vec<_> = gone.iter().map(|unit| unit.replace(".socket", ".service")).collect();
    manager.stop(&gone)?;
    manager.stop(&relays)?;
    Ok(manager.start(&wanted)?)
}

/// Takes no more callers; those that are connected stay so.
///
/// # Errors
/// What systemd refuses.
pub fn close(manager: Manager, name: &ServiceName) -> Result<()> {
    Ok(manager.stop(&sockets(manager, name)?)?)
}

/// Parts from all callers, once the deployments have drained.
///
/// # Errors
/// What systemd refuses.
pub fn part(manager: Manager, name: &ServiceName) -> Result<()> {
    Ok(manager.stop(&manager.active(&format!("{}.service", port_name(name, "*")))?)?)
}

fn sockets(manager: Manager, name: &ServiceName) -> Result<Vec<String>> {
    Ok(manager.active(&format!("{}.socket", port_name(name, "*")))?)
}
