//! When jobs ran, how they ended, and when they run next: what systemd knows of their units.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use crate::model::Service;
use crate::names::ServiceName;
use crate::service::job::{SERVICE, TIMER};
use crate::systemd::{self, Manager};

/// Properties of what a timer starts, org.freedesktop.systemd1(5).
const OF_SERVICE: &[&str] = &[
    "ActiveState",
    "Result",
    "ExecMainStatus",
    "ExecMainStartTimestamp",
    "ExecMainExitTimestamp",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
];
const OF_TIMER: &[&str] = &["ActiveState", "SubState", "NextElapseUSecRealtime"];

/// A job's place in the timetable.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) service: ServiceName,
    pub(crate) job: String,
    /// What systemd starts.
    pub(crate) unit: String,
    pub(crate) schedule: Vec<String>,
    pub(crate) state: State,
    /// When it last started, in seconds since 1970; null if it has not since its service was started.
    pub(crate) started_at: Option<u64>,
    /// When that run ended; null while it runs.
    pub(crate) ended_at: Option<u64>,
    pub(crate) took_seconds: Option<f64>,
    /// `Result=` of that run, systemd.service(5); null while it runs.
    pub(crate) result: Option<String>,
    /// The exit status of that run.
    pub(crate) status: Option<u8>,
    /// When it starts next; null if no time is known.
    pub(crate) next_at: Option<u64>,
}

/// What a job does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Running,
    /// Its timer waits for the next time.
    Scheduled,
    /// Its service is stopped, and the timer with it.
    Stopped,
    /// It has no timer although its service runs.
    Unscheduled,
}

impl Entry {
    /// Returns whether the last run has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.result.as_ref().is_some_and(|result| result != "success")
    }
}

/// Returns the jobs of services, in order.
///
/// # Errors
/// If systemd does not answer.
pub(crate) fn of_services<'a>(
    manager: Manager,
    services: impl IntoIterator<Item = &'a Service>,
) -> Result<Vec<Entry>, systemd::Error> {
    let jobs: Vec<_> = services.into_iter().flat_map(|service| service.jobs().map(move |job| (service, job))).collect();
    let units = |suffix: &str| {
        jobs.iter().map(|(service, (job, ..))| format!("{}{suffix}", service.name.job(job))).collect::<Vec<_>>()
    };
    let (services, timers) = (units(SERVICE), units(TIMER));
    let above: Vec<_> = jobs.iter().map(|(service, _)| service.name.unit()).collect();
    let states = manager.states(&above)?;
    let shown = manager.show_each(&services, OF_SERVICE)?.into_iter().zip(manager.show_each(&timers, OF_TIMER)?);
    let entries = jobs.iter().zip(services).zip(states).zip(shown);
    Ok(entries
        .map(|((((service, (name, _, job)), unit), above), (of_service, of_timer))| {
            let is_up = matches!(above.as_str(), "active" | "reloading" | "activating");
            let last = Last::of(&of_service);
            Entry {
                service: service.name.clone(),
                job: (*name).to_owned(),
                unit,
                schedule: job.schedule.clone(),
                state: state(&of_service, &of_timer, is_up),
                next_at: next(&of_timer),
                started_at: last.started_at,
                ended_at: last.ended_at,
                took_seconds: last.took.map(|took| took.as_secs_f64()),
                result: last.result,
                status: last.status,
            }
        })
        .collect())
}

type Properties = BTreeMap<String, String>;

fn get<'a>(properties: &'a Properties, name: &str) -> &'a str {
    properties.get(name).map_or("", String::as_str)
}

fn state(of_service: &Properties, of_timer: &Properties, is_up: bool) -> State {
    match (get(of_service, "ActiveState"), get(of_timer, "ActiveState")) {
        ("activating" | "active" | "deactivating", _) => State::Running,
        (_, "active") => State::Scheduled,
        _ if is_up => State::Unscheduled,
        _ => State::Stopped,
    }
}

/// Returns when a timer elapses next; while its job runs it does not know that yet.
fn next(of_timer: &Properties) -> Option<u64> {
    let waits = get(of_timer, "ActiveState") == "active" && get(of_timer, "SubState") == "waiting";
    seconds(get(of_timer, "NextElapseUSecRealtime")).filter(|_| waits)
}

/// The last run of a job.
struct Last {
    started_at: Option<u64>,
    ended_at: Option<u64>,
    took: Option<Duration>,
    result: Option<String>,
    status: Option<u8>,
}

impl Last {
    fn of(properties: &Properties) -> Self {
        let started_at = seconds(get(properties, "ExecMainStartTimestamp"));
        let runs = !matches!(get(properties, "ActiveState"), "inactive" | "failed");
        let ended_at = seconds(get(properties, "ExecMainExitTimestamp")).filter(|_| !runs);
        let moment =
            |name: &str| get(properties, name).parse().ok().filter(|moment| *moment > 0).map(Duration::from_micros);
        let took = moment("ExecMainExitTimestampMonotonic")
            .zip(moment("ExecMainStartTimestampMonotonic"))
            .and_then(|(end, start)| end.checked_sub(start));
        let result = get(properties, "Result");
        Self {
            started_at,
            ended_at,
            took: took.filter(|_| ended_at.is_some()),
            result: ended_at.map(|_| result.to_owned()),
            status: get(properties, "ExecMainStatus").parse().ok().filter(|_| ended_at.is_some()),
        }
    }
}

/// Reads seconds since 1970: microseconds as the bus has them, or `Mon 2026-11-30 03:00:00 UTC` as systemctl(1) writes them.
fn seconds(text: &str) -> Option<u64> {
    let seconds = match text.split(' ').collect::<Vec<_>>()[..] {
        [_, date, time, "UTC"] => {
            let moment = humantime::parse_rfc3339(&format!("{date}T{time}Z")).ok()?;
            moment.duration_since(UNIX_EPOCH).ok()?.as_secs()
        }
        _ => text.parse::<u64>().ok().filter(|micros| *micros != u64::MAX)? / 1_000_000,
    };
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_the_bus_and_from_systemctl() {
        assert_eq!(seconds("1732958400123456"), Some(1_732_958_400));
        assert_eq!(seconds("Sat 2024-11-30 09:20:00 UTC"), Some(1_732_958_400));
        assert_eq!(["", "0", "n/a", "18446744073709551615"].map(seconds), [None; 4]);
    }
}
