//! `[commands.NAME] schedule`: a job's timer, and the service that it starts.

use askama::Template;

use crate::escape::Text;
use crate::layout::Layout;
use crate::model::{Job, Overlap, Service};
use crate::target::systemd::unit::{Argument, Common, Line, conditions, finish};
use crate::timespan;
use crate::tree::Tree;

/// The first version of systemd with `DeferReactivation=`, systemd.timer(5). Before it the job's own command does that.
pub(crate) const DEFERS: u16 = 257;
/// The time that a job has to end when it is stopped, in seconds: systemd's default for its command, and some more for
/// what waits for that.
const STOP_SECONDS: u32 = 100;

#[derive(Template)]
#[template(path = "systemd/job.timer", escape = "none")]
struct JobTimer<'a> {
    common: Common<'a>,
    job: &'a str,
    schedule: Vec<Text<'a>>,
    persistent: bool,
    randomized_delay: Option<String>,
    defers: bool,
}

#[derive(Template)]
#[template(path = "systemd/job.service", escape = "none")]
struct JobService<'a> {
    common: Common<'a>,
    job: &'a str,
    /// What starts before the service, and stops after it.
    after: Vec<&'a str>,
    on_failure: Vec<Text<'a>>,
    conditions: Vec<Line<'a>>,
    program: &'a str,
    dir: Argument<'a>,
    timeout: Option<String>,
    stop_seconds: u32,
}

/// Adds the timers of a service's jobs, and what they start.
pub(super) fn render(layout: &Layout, service: &Service, systemd: Option<u16>, tree: &mut Tree) {
    let (program, dir) = (layout.program(), layout.service_dir(service));
    for (name, _, job) in service.jobs() {
        let Job { schedule, persistent, overlap, randomized_delay, timeout, on_failure } = job;
        let unit = service.name.job(name);
        let timer = JobTimer {
            common: Common::new(layout, service),
            job: name,
            schedule: schedule.iter().map(|text| Text(text)).collect(),
            persistent: *persistent,
            randomized_delay: randomized_delay.map(timespan::format),
            defers: *overlap == Overlap::Skip && systemd.is_some_and(|version| version >= DEFERS),
        };
        let started = JobService {
            common: Common::new(layout, service),
            job: name,
            after: service.dependencies().iter().map(|dependency| dependency.name.as_str()).collect(),
            on_failure: on_failure.iter().map(|unit| Text(unit)).collect(),
            conditions: conditions(&service.conditions),
            program: &program,
            dir: Argument(&dir),
            timeout: timeout.map(timespan::format),
            stop_seconds: STOP_SECONDS,
        };
        tree.file(format!("{unit}.timer"), finish(&timer));
        tree.file(format!("{unit}.service"), finish(&started));
    }
}
