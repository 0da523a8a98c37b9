//! `[[port]]`: sockets of a service that lead to its first slot without a reverse proxy.

use crate::deployment::listener;
use crate::error::{Error, Result};
use crate::model::Service;
use crate::names::ServiceName;
use crate::service::port_holder::PortHolder;
use crate::systemd::Manager;

const SOCKET: &str = ".socket";

/// Opens the declared ports of a service that serves, and closes those `before` that are no longer declared. Open ports
/// stay open.
///
/// # Errors
/// If systemd cannot start a port, for example because it is in use.
pub(crate) fn open(manager: Manager, service: &Service, before: &[String]) -> Result<()> {
    let wanted: Vec<_> = service.ports.iter().map(|listen| format!("{}{SOCKET}", service.name.port(listen))).collect();
    let mut gone = before.to_vec();
    gone.retain(|unit| !wanted.contains(unit));
    manager.stop(&gone)?;
    manager.stop(&relays(&gone))?;
    let Err(error) = manager.start(&wanted) else { return Ok(()) };
    let listeners = listener::all().unwrap_or_default();
    let held = service.ports.iter().find_map(|listen| {
        let unit = format!("{}{SOCKET}", service.name.port(listen));
        let is_open = manager.states(&[unit]).is_ok_and(|states| states.iter().any(|state| state == "active"));
        let holder = PortHolder::find(manager, &listeners, listen).filter(|_| !is_open)?;
        Some(format!("could not open the port {listen}: {holder} listens on {}", holder.address))
    });
    Err(held.map_or_else(|| error.into(), Error))
}

/// Closes the ports and queues of a service. Returns the units that connect the present callers until they are stopped.
///
/// # Errors
/// If systemd refuses a job.
pub(crate) fn close(manager: Manager, name: &ServiceName) -> Result<Vec<String>> {
    let mut units = manager.active(&name.port_pattern())?;
    units.extend(manager.active(&name.queue_pattern())?);
    let (open, mut connected): (Vec<_>, Vec<_>) = units.into_iter().partition(|unit| unit.ends_with(SOCKET));
    manager.stop(&open)?;
    // A last caller may have connected meanwhile.
    connected.extend(relays(&open));
    connected.sort();
    connected.dedup();
    Ok(connected)
}

/// Returns the units that connect the callers of sockets.
fn relays(sockets: &[String]) -> Vec<String> {
    sockets.iter().map(|unit| unit.replace(SOCKET, ".service")).collect()
}
