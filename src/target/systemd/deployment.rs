//! The template of a generation's deployments, and the template of their sockets.

use askama::Template;
use camino::{Utf8Path, Utf8PathBuf};

use crate::escape::{Assignment, Raw, Specified, Text};
use crate::layout::{Layout, Scope};
use crate::model::{
    Check, Command, Deploy, Health, Hook, Hooks, ListenKind, Listener, Live, Model, RunningHook, Sandbox, Service,
    Systemd, program_path,
};
use crate::names::listener::{self, numbered};
use crate::names::{DECLARED, ENVIRONMENT, GenerationId, ListenerName, NAMES_UNIT, OWN_DIR};
use crate::target::systemd::command::{argument_command, limit, limited_command, words};
use crate::target::systemd::engine::{self, Names};
use crate::target::systemd::unit::{
    Argument, Common, Line, PerInstance, Prefixed, credential_lines, finish, lines, own_files_lines,
    polls_without_limit, user_lines,
};
use crate::tree::Tree;
use crate::variable::HOME;
use crate::{timespan, unitfile, variable};

#[derive(Template)]
#[template(path = "systemd/deployment.service", escape = "none")]
struct DeploymentUnit<'a> {
    common: Common<'a>,
    id: &'a GenerationId,
    /// The units that must be active as long as the process.
    socket_units: Vec<String>,
    /// Units of sockets that all deployments take.
    passed_sockets: Vec<String>,
    /// The unit by which containers reach other parts.
    names: Option<&'static str>,
    rests: bool,
    /// Whether it is to be seen in `systemctl --failed` once it has crashed too often.
    fails: bool,
    passthrough_unit: Vec<Line<'a>>,
    kind: &'static str,
    of_engine: Vec<Line<'a>>,
    environment_files: Vec<Line<'a>>,
    /// The number of sockets that the process listens on and systemd holds.
    held_ports: usize,
    exec: Vec<Line<'a>>,
    working_dir: Text<'a>,
    environment: Vec<String>,
    service_dir: Assignment<'a>,
    deployment_dir: String,
    /// The directory of the service's user, which its sandbox lets it write to.
    own_dir: Option<String>,
    /// The variables with the paths of its sockets.
    sockets: Vec<String>,
    credentials: Vec<Line<'a>>,
    /// Some of its commands are the declaration's own, and not conductor's or podman's.
    runs_declared: bool,
    user: Vec<Line<'a>>,
    backs_off: bool,
    /// The time in which the process has to report to systemd's watchdog.
    watchdog: Option<String>,
    timeout_start: String,
    timeout_stop: String,
    strict: bool,
    passthrough_service: Vec<Line<'a>>,
}

#[derive(Template)]
#[template(path = "systemd/deployment.socket", escape = "none")]
pub(super) struct DeploymentSocket<'a> {
    pub(super) common: Common<'a>,
    pub(super) id: &'a GenerationId,
    /// For people, before "deployment 1".
    pub(super) what: String,
    /// Within the directory of the generation's sockets.
    pub(super) path: Raw<'a>,
    /// Its name in `$LISTEN_FDNAMES`.
    pub(super) descriptor: &'a str,
    pub(super) sockets: Text<'a>,
    /// The unit that it starts, if that has another name than the socket.
    pub(super) service: Option<String>,
    /// Whether it stays active while the deployment is stopped for idleness.
    pub(super) outlasts: bool,
    pub(super) polls_without_limit: bool,
    pub(super) passthrough_socket: Vec<Line<'a>>,
}

/// Adds the deployments' template and, where systemd holds a socket that callers reach, that of their sockets.
pub(super) fn render(layout: &Layout, model: &Model, id: &GenerationId, systemd: Option<u16>, tree: &mut Tree) {
    let template = model.service.name.template(id);
    tree.file(format!("{template}.service"), deployment_unit(layout, model, id, systemd));
    for listener in model.service.listen.all().filter(|listener| listener.has_socket()) {
        let template = listener.name.map_or(template.clone(), |name| model.service.name.listener_template(id, name));
        tree.file(format!("{template}.socket"), deployment_socket(layout, model, id, listener, systemd));
    }
}

fn deployment_unit(layout: &Layout, model: &Model, id: &GenerationId, systemd: Option<u16>) -> String {
    let Model { service, systemd: passed } = model;
    let names = Names::new(layout, model, id);
    let Names { files, deployments, sockets, .. } = &names;
    let process = &service.process;
    let sockets = service.listen.all().map(|listener| {
        let (name, value) = (listener::variable("CONDUCTOR_SOCKET", listener.name), format!("{sockets}/"));
        format!("{}{}", PerInstance(Assignment { name: &name, value: &value }), variable::below_instance(listener))
    });
    let sockets = sockets.collect();
    let on_tcp = service.listen.all().filter(|listener| listener.kind == ListenKind::Tcp);
    let working_dir = names.working_dir();
    let mut user = user_lines(layout.scope, &process.user);
    user.extend(own_files_lines(layout.scope, process, &layout.histories(), Some(files.as_path())));
    finish(&DeploymentUnit {
        common: Common::new(layout, service),
        id,
        socket_units: socket_units(service, id),
        passed_sockets: service.passed_ports().map(|port| format!("{}.socket", port.unit(&service.name))).collect(),
        names: (!process.parts.is_empty()).then_some(NAMES_UNIT),
        rests: service.listen.idle_timeout.is_some(),
        fails: passed.has_start_limit(),
        passthrough_unit: lines(&passed.unit),
        kind: engine::service_type(service),
        of_engine: if process.engine.is_privileged() {
            engine::unit_lines(&process.engine, deployments)
        } else {
            directories(service, id)
        },
        environment_files: environment_files(&names, passed),
        held_ports: if layout.scope == Scope::System && service.binds_port() { on_tcp.count() } else { 0 },
        exec: exec_lines(&names),
        working_dir: Text(working_dir.as_str()),
        environment: environment(&names),
        service_dir: Assignment { name: "CONDUCTOR_SERVICE_DIR", value: files.as_str() },
        deployment_dir: {
            let dir = Assignment { name: "CONDUCTOR_DEPLOYMENT_DIR", value: deployments.as_str() };
            format!("{}{}", PerInstance(dir), variable::own_dir(service))
        },
        own_dir: (!process.engine.is_privileged()).then(|| format!("{}%i/{OWN_DIR}", Text(deployments.as_str()))),
        sockets,
        credentials: credential_lines(process),
        runs_declared: runs_declared(service, passed),
        user,
        watchdog: service.health.live.as_ref().filter(|live| live.check == Check::Notify).map(watchdog),
        backs_off: systemd.is_some_and(|version| version >= 254),
        timeout_start: timespan::format(service.start_limit()),
        timeout_stop: timespan::format(service.stop_limit()),
        strict: layout.scope == Scope::System && process.sandbox == Sandbox::Strict,
        passthrough_service: passed_through(passed, deployments),
    })
}

fn watchdog(live: &Live) -> String {
    timespan::format(live.interval)
}

/// Writes the declared variables that are known before a deployment starts, and the home of processes.
fn environment(names: &Names) -> Vec<String> {
    let assignment = |name: &str, value: String| Specified(&format!("{name}={value}")).to_string();
    let declared = names.service.process.environment.keys();
    let declared = declared.filter_map(|name| Some(assignment(name, names.variables.value(name)?)));
    names.variables.home().map(|home| assignment(HOME, home)).into_iter().chain(declared).collect()
}

/// Writes the files with variables, of which later ones override earlier ones. Those of people may be missing here:
/// without them systemd would run no command of the unit, also none that drains it. `_prepare` refuses to start it.
fn environment_files(names: &Names, passed: &Systemd) -> Vec<Line<'static>> {
    let Names { service, files, deployments, .. } = names;
    let mut lines = Vec::from_iter(names.has_references.then(|| environment_file(deployments, DECLARED)));
    lines.extend(service.process.environment_files.iter().map(|file| {
        let file = file.strip_prefix('-').unwrap_or(file);
        let path = file.strip_prefix("./").map_or_else(|| file.into(), |relative| files.join(relative));
        Line::new("EnvironmentFile", format!("-{}", Text(path.as_str())))
    }));
    // Those that are passed through precede conductor's own, too.
    let is_last = !passed.has_environment_file();
    lines.extend((names.prepares && is_last).then(|| environment_file(deployments, ENVIRONMENT)));
    lines
}

/// Writes a file with variables in the DEPLOYMENTDIR.
fn environment_file(deployments: &Utf8Path, file: &str) -> Line<'static> {
    Line::new("EnvironmentFile", format!("-{}%i/{file}", Text(deployments.as_str())))
}

/// Writes the directives that are passed through. Deployments share a `RuntimeDirectory=`: the first to stop must not
/// remove it.
fn passed_through<'a>(passed: &'a Systemd, deployments: &Utf8Path) -> Vec<Line<'a>> {
    let preserved = passed.has_runtime_directory().then(|| Line::new("RuntimeDirectoryPreserve", "yes"));
    let own = passed.has_environment_file().then(|| environment_file(deployments, ENVIRONMENT));
    lines(&passed.service).into_iter().chain(preserved).chain(own).collect()
}

/// Returns whether a deployment's unit has a command that is to be in its sandbox: a process, a hook, a check, or one
/// that an administrator has put into a drop-in.
fn runs_declared(service: &Service, passed: &Systemd) -> bool {
    let Hooks {
        release: _,
        post_release: _,
        verify: _,
        pre_start,
        post_start,
        pre_stop,
        pre_drain,
        drain,
        post_stop,
        inside: _,
    } = &service.hooks;
    let on_host = |hook, is_declared| is_declared && !service.runs_inside(hook);
    let hooks = pre_start.is_some()
        || on_host(RunningHook::PostStart, post_start.is_some())
        || on_host(RunningHook::PreStop, pre_stop.is_some())
        || on_host(RunningHook::PreDrain, pre_drain.is_some())
        || on_host(RunningHook::Drain, drain.is_some())
        || post_stop.is_some();
    let added = passed.drop_ins.iter().flat_map(|drop_in| unitfile::lines(&drop_in.content)).any(|line| runs(&line));
    !service.process.engine.is_privileged() || hooks || added
}

/// Returns whether a line of a unit runs a command. `ExecPaths=` and `ExecSearchPath=` do not.
fn runs(line: &unitfile::Line) -> bool {
    let is_path = matches!(line.key.as_str(), "ExecPaths" | "ExecSearchPath");
    line.section == "Service" && line.key.starts_with("Exec") && !is_path && !line.value.is_empty()
}

/// Returns the sockets by systemd that the process takes, or that its callers reach.
fn socket_units(service: &Service, id: &GenerationId) -> Vec<String> {
    let rests = service.listen.idle_timeout.is_some();
    let unit = |listener: Listener| {
        let template = match (listener.name, listener.kind, rests) {
            (Some(name), ListenKind::Activation | ListenKind::Tcp, _) => service.name.listener_template(id, name),
            (None, ListenKind::Activation, true) => service.name.inner_template(id),
            (None, ListenKind::Activation | ListenKind::Tcp, false) => service.name.template(id),
            // Callers' own socket stays when the process rests.
            (_, ListenKind::Unix | ListenKind::None, _) | (None, ListenKind::Tcp, true) => return None,
        };
        Some(format!("{template}%i.socket"))
    };
    service.listen.all().filter_map(unit).collect()
}

/// Returns the directory where a process may bind sockets.
fn directories(service: &Service, id: &GenerationId) -> Vec<Line<'static>> {
    if !service.listen.has(ListenKind::Unix) {
        return Vec::new();
    }
    let dir = format!("conductor/sockets/{}-{id}/%i.d", service.name);
    vec![Line::new("RuntimeDirectory", dir), Line::new("RuntimeDirectoryMode", "0755")]
}

/// Writes the process and the hooks around it, in the order of a deployment's life.
fn exec_lines(names: &Names) -> Vec<Line<'static>> {
    let mut lines = start_lines(names);
    lines.extend(stop_lines(names));
    lines
}

/// Writes one of conductor's own commands about a deployment.
fn own_command(names: &Names, verb: &str, options: &str) -> String {
    format!("{} deployment {verb}{options} {}", names.program, PerInstance(Argument(&names.deployments)))
}

fn start_lines(names: &Names) -> Vec<Line<'static>> {
    let service = names.service;
    let own = |verb: &str, options: &str| own_command(names, verb, options);
    let Hooks { pre_start, post_start, .. } = &service.hooks;
    let has_post_start = post_start.is_some();
    let health = format!(" --timeout={}", timespan::format(service.deploy.health_timeout));
    // A command that checks health is the declaration's: the service's user runs it, in its sandbox.
    let check = check_command(names, &service.health, &health);
    let post_start = post_start.iter().map(|hook| hook_line(names, "ExecStartPost", "", hook, RunningHook::PostStart));

    let mut lines = Vec::new();
    if names.prepares && engine::is_prepared_apart(service) {
        let prefix = if names.must_be_prepared { "+" } else { "-+" };
        lines.push(Line::new("ExecStartPre", Prefixed(prefix, own("_prepare", ""))));
    }
    lines.extend(pre_start.iter().map(|hook| Line::new("ExecStartPre", limited_command(&names.files, hook))));
    lines.push(engine::start(names));
    if check.is_none() && !has_post_start {
        lines.push(Line::new("ExecStartPost", Prefixed("+", own("_start", &health))));
        return lines;
    }
    if service.is_asked_for_address() {
        lines.push(Line::new("ExecStartPost", Prefixed("+", own("_start", " --only=address"))));
    }
    lines.push(match check {
        Some(check) => Line::new("ExecStartPost", check),
        None => Line::new("ExecStartPost", Prefixed("+", own("_start", &format!(" --only=health{health}")))),
    });
    lines.extend(post_start);
    lines.push(Line::new("ExecStartPost", Prefixed("+", own("_start", " --only=slots"))));
    lines
}

/// Writes a hook that runs while the deployment does: as the service's user, or in a container.
fn hook_line(names: &Names, key: &'static str, prefix: &'static str, hook: &Hook, when: RunningHook) -> Line<'static> {
    if !names.service.runs_inside(when) {
        return Line::new(key, format!("{prefix}{}", limited_command(&names.files, hook)));
    }
    Line::new(key, format!("{prefix}+{} {}", limit(hook), inside(names, &hook.command)))
}

/// Writes conductor's command that runs a command in a container of the deployment.
fn inside(names: &Names, command: &Command) -> String {
    format!("{} --{}", own_command(names, "_inside", ""), words(&command.0))
}

/// Writes conductor's command that repeats a declared check; None if the check is not a command. Its program starts in
/// the directory of the declaration's files, so that messages have its path as it is declared.
fn check_command(names: &Names, health: &Health, limit: &str) -> Option<String> {
    let Health { check: Check::Exec { command }, interval, timeout, retries, .. } = health else { return None };
    let [interval, timeout] = [interval, timeout].map(|span| timespan::format(*span));
    let retries = retries.map_or_else(String::new, |most| format!(" --retries={most}"));
    let options = format!("{limit} --interval={interval} --attempt={timeout}{retries}");
    if names.service.process.engine.is_privileged() {
        let own = own_command(names, "_check", &format!("{options} --inside"));
        return Some(Prefixed("+", format!("{own} --{}", words(&command.0))).to_string());
    }
    let (program, arguments) = command.0.split_first()?;
    let is_at_files = names.service.process.working_dir.is_none();
    let program = if is_at_files { Utf8PathBuf::from(program) } else { program_path(&names.files, program) };
    Some(format!("{} -- {}{}", own_command(names, "_check", &options), Argument(&program), words(arguments)))
}

fn stop_lines(names: &Names) -> Vec<Line<'static>> {
    let service = names.service;
    let own = |verb: &str, options: &str| own_command(names, verb, options);
    let Hooks { pre_stop, pre_drain, drain, post_stop, .. } = &service.hooks;
    let Deploy { drain_timeout, abandoned_timeout, drain_signal, .. } = &service.deploy;
    let drained = format!(" --timeout={}", timespan::format(*drain_timeout));
    let abandoned = format!(" --abandoned={}", timespan::format(*abandoned_timeout));
    let signal = drain_signal.as_ref().map_or_else(String::new, |signal| format!(" --signal={signal}"));

    let mut lines = Vec::new();
    // A hook that fails must not keep the deployment from leaving its slots and draining.
    lines.extend(pre_stop.iter().map(|hook| hook_line(names, "ExecStop", "-", hook, RunningHook::PreStop)));
    // Nothing of the declaration's comes between: one command less, and each takes 10 ms before systemd 254.
    let removes = service.process.engine.is_privileged() && drain.is_none();
    let remove = if removes { " --remove" } else { "" };
    if let Some(hook) = pre_drain {
        lines.push(Line::new("ExecStop", Prefixed("+", own("_stop", " --only=leave"))));
        lines.push(hook_line(names, "ExecStop", "-", hook, RunningHook::PreDrain));
    }
    let only = if pre_drain.is_some() { " --only=drain" } else { "" };
    let options = format!("{only}{drained}{abandoned}{signal}{remove}");
    lines.push(Line::new("ExecStop", Prefixed("+", own("_stop", &options))));
    lines.extend(drain.iter().map(|drain| {
        let waits = own("_drain", &drained);
        match service.runs_inside(RunningHook::Drain) {
            true => Line::new("ExecStop", Prefixed("-+", format!("{waits} -- {}", inside(names, drain)))),
            false => {
                let command = argument_command(&names.files, drain);
                Line::new("ExecStop", Prefixed("-", format!("{waits} -- {command}")))
            }
        }
    }));
    let is_to_remove = service.process.engine.is_privileged() && !removes;
    lines.extend(is_to_remove.then(|| Line::new("ExecStop", Prefixed("-+", own("_remove", "")))));
    let on_host = |hook| Line::new("ExecStopPost", Prefixed("-", limited_command(&names.files, hook)));
    lines.extend(post_stop.iter().map(on_host));
    lines.push(Line::new("ExecStopPost", Prefixed("+", own("_cleanup", ""))));
    lines
}

fn deployment_socket(
    layout: &Layout,
    model: &Model,
    id: &GenerationId,
    listener: Listener,
    systemd: Option<u16>,
) -> String {
    let Model { service, systemd: passed } = model;
    let Listener { name, kind: _, is_bridged } = listener;
    let sockets = layout.sockets(&service.name, id);
    let started = match (name, is_bridged) {
        (None, true) => Some(service.name.bridge_template(id)),
        (Some(_), false) => Some(service.name.template(id)),
        // The unit that has its own name.
        (None, false) | (Some(_), true) => None,
    };
    finish(&DeploymentSocket {
        common: Common::new(layout, service),
        id,
        what: name.map_or_else(|| "socket of".to_owned(), |name| format!("socket {name} of")),
        sockets: Text(sockets.as_str()),
        path: Raw(&numbered("%i", name)),
        descriptor: name.map_or("listen", ListenerName::as_str),
        service: started.map(|template| format!("{template}%i.service")),
        outlasts: service.listen.idle_timeout.is_some(),
        polls_without_limit: is_bridged && polls_without_limit(systemd),
        passthrough_socket: lines(&passed.socket),
    })
}
