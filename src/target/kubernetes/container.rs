//! The containers of a service with `[exec]` or `[container]`.

use crate::model::{Command, Engine};
use crate::target::kubernetes::ports::PodPort;
use crate::target::kubernetes::volume::Mounted;
use crate::target::kubernetes::workload::Workload;
use crate::target::kubernetes::yaml::{Yaml, map};
use crate::target::kubernetes::{drain, probe, security, volume};

/// The words that a container starts with; None are the image's own.
#[derive(Default)]
struct Start {
    command: Option<Vec<String>>,
    arguments: Option<Vec<String>>,
    working_dir: Option<String>,
}

/// Renders the container that serves.
pub(super) fn serving(workload: &Workload, mounted: &[Mounted]) -> Yaml {
    let port = |port: &PodPort| map! { "name" => &port.name, "containerPort" => port.number, "protocol" => "TCP" };
    let ports = Yaml::List(workload.ports.of_pods.iter().map(port).collect()).or_absent();
    let rest = [
        ("ports", ports),
        ("resources", resources(workload)),
        ("startupProbe", probe::startup(workload, &workload.service.health.check)),
        ("readinessProbe", probe::readiness(workload, &workload.service.health.check)),
        ("livenessProbe", probe::liveness(workload)),
        ("lifecycle", lifecycle(workload)),
    ];
    container(workload, &workload.name, start(workload), mounted, rest)
}

/// Renders a container that runs another command with what the serving one has.
pub(super) fn running(workload: &Workload, name: &str, command: &Command, mounted: &[Mounted]) -> Yaml {
    // Commands that run in a container have the programs of its image.
    let command = match &workload.service.process.engine {
        Engine::Exec { .. } => workload.command(command),
        Engine::Container(_) | Engine::Pod(_) => workload.environment.in_command(&command.0),
    };
    let start = Start { command: Some(command), arguments: None, ..start(workload) };
    container(workload, name, start, mounted, [("resources", resources(workload))])
}

fn container<const N: usize>(
    workload: &Workload,
    name: &str,
    start: Start,
    mounted: &[Mounted],
    rest: [(&str, Yaml); N],
) -> Yaml {
    let mounts = Yaml::List(mounted.iter().map(|mounted| mounted.mount.clone()).collect()).or_absent();
    let mut container = map! {
        "name" => name,
        "image" => &workload.image.reference,
        "imagePullPolicy" => workload.image.pull_policy,
        "command" => start.command,
        "args" => start.arguments,
        "workingDir" => start.working_dir,
        "env" => workload.environment.render(),
        "envFrom" => workload.environment.sources(),
        "volumeMounts" => mounts,
        "securityContext" => security::of_container(workload),
    };
    for (key, value) in rest {
        if value != Yaml::Absent {
            container.set(key, value);
        }
    }
    container
}

fn start(workload: &Workload) -> Start {
    let process = &workload.service.process;
    match &process.engine {
        Engine::Exec { command } => {
            let files = workload.files_dir();
            let has_files = !workload.files.all.is_empty();
            let working_dir = process.working_dir.as_ref().map(|dir| format!("{files}/{dir}").replace("/./", "/"));
            let working_dir = match &process.working_dir {
                Some(dir) if dir.is_absolute() => Some(dir.to_string()),
                Some(_) => working_dir,
                None => has_files.then_some(files),
            };
            let command = workload.with_sockets(workload.command(command));
            Start { command: Some(command), arguments: None, working_dir }
        }
        Engine::Container(container) => {
            let entry_point = container
                .entrypoint
                .as_ref()
                .map(|program| workload.environment.in_command(std::slice::from_ref(program)));
            let arguments = workload.environment.in_command(&container.exec);
            Start {
                command: entry_point.map(|command| workload.with_sockets(command)),
                arguments: (!arguments.is_empty()).then_some(arguments),
                working_dir: container.working_dir.clone(),
            }
        }
        Engine::Pod(_) => Start::default(),
    }
}

fn lifecycle(workload: &Workload) -> Yaml {
    let mut lifecycle = map! {};
    if let Some(hook) = &workload.service.hooks.post_start {
        let command = if workload.is_exec() {
            workload.command_expanded(&hook.command)
        } else {
            workload.environment.expanded(&hook.command.0)
        };
        lifecycle.set("postStart", map! { "exec" => map! { "command" => command } });
    }
    if let Some(stop) = drain::pre_stop(workload).get("preStop") {
        lifecycle.set("preStop", stop.clone());
    }
    lifecycle.or_absent()
}

/// Renders the limits of each pod out of those that a service's deployments share on a host.
fn resources(workload: &Workload) -> Yaml {
    let limit = |key: &str| workload.service.resources.iter().find(|limit| limit.key == key).map(|limit| &limit.value);
    map! {
        "limits" => map! {
            "cpu" => limit("cpu_quota").and_then(|quota| millis(quota)),
            "memory" => limit("memory_max").map(|size| volume::quantity(size)),
        }
        .or_absent(),
    }
    .or_absent()
}

/// Returns the thousandths of a processor that a percentage is.
fn millis(quota: &str) -> Option<String> {
    let percent: f64 = quota.trim().strip_suffix('%')?.parse().ok()?;
    Some(format!("{}m", (percent * 10.0).round() as u64))
}
