//! Who listens at an address that a service is to have.

use std::fmt;
use std::net::SocketAddr;

use crate::accounts;
use crate::compile::port::overlap;
use crate::deployment::listener::{self, Listener};
use crate::engine::podman::runtime;
use crate::model::Port;
use crate::names::{Deployment, ServiceName};
use crate::systemd::Manager;

/// The manager, which holds the sockets of socket units.
const MANAGER: u32 = 1;

/// Who listens at an address.
pub(crate) struct PortHolder {
    pub(crate) address: SocketAddr,
    user: String,
    /// The number of a process and the name of its program, if the caller may see it.
    process: Option<(u32, String)>,
    unit: Option<String>,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.unit, &self.process) {
            (Some(unit), None | Some((MANAGER, _))) => out.write_str(unit),
            (Some(unit), Some((pid, program))) => write!(out, "{unit} ({program}, process {pid})"),
            (None, Some((pid, program))) => write!(out, "{program} (process {pid} of the user {})", self.user),
            (None, None) => write!(out, "the user {}", self.user),
        }
    }
}

impl PortHolder {
    /// Finds who of the `listeners`, which are of the port's protocol, has its address; None if nobody has.
    pub(crate) fn find(manager: Manager, listeners: &[Listener], port: &Port) -> Option<Self> {
        let (listen, kind) = (&port.listen, format!("{:?}", port.protocol));
        let found = listeners.iter().find(|one| overlap(&one.address.to_string(), listen))?;
        let user = accounts::user(&found.user.to_string()).ok().flatten().map(|user| user.name);
        let process = listener::process(found);
        let unit = match &process {
            Some((MANAGER, _)) => manager.socket_at(|address, of| of == kind && overlap(address, listen)),
            Some((pid, _)) => runtime::group_of(&pid.to_string()).ok().flatten().and_then(|group| {
                let unit = group.rsplit('/').next().map(str::to_owned);
                unit.filter(|unit| !unit.is_empty())
            }),
            None => None,
        };
        Some(Self { address: found.address, user: user.unwrap_or_else(|| found.user.to_string()), process, unit })
    }

    /// Returns whether the caller sees whose socket it is. A user's manager holds the sockets of that user's units.
    pub(crate) fn is_known(&self) -> bool {
        self.process.as_ref().is_some_and(|(pid, program)| *pid == MANAGER || program != "systemd")
    }

    /// Returns whether it is a unit of a service.
    pub(crate) fn is_of(&self, service: &ServiceName) -> bool {
        let patterns = service.port_patterns();
        self.unit.as_deref().is_some_and(|unit| {
            let is_port = patterns.iter().any(|pattern| unit.starts_with(pattern.trim_end_matches('*')));
            is_port || Deployment::from_unit(unit).is_some_and(|one| one.service == *service)
        })
    }
}
