//! `[[port]]`, and the address of a part: sockets of a service that its callers reach without a reverse proxy.

use crate::deployment::listener;
use crate::error::{Error, Result};
use crate::model::{Port, Service};
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
    let named = service.named_port();
    let wanted: Vec<_> = service.ports.iter().chain(&named).collect();
    let mut gone = before.to_vec();
    gone.retain(|unit| !wanted.iter().any(|port| *unit == socket(service, port)));
    manager.stop(&gone)?;
    manager.stop(&relays(&gone))?;
    start(manager, service, &wanted)
}

/// Opens the declared ports whose sockets the deployments take, before they start. Open ports stay open.
///
/// # Errors
/// If systemd cannot start a port, for example because it is in use.
pub(crate) fn open_passed(manager: Manager, service: &Service) -> Result<()> {
    start(manager, service, &service.passed_ports().collect::<Vec<_>>())
}

fn start(manager: Manager, service: &Service, ports: &[&Port]) -> Result<()> {
    let wanted: Vec<_> = ports.iter().map(|port| socket(service, port)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let Err(error) = manager.start(&wanted) else { return Ok(()) };
    let held = ports.iter().find_map(|port| {
        let is_open = manager.states(&[socket(service, port)]);
        let is_open = is_open.is_ok_and(|states| states.iter().any(|state| state == "active"));
        let listeners = listener::all(port.protocol).unwrap_or_default();
        let holder = PortHolder::find(manager, &listeners, port).filter(|_| !is_open)?;
        Some(format!("could not open the port {}: {holder} listens on {}", port.listen, holder.address))
    });
    Err(held.map_or_else(|| error.into(), Error))
}

fn socket(service: &Service, port: &Port) -> String {
    format!("{}{SOCKET}", port.unit(&service.name))
}

/// Closes the ports and queues of a service. Returns the units that connect the present callers until they are stopped.
///
/// # Errors
/// If systemd refuses a job.
pub(crate) fn close(manager: Manager, name: &ServiceName) -> Result<Vec<String>> {
    let [relayed, passed] = name.port_patterns();
    let mut units = Vec::new();
    for pattern in [relayed, passed, name.queue_pattern()] {
        units.extend(manager.active(&pattern)?);
    }
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
