//! Why a deployment did not start: the last lines of its processes, then the cause, then what to do.

use crate::deployment::state::{self, Failure, FailureKind};
use crate::error::Error;
use crate::model::{Check, Engine, ListenKind, Sandbox, Service};
use crate::names::Deployment;
use crate::service::machine::Machine;
use crate::systemd;
use crate::systemd::journal::{ControlExit, StartLog};

/// Lines of a failed deployment's processes that are quoted.
const QUOTED_LINES: usize = 20;
const PORT_HELP: &str = "end that process; let the program read PORT from its environment, since all users can read \
                         command lines; or use another type in [listen]";

/// Collects what systemd, the hooks and the journal tell of a deployment that did not start after so many `attempts`.
pub(crate) fn of_start(
    machine: &Machine,
    service: &Service,
    failed: &Deployment,
    error: &systemd::Error,
    attempts: u32,
) -> Error {
    let unit = failed.unit();
    let failure = state::failure(machine.layout, failed);
    let invocation = failure.as_ref().and_then(|failure| failure.invocation.as_deref());
    let log = invocation.map(|id| machine.manager.log_of_start(id, QUOTED_LINES)).unwrap_or_default();
    let why = why(service, &unit, failure.as_ref(), &log, attempts).unwrap_or_else(|| error.to_string());
    let is_lost = failure.as_ref().is_some_and(Failure::lost_port);
    let help = if is_lost { Some(PORT_HELP.to_owned()) } else { help(service, &why, &log) };
    let quoted: String = log.lines.iter().map(|line| format!("\n  | {line}")).collect();
    let quoted = if quoted.is_empty() { String::new() } else { format!("the last log lines of {unit}:{quoted}\n") };
    Error(format!("{quoted}{why}{}", help.map(|help| format!("\n  help: {help}")).unwrap_or_default()))
}

/// Returns the cause as one line; None if only systemd knows it.
fn why(service: &Service, unit: &str, failure: Option<&Failure>, log: &StartLog, attempts: u32) -> Option<String> {
    let failure @ Failure { why, kind, exit, .. } = failure?;
    match (why, exit) {
        (Some(why), _) if *kind == FailureKind::LostPort && attempts > 1 => {
            Some(format!("{why}, after {attempts} attempts with another port each"))
        }
        (Some(_), _) => Some(failure.text()),
        (None, exit) => {
            let own = log.of_hooks.iter().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned);
            let of_hook =
                || log.control_exit().map(|ended| format!("{unit} did not start: {}", of_hook(service, &ended)));
            let of_process = || exit.as_ref().map(|exit| format!("{unit} did not start: its process {exit}"));
            own.or_else(of_hook).or_else(of_process)
        }
    }
}

/// Names a declared hook that failed.
fn of_hook(service: &Service, ended: &ControlExit) -> String {
    let ControlExit { directive, how } = ended;
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
    if let Some(told) = of_listener(service, why) {
        return Some(told);
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

/// Returns what to write for a process that is not at the address that it was given.
fn of_listener(service: &Service, why: &str) -> Option<String> {
    let is_elsewhere = why.contains("it listens on");
    let is_silent = why.contains("no answer within") || why.contains("no answer yet");
    match service.listen.kind {
        ListenKind::Activation if service.process.engine.has_own_network() => None,
        ListenKind::Activation if is_elsewhere || is_silent && why.contains("did not pass within") => {
            Some("if it binds a port itself, write type = \"tcp\" in [listen] and let it listen on $PORT".to_owned())
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
