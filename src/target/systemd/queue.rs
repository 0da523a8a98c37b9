//! The queue of a service's callers while no deployment serves, and its relay, systemd-socket-proxyd(8).

use askama::Template;

use crate::escape::Text;
use crate::layout::Layout;
use crate::model::Service;
use crate::model::listen::QUEUE_LENGTH;
use crate::target::systemd::unit::{Argument, Common, RELAY, finish};
use crate::timespan;
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/queue.socket", escape = "none")]
struct QueueSocket<'a> {
    common: Common<'a>,
    queues: Text<'a>,
    backlog: u32,
}

#[derive(Template)]
#[template(path = "systemd/queue.service", escape = "none")]
struct QueueService<'a> {
    common: Common<'a>,
    relay: String,
    close: String,
    families: &'static str,
}

/// Adds the templates of a service's queues, if it has any.
pub(super) fn render(layout: &Layout, service: &Service, tree: &mut Tree) {
    if !service.has_queue() {
        return;
    }
    let (unit, queues) = (service.name.queue_template(), layout.queues(&service.name));
    let dir = layout.service_dir(service);
    let (program, dir) = (layout.program(), Argument(&dir));
    let limit = timespan::format(service.gap_limit());
    let socket =
        QueueSocket { common: Common::new(layout, service), queues: Text(queues.as_str()), backlog: QUEUE_LENGTH };
    let relay = QueueService {
        common: Common::new(layout, service),
        relay: format!("{program} service _queue --timeout={limit} {dir} %i -- {RELAY} --exit-idle-time=1s"),
        close: format!("{program} service _unqueue {dir} %i"),
        families: "AF_UNIX",
    };
    tree.file(format!("{unit}.socket"), finish(&socket));
    tree.file(format!("{unit}.service"), finish(&relay));
}
