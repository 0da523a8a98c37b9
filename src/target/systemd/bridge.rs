//! The bridge from a deployment's socket to where it listens, systemd-socket-proxyd(8).

use askama::Template;

use crate::escape::{Raw, Text};
use crate::layout::Layout;
use crate::model::{ListenKind, Listener, Service};
use crate::names::listener::variable;
use crate::names::{ENDPOINT, GenerationId};
use crate::target::systemd::deployment::DeploymentSocket;
use crate::target::systemd::unit::{Argument, Common, PerInstance, RELAY, finish};
use crate::timespan;
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/bridge.service", escape = "none")]
struct Bridge<'a> {
    common: Common<'a>,
    id: &'a GenerationId,
    /// For people, before "deployment 1".
    what: String,
    /// The template of the socket whose callers it connects, without its suffix.
    socket: String,
    environment: Option<String>,
    /// Whether the bridge's process waits for the deployment, instead of systemd.
    waits: bool,
    relay: String,
    families: &'static str,
}

/// Adds the units between a deployment's sockets and what is bound behind them.
pub(super) fn render(layout: &Layout, service: &Service, id: &GenerationId, tree: &mut Tree) {
    for listener in service.listen.bridged() {
        render_one(layout, service, id, listener, tree);
    }
}

fn render_one(layout: &Layout, service: &Service, id: &GenerationId, listener: Listener, tree: &mut Tree) {
    let name = service.name.as_str();
    let sockets = layout.sockets(&service.name, id);
    let deployments = layout.deployments().join(format!("{name}-{id}-"));
    let idle = service.listen.idle_timeout.map(timespan::format);
    let waits = idle.is_some();
    let endpoint = match listener.kind {
        ListenKind::Tcp if waits => None,
        ListenKind::Tcp => Some(format!("${{{}}}", variable(ENDPOINT, listener.name))),
        // What a process has bound itself may rest, and get a name of root's.
        ListenKind::Unix if waits => Some(format!("{sockets}/%i.bound")),
        ListenKind::Unix | ListenKind::Activation => Some(format!("{sockets}/%i.d/socket")),
        ListenKind::None => return,
    };
    let environment = (listener.kind == ListenKind::Tcp).then(|| format!("{deployments}%i/environment"));
    let mut relay = match idle {
        None => RELAY.to_owned(),
        Some(idle) => {
            let option = if endpoint.is_none() { " --address" } else { "" };
            let dir = PerInstance(Argument(&deployments)).to_string();
            format!("{} deployment _relay{option} {dir} -- {RELAY} --exit-idle-time={idle}", layout.program())
        }
    };
    relay.extend(endpoint.iter().flat_map(|endpoint| [" ", endpoint]));
    let (unit, socket) = match listener.name {
        None => (service.name.bridge_template(id), service.name.template(id)),
        Some(name) => (service.name.listener_template(id, name), service.name.listener_template(id, name)),
    };
    let bridge = Bridge {
        common: Common::new(layout, service),
        id,
        what: listener.name.map_or_else(|| "bridge to".to_owned(), |name| format!("bridge {name} to")),
        socket,
        environment: environment.filter(|_| !waits),
        waits,
        relay,
        families: "AF_UNIX AF_INET AF_INET6",
    };
    tree.file(format!("{unit}.service"), finish(&bridge));
    if listener.kind == ListenKind::Activation {
        let inner = DeploymentSocket {
            common: Common::new(layout, service),
            id,
            what: "socket behind the bridge of".to_owned(),
            sockets: Text(sockets.as_str()),
            path: Raw("%i.d/socket"),
            descriptor: "listen",
            service: Some(format!("{}%i.service", service.name.template(id))),
            outlasts: false,
            polls_without_limit: false,
            passthrough_socket: Vec::new(),
        };
        tree.file(format!("{}.socket", service.name.inner_template(id)), finish(&inner));
    }
}
