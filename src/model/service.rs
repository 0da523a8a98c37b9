//! A service: its engine, its addresses, and how its deployments replace each other.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::declaration::{CommandScope, ListenKind, Strategy};
use crate::model::command::Command;
use crate::model::deploy::{Deploy, Hooks, RunningHook};
use crate::model::file::File;
use crate::model::health::Health;
use crate::model::job::Job;
use crate::model::listen::{Listen, Listener, Port};
use crate::model::process::Process;
use crate::model::route::Route;
use crate::model::setting::Setting;
use crate::model::systemd::Systemd;
use crate::names::ServiceName;

/// A service, and its settings for single targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub service: Service,
    pub systemd: Systemd,
}

/// The settings of a service that hold for any target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    /// The group, if the service is a part.
    pub(crate) group: Option<Group>,
    pub description: String,
    /// Deployments in parallel, 1 to `slots`.
    pub(crate) concurrency: u32,
    /// Fixed upstreams of the proxy.
    pub(crate) slots: u32,
    pub process: Process,
    pub listen: Listen,
    pub(crate) health: Health,
    pub(crate) routes: Vec<Route>,
    /// Addresses at which it is reached without a reverse proxy.
    pub(crate) ports: Vec<Port>,
    pub(crate) deploy: Deploy,
    pub hooks: Hooks,
    /// Commands for people, by name.
    pub(crate) commands: BTreeMap<String, RunCommand>,
    /// Services that are declared and started before this one.
    pub dependencies: Vec<Dependency>,
    /// Parts of its group that are ready before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<ServiceName>,
    /// Conditions that must all hold for the service to start.
    pub(crate) conditions: Vec<Setting>,
    /// Variables that listings show as columns.
    pub(crate) display: Vec<String>,
    /// Limits of all its deployments together.
    pub(crate) resources: Vec<Setting>,
    /// The declaration's files, by path.
    pub(crate) files: Vec<File>,
    /// The `service.toml` that it comes from.
    pub source: Utf8PathBuf,
}

impl Service {
    /// Returns the service that people declare: this one, or its group.
    pub(crate) fn declared_as(&self) -> &ServiceName {
        self.group.as_ref().map_or(&self.name, |group| &group.name)
    }

    /// Returns the dependencies of the service or, for a part, of its group.
    pub(crate) fn dependencies(&self) -> &[Dependency] {
        self.group.as_ref().map_or(&self.dependencies, |group| &group.dependencies)
    }

    /// Returns its jobs, by name.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = (&str, &RunCommand, &Job)> {
        self.commands.iter().filter_map(|(name, command)| Some((name.as_str(), command, command.job.as_ref()?)))
    }

    /// Lists the ports whose callers a relay connects to the first slot.
    pub(crate) fn relayed_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.passed.is_none())
    }

    /// Lists the ports whose sockets the processes take.
    pub(crate) fn passed_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.passed.is_some())
    }

    /// Returns the address at which parts in containers reach this one by its name.
    pub(crate) fn address(&self) -> Option<SocketAddrV4> {
        let (_, part) = self.name.split_part()?;
        let address = self.process.parts.get(part)?;
        Some(SocketAddrV4::new(*address, self.process.engine.port()?))
    }

    /// Returns the port that other parts reach by the name of this one.
    pub(crate) fn named_port(&self) -> Option<Port> {
        Some(Port::plain(self.address()?.to_string()))
    }

    /// Returns whether callers wait in a queue while no deployment serves: those of relays would be accepted and
    /// disconnected, and with the recreate strategy there is such a gap in each rollout.
    pub(crate) fn has_queue(&self) -> bool {
        let recreates = self.listen.has_callers() && self.deploy.strategy == Strategy::Recreate;
        self.relayed_ports().next().is_some() || self.address().is_some() || recreates
    }

    /// Returns whether a hook runs in a container of a deployment.
    pub(crate) fn runs_inside(&self, hook: RunningHook) -> bool {
        self.process.engine.is_privileged() && self.hooks.inside.contains(&hook)
    }

    /// Returns whether only the engine knows the address of a running deployment.
    pub(crate) fn is_asked_for_address(&self) -> bool {
        let listen = &self.listen;
        let kinds = || listen.further.values().map(|further| further.kind).chain([listen.kind]);
        self.process.engine.has_own_network() && kinds().any(|kind| kind != ListenKind::Activation)
    }

    /// Returns whether a deployment's process binds ports of the host, which it gets when it starts.
    pub(crate) fn binds_port(&self) -> bool {
        self.listen.has(ListenKind::Tcp) && !self.process.engine.has_own_network()
    }

    /// Returns the port of a listener in the deployment's container; None for one that is not on TCP.
    pub(crate) fn port_inside(&self, listener: Listener) -> Option<u16> {
        match listener.name {
            None => self.process.engine.port(),
            Some(name) => self.listen.further.get(name)?.port,
        }
    }

    /// Returns whether some variables of a deployment are known only when it starts.
    pub(crate) fn has_environment_file(&self) -> bool {
        let process = &self.process;
        process.engine.has_environment_file()
            || self.listen.has(ListenKind::Tcp)
            || !process.environment_files.is_empty()
    }
}

/// A group of parts: one unit that starts, reloads and stops them, and limits that they share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub(crate) name: ServiceName,
    pub(crate) description: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) conditions: Vec<Setting>,
    /// Limits of all parts together.
    pub(crate) resources: Vec<Setting>,
}

/// A command for people: `conductor run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCommand {
    pub(crate) description: Option<String>,
    pub(crate) exec: Command,
    pub(crate) scope: CommandScope,
    /// Whether it runs in a container of its own, of the service's image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) inside: bool,
    /// When it runs by itself, which makes it a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<Job>,
}

/// Another service that is declared and started first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub name: ServiceName,
    /// The directory as declared, relative to that of the declaration.
    pub(crate) dir: Utf8PathBuf,
    pub(crate) vars: BTreeMap<String, String>,
}
