//! The bridge from a deployment's socket to where it listens, systemd-socket-proxyd(8), and `[[port]]` tables.

use askama::Template;

use crate::escape::{Raw, Text, Word};
use crate::layout::Layout;
use crate::model::{ListenKind, Service};
use crate::names::GenerationId;
use crate::target::systemd::units::{Argument, Common, DeploymentSocket, PerInstance, finish};
use crate::timespan;
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/bridge.service", escape = "none")]
struct Bridge<'a> {
    common: Common<'a>,
    id: &'a GenerationId,
    environment: Option<String>,
    /// Whether its own process waits for the deployment, and not systemd.
    waits: bool,
    relay: String,
    families: &'static str,
}

#[derive(Template)]
#[template(path = "systemd/port.socket", escape = "none")]
struct PortSocket<'a> {
    common: Common<'a>,
    listen: &'a str,
    polls_without_limit: bool,
}

#[derive(Template)]
#[template(path = "systemd/port.service", escape = "none")]
struct PortService<'a> {
    common: Common<'a>,
    listen: &'a str,
    slot: Word<'a>,
    families: &'static str,
}

/// systemd-socket-proxyd(8), before its options and where it leads.
const RELAY: &str = "/usr/lib/systemd/systemd-socket-proxyd --connections-max=65536";

/// The units between a deployment's socket and what is bound behind it.
pub fn render(layout: &Layout, service: &Service, id: &GenerationId, tree: &mut Tree) {
    if !service.listen.is_bridged() {
        return;
    }
    let name = service.name.as_str();
    let sockets = layout.sockets(&service.name, id);
    let (environment, endpoint) = match service.listen.kind {
        ListenKind::Tcp => {
            let dir = layout.deployments().join(format!("{name}-{id}-%i"));
            (Some(format!("{dir}/environment")), "${CONDUCTOR_ENDPOINT}".to_owned())
        }
        ListenKind::Unix | ListenKind::Activation => (None, format!("{sockets}/%i.d/socket")),
    };
    let idle = service.listen.idle_timeout.map(timespan::format);
    let waits = idle.is_some();
    let relay = match idle {
        None => format!("{RELAY} {endpoint}"),
        Some(idle) => {
            let dir = PerInstance(Argument(&layout.deployments().join(format!("{name}-{id}-")))).to_string();
            format!("{} deployment _relay {dir} -- {RELAY} --exit-idle-time={idle}", layout.program())
        }
    };
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

/// systemd 256 and newer limit how often a socket is looked at, systemd.socket(5).
pub fn polls_without_limit(systemd: Option<u16>) -> bool {
    systemd.is_some_and(|version| version >= 256)
}

/// Each port's socket and what connects its callers to the first slot.
pub fn ports(layout: &Layout, service: &Service, systemd: Option<u16>, tree: &mut Tree) {
    let _name = service.name.as_str();
    let slot = layout.slots(&service.name).join("1");
    for listen in &service.ports {
        let unit = service.name.port(listen);
        let polls_without_limit = polls_without_limit(systemd);
        let socket = PortSocket { common: Common::new(layout, service), listen, polls_without_limit };
        let (common, families) = (Common::new(layout, service), "AF_UNIX AF_INET AF_INET6 AF_VSOCK");
        let relay = PortService { common, listen, slot: Word(slot.as_str()), families };
        tree.file(format!("{unit}.socket"), finish(&socket));
        tree.file(format!("{unit}.service"), finish(&relay));
    }
}
