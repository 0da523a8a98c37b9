//! The end of a pod: hooks, and the wait for requests in flight, in `preStop`.

use std::time::Duration;

use crate::model::{Command, Hook, RunningHook};
use crate::target::kubernetes::names::HELPER;
use crate::target::kubernetes::probe::seconds;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};

/// The time in which a cluster learns that a pod takes no further connections.
const LEAVE: Duration = Duration::from_secs(5);
/// The time that processes have to end once they are told, beside that of hooks and requests.
const MARGIN: Duration = Duration::from_secs(10);

/// A step of a pod's end.
struct Step {
    words: Vec<String>,
    limit: Duration,
}

impl Step {
    fn new(words: impl IntoIterator<Item = String>, limit: Duration) -> Self {
        Self { words: words.into_iter().collect(), limit }
    }
}

/// Renders what runs before the processes of a pod are told to end.
pub(super) fn pre_stop(workload: &Workload) -> Yaml {
    let words: Vec<_> = steps(workload).into_iter().flat_map(|step| step.words).collect();
    if words.is_empty() {
        return Yaml::Absent;
    }
    let command: Vec<_> = [HELPER.to_owned(), "stop".to_owned()].into_iter().chain(words).collect();
    map! { "preStop" => map! { "exec" => map! { "command" => command } } }
}

/// Returns the time that a pod has to end, in seconds.
pub(super) fn grace_period(workload: &Workload) -> u64 {
    seconds(steps(workload).iter().map(|step| step.limit).sum::<Duration>() + MARGIN)
}

/// Lists the steps in the order in which a deployment stops.
fn steps(workload: &Workload) -> Vec<Step> {
    let service = workload.service;
    let (hooks, deploy) = (&service.hooks, &service.deploy);
    let mut steps = Vec::new();
    let hook = |name: RunningHook, hook: &Option<Hook>| {
        let Hook { command, timeout } = hook.as_ref()?;
        Some(hook_step(workload, name, command, *timeout))
    };
    steps.extend(hook(RunningHook::PreStop, &hooks.pre_stop));
    if service.listen.has_callers() || service.passed_ports().next().is_some() {
        steps.push(Step::new(["leave".to_owned(), seconds(LEAVE).to_string()], LEAVE));
    }
    steps.extend(hook(RunningHook::PreDrain, &hooks.pre_drain));
    if let Some(signal) = &deploy.drain_signal {
        steps.push(Step::new(["signal".to_owned(), signal.clone()], Duration::ZERO));
    }
    let ports: Vec<_> = workload.ports.of_pods.iter().map(|port| port.number.to_string()).collect();
    if !ports.is_empty() {
        let limits = [deploy.drain_timeout, deploy.abandoned_timeout].map(|limit| seconds(limit).to_string());
        steps.push(Step::new(std::iter::once("drain".to_owned()).chain(limits).chain(ports), deploy.drain_timeout));
    }
    if let Some(command) = &hooks.drain {
        steps.push(hook_step(workload, RunningHook::Drain, command, deploy.drain_timeout));
    }
    steps
}

fn hook_step(workload: &Workload, name: RunningHook, command: &Command, limit: Duration) -> Step {
    let words = if workload.service.runs_inside(name) {
        workload.environment.expanded(&command.0)
    } else {
        workload.command_expanded(command)
    };
    let head = ["hook".to_owned(), seconds(limit).to_string(), words.len().to_string()];
    Step::new(head.into_iter().chain(words), limit)
}
