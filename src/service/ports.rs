//! `[[port]]`: sockets of a service that lead to its first slot, with no reverse proxy between.

use crate::error::Result;
use crate::model::Service;
use crate::names::ServiceName;
use crate::systemd::Manager;

const SOCKET: &str = ".socket";

/// Opens what is declared, once the service serves, and closes what is not any more. A port that is open stays so.
///
/// # Errors
/// What systemd refuses: somebody else's port, say.
pub fn open(manager: Manager, service: &Service) -> Result<()> {
    let wanted: Vec<_> = service.ports.iter().map(|listen| format!("{}{SOCKET}", service.name.port(listen))).collect();
    let mut gone = manager.active(&format!("{}{SOCKET}", service.name.port_pattern()))?;
    gone.retain(|unit| !wanted.contains(unit));
    manager.stop(&gone)?;
    manager.stop(&relays(&gone))?;
    Ok(manager.start(&wanted)?)
}

/// Takes no more callers; those that are connected stay so for as long as the units do that are returned.
///
/// # Errors
/// What systemd refuses.
pub fn close(manager: Manager, name: &ServiceName) -> Result<Vec<String>> {
    let units = manager.active(&name.port_pattern())?;
    let (open, mut connected): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| unit.ends_with(SOCKET));
    manager.stop(&open)?;
    // A last caller may have come meanwhile.
    connected.extend(relays(&open));
    connected.sort();
    connected.dedup();
    Ok(connected)
}

/// What connects the callers of sockets.
fn relays(sockets: &[String]) -> Vec<String> {
    sockets.iter().map(|unit| unit.replace(SOCKET, ".service")).collect()
}
