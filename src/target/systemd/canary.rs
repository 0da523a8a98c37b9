//! The timer of a canary's next step, and the service that it starts.

use std::time::{Duration, UNIX_EPOCH};

use askama::Template;

use crate::layout::Layout;
use crate::live::canary::Canary;
use crate::model::Service;
use crate::target::systemd::unit::{Argument, Common, finish};
use crate::tree::Tree;

#[derive(Template)]
#[template(path = "systemd/canary.timer", escape = "none")]
struct CanaryTimer<'a> {
    common: Common<'a>,
    generation: &'a str,
    /// systemd.time(7)
    due: String,
}

#[derive(Template)]
#[template(path = "systemd/canary.service", escape = "none")]
struct CanaryService<'a> {
    common: Common<'a>,
    generation: &'a str,
    program: &'a str,
    dir: Argument<'a>,
}

/// Renders the units of a canary whose next step is due at a time, in seconds since 1970.
pub(crate) fn render(layout: &Layout, service: &Service, canary: &Canary, due: u64) -> Tree {
    let generation = canary.generation.as_str();
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(due)).to_string();
    let due = format!("{} UTC", time.trim_end_matches('Z').replace('T', " "));
    let unit = service.name.canary(&canary.generation, canary.slots);
    let mut tree = Tree::default();
    tree.file(format!("{unit}.timer"), finish(&CanaryTimer { common: Common::new(layout, service), generation, due }));
    let (program, dir) = (layout.program(), layout.service_dir(service));
    let common = Common::new(layout, service);
    let started = CanaryService { common, generation, program: &program, dir: Argument(&dir) };
    tree.file(format!("{unit}.service"), finish(&started));
    tree
}
