//! `conductor metrics`: figures of services in Prometheus' text format.

use std::fmt::{self, Display, Write};

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::out;
use crate::cli::status::{self, Page, Row};
use crate::deployment::connections;
use crate::deployment::state;
use crate::service::job::timetable::Entry;

/// The text format of metrics, as Prometheus' documentation of exposition formats has it.
#[derive(Default)]
struct Text(String);

/// What a metric measures: something that goes up and down, or that only grows until the host boots.
#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

impl Text {
    /// Adds a metric with a value for each set of labels; nothing if there is none.
    fn metric<'a, V: Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'a str, String)>, V)>,
    ) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return;
        }
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(self.0, "{name}{} {value}", Labels(&labels));
        }
    }
}

struct Labels<'a>(&'a [(&'a str, String)]);

impl Display for Labels<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let label = |(name, value): &(&str, String)| format!("{name}=\"{}\"", escaped(value));
        write!(out, "{{{}}}", self.0.iter().map(label).collect::<Vec<_>>().join(","))
    }
}

/// Escapes the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

pub(crate) fn run(context: &Context) -> Outcome {
    let (page, host) = status::page(context, &[])?;
    let mut text = Text::default();
    of_host(&page, host.errors.len() + host.lost.len(), &mut text);
    of_services(context, &page, &mut text);
    of_rollouts(&page, &mut text);
    of_jobs(&page, &mut text);
    out!("{}", text.0);
    Ok(host.must_be_complete()?)
}

fn of_host(page: &Page, broken: usize, text: &mut Text) {
    text.metric(
        "conductor_info",
        Kind::Gauge,
        "The version of conductor.",
        [(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1)],
    );
    text.metric(
        "conductor_declarations_failed",
        Kind::Gauge,
        "Declarations that do not compile.",
        [(Vec::new(), broken)],
    );
    text.metric("conductor_functions", Kind::Gauge, "Declared functions.", [(Vec::new(), page.functions.len())]);
    let proxy = page.proxy.as_ref();
    text.metric(
        "conductor_proxy_active",
        Kind::Gauge,
        "Whether the reverse proxy runs.",
        proxy.map(|state| (Vec::new(), u8::from(state == "active"))),
    );
    text.metric(
        "conductor_proxy_published",
        Kind::Gauge,
        "Whether the reverse proxy has the declared routes.",
        proxy.map(|_| (Vec::new(), u8::from(page.published))),
    );
}

/// Returns the label of a service.
fn service(row: &Row) -> Vec<(&'static str, String)> {
    vec![("service", row.name.to_string())]
}

fn of_services(context: &Context, page: &Page, text: &mut Text) {
    let rows = &page.services;
    let each = |value: fn(&Row) -> u64| rows.iter().map(move |row| (service(row), value(row)));
    let state = |row: &Row| [service(row), vec![("state", row.state.clone())]].concat();
    text.metric(
        "conductor_service_state",
        Kind::Gauge,
        "The state of the service, as `conductor status` shows it.",
        rows.iter().map(|row| (state(row), 1)),
    );
    let generation = |row: &Row| Some([service(row), vec![("generation", row.generation.clone()?)]].concat());
    text.metric(
        "conductor_service_generation",
        Kind::Gauge,
        "The generation that serves.",
        rows.iter().filter_map(|row| Some((generation(row)?, 1))),
    );
    text.metric(
        "conductor_service_deployments",
        Kind::Gauge,
        "Deployments that are wanted.",
        each(|row| row.concurrency.into()),
    );
    text.metric(
        "conductor_service_deployments_ready",
        Kind::Gauge,
        "Deployments that serve.",
        each(|row| row.ready as u64),
    );
    text.metric("conductor_service_slots", Kind::Gauge, "Slots of the service.", each(|row| row.slots.into()));
    text.metric(
        "conductor_service_slots_held",
        Kind::Gauge,
        "Slots that lead to a deployment.",
        each(|row| row.held as u64),
    );
    text.metric(
        "conductor_service_canary_slots",
        Kind::Gauge,
        "Slots of the canary.",
        rows.iter().filter_map(|row| Some((service(row), row.canary.as_ref()?.slots))),
    );
    text.metric(
        "conductor_service_requests_in_flight",
        Kind::Gauge,
        "Connections that deployments hold or that wait for them, by the kernel's count.",
        rows.iter().filter_map(|row| Some((service(row), in_flight(context, row)?))),
    );
    text.metric(
        "conductor_service_memory_bytes",
        Kind::Gauge,
        "Memory of all its processes.",
        rows.iter().filter_map(|row| Some((service(row), row.memory?))),
    );
    text.metric(
        "conductor_service_cpu_seconds_total",
        Kind::Counter,
        "Processor time of all its processes.",
        rows.iter().filter_map(|row| Some((service(row), row.cpu? as f64 / 1e9))),
    );
}

/// Counts the connections of a service's deployments; None if the kernel cannot be asked, or none of them has a socket.
fn in_flight(context: &Context, row: &Row) -> Option<u32> {
    let layout = &context.layout;
    let deployments = state::list(layout, &row.name).ok()?;
    let counts = deployments.iter().filter_map(|deployment| {
        let found = connections::in_flight(&layout.at(&deployment.socket(layout, None))).ok()?;
        Some(found.established + found.queued)
    });
    counts.reduce(|one, other| one + other)
}

fn of_rollouts(page: &Page, text: &mut Text) {
    let last = || page.services.iter().filter_map(|row| Some((service(row), row.last.as_ref()?)));
    text.metric(
        "conductor_rollouts_total",
        Kind::Counter,
        "Rollouts since boot.",
        last().map(|(labels, last)| (labels, last.rollouts)),
    );
    text.metric(
        "conductor_rollouts_failed_total",
        Kind::Counter,
        "Rollouts since boot that failed.",
        last().map(|(labels, last)| (labels, last.failed)),
    );
    text.metric(
        "conductor_last_rollout_timestamp_seconds",
        Kind::Gauge,
        "When the last rollout ended, in seconds since 1970.",
        last().map(|(labels, last)| (labels, last.at)),
    );
    text.metric(
        "conductor_last_rollout_duration_seconds",
        Kind::Gauge,
        "How long the last rollout took, its drain included.",
        last().map(|(labels, last)| (labels, last.took.as_secs_f64())),
    );
    text.metric(
        "conductor_last_rollout_success",
        Kind::Gauge,
        "Whether the last rollout succeeded.",
        last().map(|(labels, last)| (labels, u8::from(last.failure.is_none()))),
    );
}

fn of_jobs(page: &Page, text: &mut Text) {
    let label = |job: &Entry| vec![("service", job.service.to_string()), ("job", job.job.clone())];
    let ended = || page.jobs.iter().filter(|job| job.result.is_some());
    text.metric(
        "conductor_job_last_success",
        Kind::Gauge,
        "Whether the last run of the job succeeded.",
        ended().map(|job| (label(job), u8::from(!job.has_failed()))),
    );
    text.metric(
        "conductor_job_last_timestamp_seconds",
        Kind::Gauge,
        "When the last run of the job ended, in seconds since 1970.",
        ended().filter_map(|job| Some((label(job), job.ended_at?))),
    );
    text.metric(
        "conductor_job_last_duration_seconds",
        Kind::Gauge,
        "How long the last run of the job took.",
        ended().filter_map(|job| Some((label(job), job.took_seconds?))),
    );
    text.metric(
        "conductor_job_next_timestamp_seconds",
        Kind::Gauge,
        "When the job runs next, in seconds since 1970.",
        page.jobs.iter().filter_map(|job| Some((label(job), job.next_at?))),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.metric("a", Kind::Counter, "A.", [(vec![("b", "c\\d\"e\nf".to_owned())], 1)]);
        text.metric("none", Kind::Gauge, "No value.", Vec::<(Vec<(&str, String)>, u8)>::new());
        assert_eq!(text.0, "# HELP a A.\n# TYPE a counter\na{b=\"c\\\\d\\\"e\\nf\"} 1\n");
    }
}
