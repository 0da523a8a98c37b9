//! Probes of a pod's containers, as health checks of its deployment.
//!
//! Conductor asks until a deployment takes traffic, and no longer: what Kubernetes counts and waits for in a pod that
//! runs (`periodSeconds`, `failureThreshold`, `initialDelaySeconds`) has no meaning here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::{Container, HttpGet, Probe};
use super::place::Place;
use crate::diagnostic::Diagnostic;
use crate::model::{Check, Command, Health};
use crate::resolve::request::{Mistake, mistake_of_name, mistake_of_path, mistake_of_value};

/// A check that must pass before a deployment takes traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Readiness {
    /// The pod in whose network it is asked.
    pub(crate) pod: String,
    /// The port that is asked, in the pod's network; None for a command.
    pub(crate) port: Option<u16>,
    pub(crate) health: Health,
}

/// The checks of containers' probes, and notes about those that are not asked.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    pub(crate) checks: Vec<Readiness>,
    pub(crate) notes: Vec<Diagnostic>,
}

impl Probes {
    /// Adds those of a container at `at` in a pod; `health` has the limits, and says whether probes are asked.
    ///
    /// # Errors
    /// A value that is wrong.
    pub(crate) fn add(
        &mut self,
        at: &Place,
        pod: &str,
        container: &mut Container,
        health: &Health,
    ) -> Result<(), Diagnostic> {
        if container.liveness_probe.take().is_some() {
            let remedy = "let a process that cannot serve exit: it is started again";
            let message = "conductor asks no running container: a livenessProbe is not used";
            self.notes.push(at.join("livenessProbe").error(message, remedy));
        }
        let (readiness, startup) = (container.readiness_probe.take(), container.startup_probe.take());
        if health.check != Check::Probes {
            for (key, probe) in [("readinessProbe", &readiness), ("startupProbe", &startup)] {
                if probe.is_some() {
                    let message = format!("[health] of service.toml is asked: the {key} is not used");
                    self.notes.push(at.join(key).error(message, "remove the one or the other"));
                }
            }
            return Ok(());
        }
        if readiness.is_some() && startup.is_some() {
            let message = "the readinessProbe is asked from the beginning: the startupProbe is not used";
            let remedy = "remove it; health_timeout in [deploy] limits how long a start may take";
            self.notes.push(at.join("startupProbe").error(message, remedy));
        }
        let probe = readiness.map(|probe| ("readinessProbe", probe)).or(startup.map(|probe| ("startupProbe", probe)));
        let Some((key, probe)) = probe else { return Ok(()) };
        let (check, port) = self.check(&at.join(key), pod, container, &probe)?;
        let timeout = probe.timeout_seconds.map_or(health.timeout, |seconds| Duration::from_secs(seconds.max(1)));
        self.checks.push(Readiness { pod: pod.to_owned(), port, health: Health { check, timeout, ..health.clone() } });
        Ok(())
    }

    /// Returns a probe's check, and the port that it asks.
    fn check(
        &mut self,
        at: &Place,
        pod: &str,
        container: &Container,
        probe: &Probe,
    ) -> Result<(Check, Option<u16>), Diagnostic> {
        if let Some(exec) = &probe.exec {
            if exec.command.is_empty() {
                return Err(at.join("exec").error("the command is empty", "write exec: {command: [pg_isready]}"));
            }
            let container = format!("{pod}-{}", container.name.as_deref().unwrap_or_default());
            return Ok((Check::Inside { container, command: Command(exec.command.clone()) }, None));
        }
        let accepts = "conductor waits until the port accepts a connection";
        if let Some(get) = &probe.http_get {
            let at = at.join("httpGet");
            let port = port(&at, container, get.port.as_ref())?;
            if get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
                let message = format!("health checks speak no TLS: {accepts}");
                self.notes.push(at.join("scheme").error(message, "write a command in exec to ask more"));
                return Ok((Check::Tcp, Some(port)));
            }
            return Ok((http(&at, get)?, Some(port)));
        }
        if let Some(socket) = &probe.tcp_socket {
            return Ok((Check::Tcp, Some(port(&at.join("tcpSocket"), container, socket.port.as_ref())?)));
        }
        if let Some(socket) = &probe.grpc {
            let at = at.join("grpc");
            let port = port(&at, container, socket.port.as_ref())?;
            let message = format!("health checks speak no gRPC: {accepts}");
            self.notes.push(at.error(message, "write a command such as grpc_health_probe in exec to ask more"));
            return Ok((Check::Tcp, Some(port)));
        }
        Err(at.error("the probe asks nothing", "write httpGet: {path: /healthz, port: 8080}, tcpSocket or exec"))
    }
}

/// Returns the port of a probe, which may be the name of one of the container's.
fn port(at: &Place, container: &Container, port: Option<&Value>) -> Result<u16, Diagnostic> {
    let ports = || container.ports.iter().flatten();
    let number = match port {
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Some(Value::String(name)) => {
            let named = ports().find(|port| port.name.as_ref() == Some(name));
            named.and_then(|port| port.container_port).or_else(|| name.parse().ok())
        }
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(|| {
        let names: Vec<_> = ports().filter_map(|port| port.name.as_deref()).collect();
        let known =
            if names.is_empty() { String::new() } else { format!(", or a name in ports: {}", names.join(", ")) };
        at.join("port").error("neither a port nor the name of one", format!("write port: 8080{known}"))
    })
}

fn http(at: &Place, get: &HttpGet) -> Result<Check, Diagnostic> {
    if get.host.is_some() {
        let remedy = "take it out; httpHeaders: [{name: Host, value: …}] sends another name";
        return Err(at.join("host").error("the pod itself is asked", remedy));
    }
    let wrong = |at: Place, Mistake { message, remedy }: Mistake| Err(at.error(message, remedy));
    let path = match get.path.as_deref().unwrap_or_default() {
        "" => "/",
        path => path,
    };
    if let Some(mistake) = mistake_of_path(path) {
        return wrong(at.join("path"), mistake);
    }
    let mut headers = BTreeMap::new();
    for (index, header) in get.http_headers.iter().flatten().enumerate() {
        let at = at.join("httpHeaders").join(index);
        if let Some(mistake) = mistake_of_name(&header.name).or_else(|| mistake_of_value(&header.value)) {
            return wrong(at, mistake);
        }
        headers.insert(header.name.clone(), header.value.clone());
    }
    Ok(Check::Http { path: path.to_owned(), status: Vec::new(), headers, body: None, announced: false })
}
