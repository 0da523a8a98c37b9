//! A service's units: the service people start, its deployments' template and socket, its slice.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use askama::Template;
use camino::{Utf8Path, Utf8PathBuf};

use crate::escape::{Assignment, CommandLine, Raw, Text, UnitNamePart, Word};
use crate::layout::{Layout, Scope};
use crate::model::{
    Check, Command, Deploy, Directive, Engine, Group, Hook, Hooks, ListenKind, Passthrough, Process, Sandbox, Service,
    Strategy, User,
};
use crate::names::{GenerationId, PROXY_GROUP};
use crate::target::systemd::{bridge, podman};
use crate::timespan;
use crate::tree::Tree;

/// What systemd and the hooks need beside the time that a declaration allows.
const MARGIN: Duration = Duration::from_secs(10);
/// How long podman may take to get the images of a new generation, before anything of the old one is touched.
const PULL: Duration = Duration::from_secs(15 * 60);

/// One line of a unit: `Key=value`, the value escaped by its type.
pub struct Line<'a> {
    key: &'a str,
    value: Box<dyn Display + 'a>,
}

impl<'a> Line<'a> {
    pub fn new(key: &'a str, value: impl Display + 'a) -> Self {
        Self { key, value: Box::new(value) }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.key, self.value)
    }
}

/// A command line with one of systemd's prefixes, systemd.service(5).
pub struct Prefixed<T>(pub &'static str, pub T);

impl<T: Display> Display for Prefixed<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.0, self.1)
    }
}

/// A word with the unit's instance, `%i`, at its end, inside its quotes where it has some.
pub struct PerInstance<T>(pub T);

impl<T: Display> Display for PerInstance<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let word = self.0.to_string();
        match word.strip_suffix('"') {
            Some(open) => write!(out, "{open}%i\""),
            None => write!(out, "{word}%i"),
        }
    }
}

/// An argument of one of conductor's own commands: no variable is expanded in it.
pub struct Argument<'a>(pub &'a Utf8Path);

impl Display for Argument<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Word(&self.0.as_str().replace('$', "$$")).fmt(out)
    }
}

/// What all units of a service say.
pub struct Common<'a> {
    pub source: Text<'a>,
    pub description: Text<'a>,
    pub name: &'a str,
    pub slice: String,
    /// Of the system's manager: with users and groups.
    pub system: bool,
    pub group: &'static str,
}

impl<'a> Common<'a> {
    pub fn new(layout: &Layout, service: &'a Service) -> Self {
        Self {
            source: Text(service.source.as_str()),
            description: Text(&service.description),
            name: service.name.as_str(),
            slice: service.slice_name(),
            system: layout.scope == Scope::System,
            group: PROXY_GROUP,
        }
    }
}

#[derive(Template)]
#[template(path = "systemd/service.service", escape = "none")]
struct ServiceUnit<'a> {
    common: Common<'a>,
    /// What it is a part of.
    group: Option<&'a str>,
    has_routes: bool,
    dependencies: Vec<&'a str>,
    conditions: Vec<Line<'a>>,
    program: &'a str,
    dir: Argument<'a>,
    timeout_start: String,
    timeout_stop: String,
}

#[derive(Template)]
#[template(path = "systemd/group.service", escape = "none")]
struct GroupUnit<'a> {
    common: Common<'a>,
    dependencies: Vec<&'a str>,
    conditions: Vec<Line<'a>>,
    program: &'a str,
    dir: Argument<'a>,
}

#[derive(Template)]
#[template(path = "systemd/deployment.service", escape = "none")]
struct DeploymentUnit<'a> {
    common: Common<'a>,
    id: &'a GenerationId,
    /// What has to be up for as long as the process is.
    socket_units: Vec<String>,
    rests: bool,
    passthrough_unit: Vec<Line<'a>>,
    kind: &'static str,
    of_engine: Vec<Line<'a>>,
    has_environment_file: bool,
    deployments: Text<'a>,
    exec: Vec<Line<'a>>,
    files: Text<'a>,
    environment: Vec<Assignment<'a>>,
    service_dir: Assignment<'a>,
    deployment_dir: PerInstance<Assignment<'a>>,
    socket: String,
    credentials: Vec<Line<'a>>,
    /// Some of its commands are the declaration's own, and not conductor's or podman's.
    runs_declared: bool,
    user: Vec<Line<'a>>,
    backs_off: bool,
    timeout_start: String,
    timeout_stop: String,
    strict: bool,
    passthrough_service: Vec<Line<'a>>,
}

#[derive(Template)]
#[template(path = "systemd/deployment.socket", escape = "none")]
pub struct DeploymentSocket<'a> {
    pub common: Common<'a>,
    pub id: &'a GenerationId,
    /// For people, before "deployment 1".
    pub what: &'static str,
    /// Within the directory of the generation's sockets.
    pub path: Raw<'a>,
    pub sockets: Text<'a>,
    /// What it starts, if that is not called as the socket is.
    pub service: Option<String>,
    /// It stays when the deployment rests.
    pub outlasts: bool,
    pub polls_without_limit: bool,
    pub passthrough_socket: Vec<Line<'a>>,
}

#[derive(Template)]
#[template(path = "systemd/service.slice", escape = "none")]
struct ServiceSlice<'a> {
    common: Common<'a>,
    lines: Vec<Line<'a>>,
}

/// Renders all units of a service. `systemd` is the host's version; unknown means the oldest supported.
pub fn render(layout: &Layout, service: &Service, id: &GenerationId, systemd: Option<u16>) -> Tree {
    let mut tree = Tree::default();
    let name = service.name.as_str();
    let template = service.name.template(id);
    tree.file(format!("{name}.service"), service_unit(layout, service));
    tree.file(format!("{template}.service"), deployment_unit(layout, service, id, systemd));
    if service.listen.has_socket() {
        tree.file(format!("{template}.socket"), deployment_socket(layout, service, id, systemd));
    }
    bridge::render(layout, service, id, &mut tree);
    bridge::ports(layout, service, systemd, &mut tree);
    tree.file(service.slice_name(), slice(layout, service, &service.description, &service.slice));
    if let Some(group) = &service.group {
        tree.extend(of_the_group(layout, service, group));
    }
    for drop_in in &service.drop_ins {
        tree.file(format!("{template}.service.d/{}", drop_in.name), drop_in.content.as_str());
    }
    for unit in &service.wanted_by {
        tree.symlink(format!("{unit}.wants/{name}.service"), format!("../{name}.service"));
    }
    tree
}

/// The units that the parts of a service have together; each part brings them.
fn of_the_group(layout: &Layout, service: &Service, group: &Group) -> Tree {
    let mut tree = Tree::default();
    let Group { name, description, dependencies, conditions, slice: lines, wanted_by } = group;
    let dir = layout.declaration(name);
    let unit = GroupUnit {
        common: Common { name: name.as_str(), description: Text(description), ..Common::new(layout, service) },
        dependencies: dependencies.iter().map(|dependency| dependency.name.as_str()).collect(),
        conditions: conditions.iter().map(|Directive { name, value }| Line::new(name, Text(value))).collect(),
        program: &layout.program(),
        dir: Argument(&dir),
    };
    tree.file(format!("{name}.service"), finish(&unit));
    tree.file(format!("conductor-{}.slice", UnitNamePart(name.as_str())), slice(layout, service, description, lines));
    for unit in wanted_by {
        tree.symlink(format!("{unit}.wants/{name}.service"), format!("../{name}.service"));
    }
    tree
}

pub fn finish(unit: &impl Template) -> String {
    let mut text = unit.render().expect("a unit's template takes any model");
    text.push('\n');
    text
}

pub fn lines(directives: &[Directive]) -> Vec<Line<'_>> {
    directives.iter().map(|Directive { name, value }| Line::new(name, Raw(value))).collect()
}

fn service_unit(layout: &Layout, service: &Service) -> String {
    let Deploy { strategy, max_surge, .. } = service.deploy;
    let dir = layout.service_dir(service);
    let batches = match strategy {
        Strategy::Rolling => service.concurrency.div_ceil(max_surge),
        Strategy::BlueGreen | Strategy::Recreate => 1,
    };
    // A rollout that turns back starts and stops everything twice.
    let pull = if service.process.engine.is_podman() { PULL } else { Duration::ZERO };
    let rollout = 2 * batches * (start_time(service) + stop_time(service)) + pull;
    finish(&ServiceUnit {
        common: Common::new(layout, service),
        group: service.group.as_ref().map(|group| group.name.as_str()),
        has_routes: !service.routes.is_empty(),
        dependencies: service.dependencies.iter().map(|dependency| dependency.name.as_str()).collect(),
        conditions: service.conditions.iter().map(|Directive { name, value }| Line::new(name, Text(value))).collect(),
        program: &layout.program(),
        dir: Argument(&dir),
        timeout_start: timespan::format(rollout),
        timeout_stop: timespan::format(stop_time(service) + MARGIN),
    })
}

/// A deployment's commands before, during and after its health check, each with its own limit.
fn start_time(service: &Service) -> Duration {
    let Hooks { pre_start, post_start, .. } = &service.hooks;
    let hooks = [pre_start, post_start].into_iter().flatten();
    hooks.map(hook_time).sum::<Duration>() + service.deploy.health_timeout + MARGIN
}

/// The drain and the processes' own end, and each hook.
fn stop_time(service: &Service) -> Duration {
    let Hooks { pre_stop, drain: _, post_stop, .. } = &service.hooks;
    let hooks = [pre_stop, post_stop].into_iter().flatten();
    hooks.map(hook_time).sum::<Duration>() + service.deploy.drain_timeout + MARGIN + stop_limit(service)
}

fn hook_time(hook: &Hook) -> Duration {
    hook.timeout + MARGIN
}

/// Whether podman has to be asked where a deployment can be reached.
pub fn is_asked_for_address(service: &Service) -> bool {
    service.process.engine.is_podman() && service.listen.kind != ListenKind::Activation
}

/// systemd's limit is one for all commands of a start: room for the longest. Where the process itself
/// says when it is ready, nothing else keeps that time.
pub fn start_limit(service: &Service) -> Duration {
    let Hooks { pre_start, post_start, .. } = &service.hooks;
    let health = match service.health.check {
        Check::Notify => service.deploy.health_timeout,
        Check::Http { .. } | Check::Tcp | Check::Exec { .. } => service.deploy.health_timeout + MARGIN,
    };
    [pre_start, post_start].into_iter().flatten().map(hook_time).fold(health, Duration::max)
}

fn stop_limit(service: &Service) -> Duration {
    let Hooks { pre_stop, post_stop, .. } = &service.hooks;
    // podman gives a container ten seconds to end, in the same command.
    let removal = if service.process.engine.is_podman() { MARGIN } else { Duration::ZERO };
    let drain = service.deploy.drain_timeout + MARGIN + removal;
    [pre_stop, post_stop].into_iter().flatten().map(hook_time).fold(drain, Duration::max)
}

fn deployment_unit(layout: &Layout, service: &Service, id: &GenerationId, systemd: Option<u16>) -> String {
    let files = layout.files(&service.name, id);
    let deployments = deployments(layout, service, id);
    let sockets = layout.sockets(&service.name, id);
    let Process { engine, environment, user, credentials, credentials_encrypted, sandbox } = &service.process;
    let Passthrough { unit, service: passthrough_service, socket: _ } = &service.passthrough;
    let socket = PerInstance(Assignment { name: "CONDUCTOR_SOCKET", value: &format!("{sockets}/") }).to_string();
    // What stands behind another socket, or binds its own, has it in a directory of its own.
    let in_its_own = service.listen.kind == ListenKind::Unix || service.listen.is_bridged();
    let socket = if in_its_own { format!("{socket}.d/socket") } else { socket };
    let mut credential_lines = Vec::new();
    let credential = |(name, path): (&String, &Utf8PathBuf)| format!("{name}:{}", Text(path.as_str()));
    for loaded in credentials.iter().map(credential) {
        credential_lines.push(Line::new("LoadCredential", loaded));
    }
    for loaded in credentials_encrypted.iter().map(credential) {
        credential_lines.push(Line::new("LoadCredentialEncrypted", loaded));
    }
    finish(&DeploymentUnit {
        common: Common::new(layout, service),
        id,
        socket_units: socket_units(service, id),
        rests: service.listen.idle_timeout.is_some(),
        passthrough_unit: lines(unit),
        kind: match service.health.check {
            // It runs when podman has started it, and who is its main process is written down then.
            _ if matches!(engine, Engine::Pod(_)) => "forking",
            // podman says when the container runs, and which process is the main one.
            _ if engine.is_podman() => "notify",
            Check::Notify => "notify",
            Check::Http { .. } | Check::Tcp | Check::Exec { .. } => "exec",
        },
        of_engine: if engine.is_podman() { podman::unit_lines(engine, &deployments) } else { directories(service, id) },
        has_environment_file: engine.is_podman() || service.listen.kind == ListenKind::Tcp,
        deployments: Text(deployments.as_str()),
        exec: exec_lines(layout, service, id),
        files: Text(files.as_str()),
        environment: environment.iter().map(|(name, value)| Assignment { name, value }).collect(),
        service_dir: Assignment { name: "CONDUCTOR_SERVICE_DIR", value: files.as_str() },
        deployment_dir: PerInstance(Assignment { name: "CONDUCTOR_DEPLOYMENT_DIR", value: deployments.as_str() }),
        socket,
        credentials: credential_lines,
        runs_declared: runs_declared(service),
        user: user_lines(layout.scope, user),
        backs_off: systemd.is_some_and(|version| version >= 254),
        timeout_start: timespan::format(start_limit(service)),
        timeout_stop: timespan::format(stop_limit(service)),
        strict: layout.scope == Scope::System && *sandbox == Sandbox::Strict,
        passthrough_service: lines(passthrough_service),
    })
}

/// Whether a deployment's unit has a command that is to be in its sandbox: a process, a hook, a check, or one that an
/// administrator has put into a drop-in.
fn runs_declared(service: &Service) -> bool {
    let Hooks { pre_start, post_start, pre_stop, drain, post_stop } = &service.hooks;
    let hooks = [pre_start, post_start, pre_stop, post_stop].into_iter().any(Option::is_some) || drain.is_some();
    let added = service.drop_ins.iter().any(|drop_in| drop_in.content.contains("Exec"));
    !service.process.engine.is_podman() || hooks || added || matches!(service.health.check, Check::Exec { .. })
}

/// A user's manager cannot change users; its services run as that user.
pub fn user_lines(scope: Scope, user: &User) -> Vec<Line<'_>> {
    match (scope, user) {
        (Scope::User, _) => Vec::new(),
        (Scope::System, User::Static(name)) => vec![Line::new("User", Text(name))],
        (Scope::System, User::Dynamic(name)) => vec![Line::new("DynamicUser", "yes"), Line::new("User", Text(name))],
    }
}

/// Sockets by systemd that the process takes, or that callers of it reach.
fn socket_units(service: &Service, id: &GenerationId) -> Vec<String> {
    let (_name, listen) = (service.name.as_str(), &service.listen);
    match (listen.kind, listen.idle_timeout) {
        (ListenKind::Activation, Some(_)) => vec![format!("{}%i.socket", service.name.inner_template(id))],
        // Callers' own socket stays when the process rests.
        (_, Some(_)) | (ListenKind::Unix, None) => Vec::new(),
        (ListenKind::Activation | ListenKind::Tcp, None) => vec![format!("{}%i.socket", service.name.template(id))],
    }
}

/// Where a process may bind a socket.
fn directories(service: &Service, id: &GenerationId) -> Vec<Line<'static>> {
    if service.listen.kind != ListenKind::Unix {
        return Vec::new();
    }
    let dir = format!("conductor/sockets/{}-{id}/%i.d", service.name);
    vec![Line::new("RuntimeDirectory", dir), Line::new("RuntimeDirectoryMode", "0755")]
}

/// Directories of the generation's deployments, up to their instance.
fn deployments(layout: &Layout, service: &Service, id: &GenerationId) -> Utf8PathBuf {
    layout.deployments().join(format!("{}-{id}-", service.name))
}

/// The process and the hooks around it, in the order of a deployment's life.
fn exec_lines<'a>(layout: &Layout, service: &'a Service, id: &GenerationId) -> Vec<Line<'a>> {
    let files = layout.files(&service.name, id);
    let hook = |hook: &Hook| limited_command(&files, hook);
    let deployments = deployments(layout, service, id);
    let own = |verb: &str, options: String| {
        format!("{} deployment {verb}{options} {}", layout.program(), PerInstance(Argument(&deployments)))
    };
    let Hooks { pre_start, post_start, pre_stop, drain, post_stop } = &service.hooks;
    let Deploy { drain_timeout, health_timeout, .. } = &service.deploy;
    let health = format!(" --timeout={}", timespan::format(*health_timeout));
    let drained = format!(" --timeout={}", timespan::format(*drain_timeout));
    // A command that checks health is the declaration's: the service's user runs it, in its sandbox.
    let checked_as_user = matches!(service.health.check, Check::Exec { .. });

    let mut lines = Vec::new();
    let is_prepared = service.process.engine.is_podman() || service.listen.kind == ListenKind::Tcp;
    lines.extend(
        (is_prepared && podman::is_prepared_apart(service))
            .then(|| Line::new("ExecStartPre", Prefixed("+", own("_prepare", String::new())))),
    );
    lines.extend(pre_start.iter().map(|pre_start| Line::new("ExecStartPre", hook(pre_start))));
    let program = layout.program();
    let sockets = layout.sockets(&service.name, id);
    let paths = podman::Paths { files: &files, deployments: &deployments, sockets: &sockets };
    let by_podman = podman::start(&program, service, id, &paths);
    lines.extend(by_podman.map(|start| Line::new("ExecStart", Prefixed("+", start))));
    if let Engine::Exec { command } = &service.process.engine {
        lines.push(Line::new("ExecStart", declared_command(&files, command)));
    }
    if is_asked_for_address(service) && (post_start.is_some() || checked_as_user) {
        lines.push(Line::new("ExecStartPost", Prefixed("+", own("_start", " --only=address".into()))));
    }
    if post_start.is_none() && !checked_as_user {
        lines.push(Line::new("ExecStartPost", Prefixed("+", own("_start", health))));
    } else {
        let privileges = if checked_as_user { "" } else { "+" };
        lines.push(Line::new("ExecStartPost", Prefixed(privileges, own("_start", format!(" --only=health{health}")))));
        lines.extend(post_start.iter().map(|post_start| Line::new("ExecStartPost", hook(post_start))));
        lines.push(Line::new("ExecStartPost", Prefixed("+", own("_start", " --only=slots".into()))));
    }
    // A hook that fails must not keep the deployment from leaving its slots and draining.
    lines.extend(pre_stop.iter().map(|pre_stop| Line::new("ExecStop", Prefixed("-", hook(pre_stop)))));
    // Nothing of the declaration's comes between: one command less, and each takes 10 ms before systemd 254.
    let removes = service.process.engine.is_podman() && drain.is_none();
    let stop = if removes { format!("{drained} --remove") } else { drained.clone() };
    lines.push(Line::new("ExecStop", Prefixed("+", own("_stop", stop))));
    lines.extend(drain.iter().map(|drain| {
        let rest = format!("{} -- {}", own("_drain", drained.clone()), argument_command(&files, drain));
        Line::new("ExecStop", Prefixed("-", rest))
    }));
    let stop_by_podman = podman::stop(&program, service, id, &paths).filter(|_| !removes);
    lines.extend(stop_by_podman.map(|stop| Line::new("ExecStop", Prefixed("-+", stop))));
    lines.extend(post_stop.iter().map(|post_stop| Line::new("ExecStopPost", Prefixed("-", hook(post_stop)))));
    lines.push(Line::new("ExecStopPost", Prefixed("+", own("_cleanup", String::new()))));
    lines
}

/// A hook under timeout(1), which ends it and all that it started in its process group.
fn limited_command(files: &Utf8Path, hook: &Hook) -> String {
    let Hook { command, timeout } = hook;
    let limit = timeout.as_secs_f64();
    format!("timeout --verbose --kill-after=1s {limit}s {}", argument_command(files, command))
}

/// A declared command as arguments of another: systemd expands variables in its program's path then.
fn argument_command(files: &Utf8Path, command: &Command) -> String {
    let Some((program, arguments)) = command.0.split_first() else { return String::new() };
    let arguments = arguments.iter().map(|word| format!(" {}", Word(word)));
    format!("{}{}", Argument(&program_path(files, program)), arguments.collect::<String>())
}

/// A declared command, its program found among the files when it starts with `./`.
fn declared_command(files: &Utf8Path, command: &Command) -> String {
    let Some((program, arguments)) = command.0.split_first() else { return String::new() };
    CommandLine { program: program_path(files, program).as_str(), arguments }.to_string()
}

/// Where a declared program is; a bare name stays one.
pub fn program_path(files: &Utf8Path, program: &str) -> Utf8PathBuf {
    program.strip_prefix("./").map_or_else(|| program.into(), |relative| files.join(relative))
}

fn deployment_socket(layout: &Layout, service: &Service, id: &GenerationId, systemd: Option<u16>) -> String {
    let sockets = layout.sockets(&service.name, id);
    let is_bridged = service.listen.is_bridged();
    let bridge = format!("{}%i.service", service.name.bridge_template(id));
    finish(&DeploymentSocket {
        common: Common::new(layout, service),
        id,
        what: "socket of",
        sockets: Text(sockets.as_str()),
        path: Raw("%i"),
        service: is_bridged.then_some(bridge),
        outlasts: service.listen.idle_timeout.is_some(),
        polls_without_limit: is_bridged && bridge::polls_without_limit(systemd),
        passthrough_socket: lines(&service.passthrough.socket),
    })
}

fn slice(layout: &Layout, service: &Service, description: &str, directives: &[Directive]) -> String {
    let of = Common { description: Text(description), ..Common::new(layout, service) };
    finish(&ServiceSlice { common: of, lines: lines(directives) })
}
