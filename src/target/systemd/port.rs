//! `[[port]]`, and the address of a part: what callers reach without a reverse proxy, through systemd-socket-proxyd(8) or by a socket that
//! the processes take, `Sockets=` of systemd.service(5).

use askama::Template;

use crate::escape::{Text, Word};
use crate::layout::Layout;
use crate::model::{Port, Protocol, Service};
use crate::names::{NAMES_NAMESPACE, NAMES_UNIT};
use crate::target::systemd::unit::{Common, RELAY, finish, polls_without_limit};
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/port.socket", escape = "none")]
struct PortSocket<'a> {
    common: Common<'a>,
    listen: &'a str,
    /// The network namespace of the socket, and the unit that sets it up; None for that of the host.
    namespace: Option<(&'static str, &'static str)>,
    polls_without_limit: bool,
}

#[derive(Template)]
#[template(path = "systemd/port.service", escape = "none")]
struct PortService<'a> {
    common: Common<'a>,
    listen: &'a str,
    /// It takes the socket as its standard input.
    announces: bool,
    relay: String,
    families: &'static str,
}

#[derive(Template)]
#[template(path = "systemd/passed.socket", escape = "none")]
struct PassedSocket<'a> {
    common: Common<'a>,
    port: &'a Port,
    is_datagram: bool,
    name: Option<Text<'a>>,
    polls_without_limit: bool,
}

#[derive(Template)]
#[template(path = "systemd/passed.service", escape = "none")]
struct PassedService<'a> {
    common: Common<'a>,
    port: &'a Port,
    unit: &'a str,
}

/// Adds the units of each port.
pub(super) fn render(layout: &Layout, service: &Service, systemd: Option<u16>, tree: &mut Tree) {
    render_relayed(layout, service, systemd, tree);
    for port in service.passed_ports() {
        let unit = port.unit(&service.name);
        let socket = PassedSocket {
            common: Common::new(layout, service),
            port,
            is_datagram: port.protocol == Protocol::Datagram,
            name: port.passed.as_ref().and_then(|passed| passed.name.as_deref()).map(Text),
            polls_without_limit: polls_without_limit(systemd),
        };
        let placeholder = PassedService { common: Common::new(layout, service), port, unit: &unit };
        tree.file(format!("{unit}.socket"), finish(&socket));
        tree.file(format!("{unit}.service"), finish(&placeholder));
    }
}

/// Adds each port's socket, and what connects its callers to the first slot of its listener.
fn render_relayed(layout: &Layout, service: &Service, systemd: Option<u16>, tree: &mut Tree) {
    let named = service.named_port();
    let of_name = named.iter().map(|port| (port, Some((NAMES_NAMESPACE, NAMES_UNIT))));
    for (port, namespace) in service.relayed_ports().map(|port| (port, None)).chain(of_name) {
        let (unit, listen) = (port.unit(&service.name), &port.listen);
        let polls_without_limit = polls_without_limit(systemd);
        let socket = PortSocket { common: Common::new(layout, service), listen, namespace, polls_without_limit };
        let (common, families) = (Common::new(layout, service), "AF_UNIX AF_INET AF_INET6 AF_VSOCK");
        let relay = match port.proxy_protocol {
            true => format!("{} service _announce", layout.program()),
            false => RELAY.to_owned(),
        };
        let slot = layout.slot(&service.name, 1, port.listener.as_ref());
        let relay = format!("{relay} {}", Word(slot.as_str()));
        let relay = PortService { common, listen, announces: port.proxy_protocol, relay, families };
        tree.file(format!("{unit}.socket"), finish(&socket));
        tree.file(format!("{unit}.service"), finish(&relay));
    }
}
