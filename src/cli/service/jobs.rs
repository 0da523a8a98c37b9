//! `conductor service jobs`

use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::cli::{asked, table, words};
use crate::compile;
use crate::live;
use crate::service::job::timetable::{self, Entry, State};

pub(super) fn run(context: &Context, names: &[String], json: bool) -> Outcome {
    let Context { layout, manager } = context;
    let host = compile::compile(layout, &context.target());
    let mut services = Vec::new();
    for name in asked::services(context, &host, names)? {
        let runs = || live::of(layout, &name).ok()?.and_then(|live| live.service(layout, live.current(layout)).ok());
        services.extend(host.services.get(&name).map(|compiled| compiled.service.clone()).or_else(runs));
    }
    let entries = timetable::of_services(*manager, &services)?;
    if json {
        table::print_json(&entries)?;
    } else if entries.is_empty() {
        outln!("no service has a job; `schedule` in [commands.NAME] of its service.toml makes one");
    } else {
        print(&entries);
        entries.iter().for_each(print_failure);
    }
    Ok(host.must_be_complete()?)
}

/// Prints the timetable of jobs.
pub(crate) fn print(entries: &[Entry]) {
    let now = words::now();
    let rows = entries.iter().map(|entry| {
        vec![
            entry.service.to_string(),
            entry.job.clone(),
            last(entry, now),
            entry.took_seconds.map_or_else(|| "-".to_owned(), |took| words::duration(Duration::from_secs_f64(took))),
            next(entry, now),
        ]
    });
    table::print(&["SERVICE", "JOB", "LAST", "TOOK", "NEXT"], rows.collect());
}

/// Prints how to find out why the last run of a job failed, or why none is to come.
pub(crate) fn print_failure(entry: &Entry) {
    let Entry { service, job, unit, .. } = entry;
    if entry.has_failed() {
        outln!("\n{service}: the job {job} failed: {}\n  journalctl --unit={unit}", result(entry));
    }
    if entry.state == State::Unscheduled {
        outln!("\n{service}: the job {job} has no timer: nothing starts it\n  conductor service reload {service}");
    }
}

/// Describes the last run: `2h ago, ok`.
fn last(entry: &Entry, now: u64) -> String {
    let since = |then: u64| words::duration(Duration::from_secs(now.saturating_sub(then)));
    match (entry.state, entry.started_at, entry.ended_at) {
        (State::Running, Some(started), _) => format!("running for {}", since(started)),
        (State::Running, None, _) => "running".to_owned(),
        (_, _, Some(ended)) => format!("{}, {}", words::ago(now, ended), result(entry)),
        _ => "-".to_owned(),
    }
}

fn result(entry: &Entry) -> String {
    let status = entry.status.unwrap_or_default();
    match entry.result.as_deref() {
        Some("success") => "ok".to_owned(),
        Some("exit-code") => format!("exit {status}"),
        Some("signal" | "core-dump") => format!("signal {status}"),
        other => other.unwrap_or_default().to_owned(),
    }
}

fn next(entry: &Entry, now: u64) -> String {
    match (entry.state, entry.next_at) {
        (State::Stopped, _) => "service stopped".to_owned(),
        (State::Unscheduled, _) => "not scheduled".to_owned(),
        (_, Some(next)) if next > now => format!("in {}", words::duration(Duration::from_secs(next - now))),
        (_, Some(_)) => "now".to_owned(),
        (State::Running, None) => "after this run".to_owned(),
        (State::Scheduled, None) => "-".to_owned(),
    }
}
