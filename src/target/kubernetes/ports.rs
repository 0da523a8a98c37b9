//! The ports of a service's pods, and those of its Services.

use std::collections::BTreeSet;

use crate::model::{ListenKind, Port, Protocol, Service};
use crate::names::ListenerName;

/// The first port of a pod that the declaration does not number.
const FIRST: u16 = 8080;
/// Below this a process needs a capability to bind a port, ip(7).
const UNPRIVILEGED: u16 = 1024;
/// What is added to ports that pods cannot bind.
const RAISED: u16 = 10_000;
/// The port of a Service for HTTP.
const HTTP: u16 = 80;

/// A port that pods listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodPort {
    /// At most 15 characters, RFC 6335.
    pub(super) name: String,
    pub(super) number: u16,
    /// The name of the socket in `$LISTEN_FDNAMES` if the process is passed it.
    pub(super) descriptor: Option<String>,
    /// The listener that it is; None for a port whose socket is passed to the process.
    pub(super) listener: Option<Option<ListenerName>>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServicePort {
    pub(super) name: String,
    pub(super) number: u16,
    /// The name of the pods' port.
    pub(super) target: String,
    /// Whether callers outside of the cluster reach it.
    pub(super) is_public: bool,
}

/// All ports of a service.
#[derive(Debug, Clone, Default)]
pub(super) struct Ports {
    pub(super) of_pods: Vec<PodPort>,
    pub(super) of_service: Vec<ServicePort>,
}

/// An address of `[[port]]` that Kubernetes knows: its number, and whether it is one of all addresses.
pub(super) fn address(listen: &str) -> Option<(u16, bool)> {
    if let Ok(number) = listen.parse() {
        return Some((number, true));
    }
    let address: std::net::SocketAddr = listen.parse().ok()?;
    Some((address.port(), address.ip().is_unspecified()))
}

/// Returns the name of a listener's port.
pub(super) fn name_of(listener: Option<&ListenerName>) -> String {
    listener.map_or("listen", ListenerName::as_str).to_owned()
}

impl Ports {
    pub(super) fn of(service: &Service) -> Self {
        let mut ports = Self::default();
        let mut taken = BTreeSet::new();
        let is_stream = |port: &&Port| port.protocol == Protocol::Stream;
        for (port, passed) in
            service.ports.iter().filter(is_stream).filter_map(|port| Some((port, port.passed.as_ref()?)))
        {
            let Some((number, is_public)) = address(&port.listen) else { continue };
            let inside = if number < UNPRIVILEGED { number + RAISED } else { number };
            let name = format!("port-{number}");
            let descriptor = Some(passed.name.clone().unwrap_or_else(|| name.clone()));
            ports.of_service.push(ServicePort { name: name.clone(), number, target: name.clone(), is_public });
            if taken.insert(inside) {
                ports.of_pods.push(PodPort { name, number: inside, descriptor, listener: None });
            }
        }
        let mut free = FIRST;
        for listener in service.listen.all().filter(|listener| listener.kind != ListenKind::Unix) {
            let declared = service.port_inside(listener);
            let number = declared.unwrap_or_else(|| {
                while taken.contains(&free) {
                    free += 1;
                }
                free
            });
            taken.insert(number);
            let name = name_of(listener.name);
            let descriptor = (listener.kind == ListenKind::Activation).then(|| name.clone());
            let outside = if listener.name.is_none() { HTTP } else { ports.free_outside(number) };
            ports.of_service.push(ServicePort {
                name: name.clone(),
                number: outside,
                target: name.clone(),
                is_public: false,
            });
            ports.of_pods.push(PodPort { name, number, descriptor, listener: Some(listener.name.cloned()) });
        }
        for port in service.relayed_ports() {
            let Some((number, is_public)) = address(&port.listen) else { continue };
            let target = name_of(port.listener.as_ref());
            ports.of_service.push(ServicePort { name: format!("port-{number}"), number, target, is_public });
        }
        ports
    }

    fn free_outside(&self, number: u16) -> u16 {
        let is_free = |number: &u16| *number != HTTP && self.of_service.iter().all(|port| port.number != *number);
        (number..).find(is_free).unwrap_or(number)
    }

    /// Finds the port of a listener.
    pub(super) fn listener(&self, listener: Option<&ListenerName>) -> Option<&PodPort> {
        self.of_pods.iter().find(|port| port.listener.as_ref().is_some_and(|name| name.as_ref() == listener))
    }
}
