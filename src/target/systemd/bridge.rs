//! The bridge from a deployment's socket to where it listens, systemd-socket-proxyd(8).

use askama::Template;

use crate::escape::{Raw, Text};
use crate::layout::Layout;
use crate::model::{ListenKind, Service};
use crate::names::GenerationId;
use crate::target::systemd::deployment::DeploymentSocket;
use crate::target::systemd::unit::{Argument, Common, PerInstance, RELAY, finish};
use crate::timespan;
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/bridge.service", escape = "none")]
struct Bridge<'a> {
    common: Common<'a>,
    id: &'a GenerationId,
    environment: Option<String>,
    /// Whether the bridge's process waits for the deployment, instead of systemd.
    waits: bool,
    relay: String,
    families: &'static str,
}

/// Adds the units between a deployment's socket and what is bound behind it.
pub(super) fn render(layout: &Layout, service: &Service, id: &GenerationId, tree: &mut Tree) {
    if !service.listen.is_bridged() {
        return;
    }
    let name = service.name.as_str();
    let sockets = layout.sockets(&service.name, id);
    let deployments = layout.deployments().join(format!("{name}-{id}-"));
    let idle = service.listen.idle_timeout.map(timespan::format);
    let waits = idle.is_some();
    let endpoint = match service.listen.kind {
        ListenKind::Tcp if waits => None,
        ListenKind::Tcp => Some("${CONDUCTOR_ENDPOINT}".to_owned()),
        // What a process has bound itself may rest, and get a name of root's.
        ListenKind::Unix if waits => Some(format!("{sockets}/%i.bound")),
        ListenKind::Unix | ListenKind::Activation => Some(format!("{sockets}/%i.d/socket")),
        ListenKind::None => return,
    };
    let environment = (service.listen.kind == ListenKind::Tcp).then(|| format!("{deployments}%i/environment"));
    let mut relay = match idle {
        None => RELAY.to_owned(),
        Some(idle) => {
            let option = if endpoint.is_none() { " --address" } else { "" };
            let dir = PerInstance(Argument(&deployments)).to_string();
            format!("{} deployment _relay{option} {dir} -- {RELAY} --exit-idle-time={idle}", layout.program())
        }
    };
    relay.extend(endpoint.iter().flat_map(|endpoint| [" ", endpoint]));
    let bridge = Bridge {
        common: Common::new(layout, service),
        id,
        environment: environment.filter(|_| !waits),
        waits,
        relay,
        families: "AF_UNIX AF_INET AF_INET6",
    };
    tree.file(format!("{}.service", service.name.bridge_template(id)), finish(&bridge));
    if service.listen.kind == ListenKind::Activation {
        let inner = DeploymentSocket {
            common: Common::new(layout, service),
            id,
            what: "socket behind the bridge of",
            sockets: Text(sockets.as_str()),
            path: Raw("%i.d/socket"),
            service: Some(format!("{}%i.service", service.name.template(id))),
            outlasts: false,
            polls_without_limit: false,
            passthrough_socket: Vec::new(),
        };
        tree.file(format!("{}.socket", service.name.inner_template(id)), finish(&inner));
    }
}
