//! Health checks as probes of the kubelet.

use std::time::Duration;

use crate::model::{Check, Live};
use crate::names::ListenerName;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};

/// Returns a time in seconds, which is all that Kubernetes counts, rounded up.
pub(super) fn seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.max(1)
}

/// Renders the probe that a pod has started: it has `health_timeout` for that.
pub(super) fn startup(workload: &Workload, check: &Check) -> Yaml {
    let health = &workload.service.health;
    let action = action(workload, check, health.listener.as_ref());
    let attempts = workload.service.deploy.health_timeout.as_secs().div_ceil(seconds(health.interval)).max(1);
    let attempts = health.retries.map_or(attempts, |retries| attempts.min(u64::from(retries)));
    timed(action, health.interval, health.timeout, Some(attempts))
}

/// Renders the probe that a pod takes requests.
pub(super) fn readiness(workload: &Workload, check: &Check) -> Yaml {
    let health = &workload.service.health;
    timed(action(workload, check, health.listener.as_ref()), health.interval, health.timeout, None)
}

/// Renders the probe that a pod lives.
pub(super) fn liveness(workload: &Workload) -> Yaml {
    let Some(Live { check, listener, interval, timeout, failures }) = &workload.service.health.live else {
        return Yaml::Absent;
    };
    timed(action(workload, check, listener.as_ref()), *interval, *timeout, Some(u64::from(*failures)))
}

/// Returns how long a pod has to run until it counts as available, for services that nothing asks.
pub(super) fn min_ready_seconds(workload: &Workload) -> Option<u64> {
    match workload.service.health.check {
        Check::Start { time } => Some(seconds(time)),
        _ => None,
    }
}

fn timed(action: Option<(&str, Yaml)>, interval: Duration, timeout: Duration, failures: Option<u64>) -> Yaml {
    let Some((key, action)) = action else { return Yaml::Absent };
    map! {
        key => action,
        "periodSeconds" => seconds(interval),
        "timeoutSeconds" => seconds(timeout),
        "failureThreshold" => failures,
    }
}

fn action<'a>(workload: &Workload, check: &Check, listener: Option<&ListenerName>) -> Option<(&'a str, Yaml)> {
    let port = workload.ports.listener(listener).map(|port| port.name.clone());
    match check {
        Check::Http { path, headers, .. } => {
            let header = |(name, value): (&String, &String)| map! { "name" => name, "value" => value };
            let headers = Yaml::List(headers.iter().map(header).collect()).or_absent();
            Some(("httpGet", map! { "path" => path, "port" => port?, "httpHeaders" => headers }))
        }
        Check::Tcp => Some(("tcpSocket", map! { "port" => port? })),
        Check::Exec { command } => Some(("exec", map! { "command" => workload.command_expanded(command) })),
        Check::Inside { command, .. } => {
            Some(("exec", map! { "command" => workload.environment.expanded(&command.0) }))
        }
        Check::Probes | Check::Notify | Check::Start { .. } => None,
    }
}
