//! `[[port]]`: an address that callers reach without a reverse proxy, systemd-socket-proxyd(8).

use askama::Template;

use crate::escape::Word;
use crate::layout::Layout;
use crate::model::Service;
use crate::target::systemd::unit::{Common, RELAY, finish, polls_without_limit};
use crate::tree::Tree;

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
    relay: &'static str,
    slot: Word<'a>,
    families: &'static str,
}

/// Adds each port's socket, and what connects its callers to the first slot.
pub(super) fn render(layout: &Layout, service: &Service, systemd: Option<u16>, tree: &mut Tree) {
    let slot = layout.slots(&service.name).join("1");
    for listen in &service.ports {
        let unit = service.name.port(listen);
        let polls_without_limit = polls_without_limit(systemd);
        let socket = PortSocket { common: Common::new(layout, service), listen, polls_without_limit };
        let (common, families) = (Common::new(layout, service), "AF_UNIX AF_INET AF_INET6 AF_VSOCK");
        let relay = PortService { common, listen, relay: RELAY, slot: Word(slot.as_str()), families };
        tree.file(format!("{unit}.socket"), finish(&socket));
        tree.file(format!("{unit}.service"), finish(&relay));
    }
}
