//! The bridge from a deployment's socket to where it listens, systemd-socket-proxyd(8), and [[port]]s.

use std::time::Duration;

use askama::Template;
use camino::Utf8Path;

use super::units::{finish, slice_name};
use crate::escape::{Text, UnitNamePart, Word};
use crate::generation::Id;
use crate::layout::{Layout, PROXY_GROUP, Scope};
use crate::model::{ListenKind, Service};
use crate::timespan;
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "bridge.service", escape = "none")]
struct Bridge<'a> {
    source: Text<'a>,
    description: Text<'a>,
    name: &'a str,
    id: &'a Id,
    exit_idle: Option<String>,
    environment: Option<String>,
    endpoint: String,
    system: bool,
    group: &'static str,
    slice: String,
}

#[derive(Template)]
#[template(path = "inner.socket", escape = "none")]
struct Inner<'a> {
    source: Text<'a>,
    description: Text<'a>,
    name: &'a str,
    id: &'a Id,
    sockets: Text<'a>,
    system: bool,
    group: &'static str,
    slice: String,
}

#[derive(Template)]
#[template(path = "port.socket", escape = "none")]
struct PortSocket<'a> {
    source: Text<'a>,
    description: Text<'a>,
    name: &'a str,
    listen: &'a str,
    slice: String,
    polls_without_limit: bool,
}

#[derive(Template)]
#[template(path = "port.service", escape = "none")]
struct PortService<'a> {
    source: Text<'a>,
    description: Text<'a>,
    listen: &'a str,
    slot: Word<'a>,
    system: bool,
    group: &'static str,
    slice: String,
}

/// `hello-0123456789ab-bridge@`
pub fn bridge_name(name: &impl std::fmt::Display, id: &Id) -> String {
    format!("{name}-{id}-bridge@")
}

/// `hello-0123456789ab-inner@`: the socket that a deployment takes behind its bridge.
pub fn inner_name(name: &impl std::fmt::Display, id: &Id) -> String {
    format!("{name}-{id}-inner@")
}

/// `hello-port@127.0.0.1-5432`, without its suffix: no service's name has an `@`, and another address is another unit.
/// The listing pattern of all of them has a `*` in its place. (A colon may be in a unit's name, but systemd-analyze(1)
/// takes what follows it for an alias.)
pub fn port_name(name: &impl std::fmt::Display, listen: &str) -> String {
    match listen {
        "*" => format!("{name}-port@*"),
        _ => format!("{name}-port@{}", UnitNamePart(&listen.replace(':', "/"))),
    }
}

/// The units between a deployment's socket and what is bound behind it.
pub fn render(layout: &Layout, service: &Service, id: &Id, tree: &mut Tree) {
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
    let bridge = Bridge {
        source: Text(service.source.as_str()),
        description: Text(&service.description),
        name,
        id,
        exit_idle: service.listen.idle_timeout.map(idle),
        environment,
        endpoint,
        system: layout.scope == Scope::System,
        group: PROXY_GROUP,
        slice: slice_name(&name),
    };
    tree.file(format!("{}.service", bridge_name(&name, id)), finish(&bridge));
    if service.listen.kind == ListenKind::Activation {
        tree.file(format!("{}.socket", inner_name(&name, id)), inner(layout, service, id, &sockets));
    }
}

fn idle(span: Duration) -> String {
    // systemd-socket-proxyd reads it like any time span, but rounds what is below a second off: nothing is not idle.
    timespan::format(span)
}

fn inner(layout: &Layout, service: &Service, id: &Id, sockets: &Utf8Path) -> String {
    let name = service.name.as_str();
    finish(&Inner {
        source: Text(service.source.as_str()),
        description: Text(&service.description),
        name,
        id,
        sockets: Text(sockets.as_str()),
        system: layout.scope == Scope::System,
        group: PROXY_GROUP,
        slice: slice_name(&name),
    })
}

/// Each port's socket and what connects its callers to the first slot.
pub fn ports(layout: &Layout, service: &Service, systemd: Option<u16>, tree: &mut Tree) {
    let name = service.name.as_str();
    let slot = layout.slots(&service.name).join("1");
    for listen in &service.ports {
        let unit = port_name(&name, listen);
        let socket = PortSocket {
            source: Text(service.source.as_str()),
            description: Text(&service.description),
            name,
            listen,
            slice: slice_name(&name),
            polls_without_limit: systemd.is_some_and(|version| version >= 256),
        };
        let relay = PortService {
            source: Text(service.source.as_str()),
            description: Text(&service.description),
            listen,
            slot: Word(slot.as_str()),
            system: layout.scope == Scope::System,
            group: PROXY_GROUP,
            slice: slice_name(&name),
        };
        tree.file(format!("{unit}.socket"), finish(&socket));
        tree.file(format!("{unit}.service"), finish(&relay));
    }
}
