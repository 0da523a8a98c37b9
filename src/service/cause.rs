//! Why a deployment did not start: the last lines of its processes, then the cause, then what to do.

use crate::deployment::exit_status::{ExitStatus, OUT_OF_MEMORY};
use crate::deployment::state::{self, Failure};
use crate::error::Error;
use crate::model::{Check, Engine, ListenKind, Sandbox, Service, Setting};
use crate::names::Deployment;
use crate::service::machine::Machine;
use crate::systemd;
use crate::systemd::journal::{FailedCommand, StartLog};

/// Lines of a failed deployment's processes that are quoted.
const QUOTED_LINES: usize = 20;
const PORT_HELP: &str = "end that process; let the program read PORT from its environment, since all users can read \
                         command lines; or use another type in [listen]";

/// A deployment that did not start, and what is known while its unit is loaded.
pub(crate) struct FailedStart<'a> {
    deployment: &'a Deployment,
    /// None if no hook could run.
    failure: Option<Failure>,
    invocation: Option<String>,
}

impl<'a> FailedStart<'a> {
    /// Reads what the hooks and the manager know of a start.
    pub(crate) fn read(machine: &Machine, deployment: &'a Deployment) -> Self {
        let failure = state::failure(machine.layout, deployment);
        let noted = failure.as_ref().and_then(|failure| failure.invocation.clone());
        let invocation = noted.or_else(|| machine.manager.property(&deployment.unit(), "InvocationID").ok());
        Self { deployment, failure, invocation: invocation.filter(|id| !id.is_empty()) }
    }

    /// Returns the last lines of its processes and the cause, after so many `attempts`; `error` is systemd's.
    pub(crate) fn cause(self, machine: &Machine, service: &Service, error: &systemd::Error, attempts: u32) -> Error {
        let unit = self.deployment.unit();
        let log = self.invocation.as_ref().map(|id| machine.manager.log_of_start(id, QUOTED_LINES)).unwrap_or_default();
        let why = self.why(service, &log, attempts).unwrap_or_else(|| error.to_string());
        let is_lost = self.failure.as_ref().is_some_and(Failure::lost_port);
        let help = if is_lost { Some(PORT_HELP.to_owned()) } else { help(service, &why, &log) };
        let quoted = log.quoted(&unit);
        Error(format!("{quoted}{why}{}", help.map(|help| format!("\n  help: {help}")).unwrap_or_default()))
    }

    /// Returns the cause as one line; None if only systemd knows it.
    fn why(&self, service: &Service, log: &StartLog, attempts: u32) -> Option<String> {
        let unit = self.deployment.unit();
        match &self.failure {
            Some(failure @ Failure { why: Some(why), .. }) if failure.lost_port() && attempts > 1 => {
                Some(format!("{why}, after {attempts} attempts with another port each"))
            }
            Some(failure @ Failure { why: Some(_), .. }) => Some(failure.text()),
            failure => {
                let of_hooks = log.of_hooks.iter().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned);
                let exit = failure.as_ref().and_then(|failure| failure.exit.clone());
                let failed = || match log.failed_command() {
                    Some(failed) if failed.directive != "ExecStart" => Some(of_command(service, &failed)),
                    failed => exit
                        .clone()
                        .or_else(|| failed.as_ref().and_then(status))
                        .map(|exit| format!("its process {exit}")),
                };
                let of_process = || Some(format!("{unit} did not start: {}", failed()?));
                // What conductor asks podman of a container that has ended says less than how it ended.
                let ended = exit.as_ref().filter(|_| service.process.engine.is_privileged());
                let ended = ended.map(|exit| format!("{unit} did not start: its process {exit}"));
                // A check that is a command cannot know how the process has ended.
                let of_hooks = of_hooks.map(|why| match &exit {
                    Some(exit) if why.contains("the main process exited") => format!("{why}; it {exit}"),
                    _ => why,
                });
                ended.or(of_hooks).or_else(of_process)
            }
        }
    }
}

/// Returns the exit status of a command. A signal has only its number here.
fn status(failed: &FailedCommand) -> Option<ExitStatus> {
    let FailedCommand { code, status, .. } = failed;
    let exit = || ExitStatus { code: code.clone(), status: status.clone(), is_out_of_memory: false };
    (code == "exited").then(exit)
}

/// Names a declared hook that failed.
fn of_command(service: &Service, failed: &FailedCommand) -> String {
    let FailedCommand { directive, status: number, .. } = failed;
    let how = status(failed).map_or_else(|| format!("was killed by signal {number}"), |exit| exit.to_string());
    let declared = match directive.as_str() {
        "ExecStartPre" => service.hooks.pre_start.as_ref().map(|hook| ("pre_start", hook)),
        "ExecStartPost" => service.hooks.post_start.as_ref().map(|hook| ("post_start", hook)),
        _ => None,
    };
    match declared {
        Some((name, hook)) => format!("the hook {name} ({}) {how}", hook.command),
        None => format!("the command of {directive} {how}"),
    }
}

/// Returns what to write where the cause or the log tells it.
fn help(service: &Service, why: &str, log: &StartLog) -> Option<String> {
    let says = |words: &[&str]| log.lines.iter().any(|line| words.iter().any(|word| line.contains(word)));
    let is_confined =
        matches!(service.process.engine, Engine::Exec { .. }) && service.process.sandbox == Sandbox::Strict;
    if log.has_refused_notification() && service.health.check == Check::Notify {
        let help = "another process than the main one sent READY=1; write NotifyAccess = \"all\" in [systemd.service]";
        return Some(help.to_owned());
    }
    if service.health.check == Check::Notify && why.contains("did not come within") {
        let help =
            "if another process than the main one sends READY=1, write NotifyAccess = \"all\" in [systemd.service]";
        return Some(help.to_owned());
    }
    if why.contains(OUT_OF_MEMORY) {
        return Some(of_memory(service));
    }
    if let Some(told) = of_listener(service, why) {
        return Some(told);
    }
    if says(&["/dev/stderr", "/dev/stdout"]) && says(&["No such device or address", "ENXIO"]) {
        let help = "its output is a socket of the journal, which no program can open by that path; let it log to its standard \
                    error, or through a pipe to cat";
        return Some(help.to_owned());
    }
    if is_confined && says(&["Read-only file system", "EROFS"]) {
        let help = "the sandbox leaves it only its own directories to write to; write StateDirectory = \"NAME\" or \
                    ReadWritePaths = [\"/PATH\"] in [systemd.service]";
        return Some(help.to_owned());
    }
    if is_confined && says(&["Operation not permitted", "EPERM"]) {
        let help = "the sandbox takes all capabilities and some system calls; write AmbientCapabilities = [\"CAP_…\"] or \
                    SystemCallFilter = [\"…\"] in [systemd.service]";
        return Some(help.to_owned());
    }
    if is_confined && says(&["Permission denied", "EACCES"]) {
        let help = "it runs as a user of its own; write user = \"…\" in [exec], give that user the file, or write \
                    StateDirectory = \"NAME\" in [systemd.service]";
        return Some(help.to_owned());
    }
    None
}

/// Returns what to write for a process that took more memory than it may.
fn of_memory(service: &Service) -> String {
    let of =
        |settings: &[Setting]| settings.iter().find(|setting| setting.key == "memory_max").map(|it| it.value.clone());
    let of_group = || of(&service.group.as_ref()?.resources);
    match of(&service.resources).or_else(of_group) {
        Some(limit) => format!(
            "raise memory_max = \"{limit}\" in [resources], which all deployments share, or let it take less memory"
        ),
        None => "the service has no memory_max: the machine or a limit of a deployment's own has no memory left for it"
            .to_owned(),
    }
}

/// Returns what to write for a process that is not at the address that it was given.
fn of_listener(service: &Service, why: &str) -> Option<String> {
    let is_elsewhere = why.contains("it listens on");
    let is_silent = why.contains("no answer within") || why.contains("no answer yet");
    match service.listen.kind {
        ListenKind::Activation if service.process.engine.has_own_network() => None,
        ListenKind::Activation if is_elsewhere || is_silent && why.contains("did not pass within") => {
            let help = "if it binds a port itself, write type = \"tcp\" in [listen] and let it listen on $PORT; if it \
                        listens nowhere, write type = \"none\"";
            Some(help.to_owned())
        }
        ListenKind::Tcp if is_elsewhere => {
            Some("let it listen on the port that the variable PORT names, and do not set PORT".to_owned())
        }
        ListenKind::Unix if is_elsewhere => {
            Some("let it listen on $CONDUCTOR_SOCKET, or write type = \"tcp\" in [listen]".to_owned())
        }
        _ => None,
    }
}
