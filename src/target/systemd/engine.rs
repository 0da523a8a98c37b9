//! The lines of a deployment's unit for its engine: a command of its own, or how podman runs a container or a pod as
//! the unit's processes.
//!
//! podman has to be root and in the mount namespace of PID 1, whatever the unit's own sandbox: that one is for
//! the hooks. `conductor deployment _host` becomes such a podman. Options are those of podman-run(1) and
//! podman-kube-play(1) as podman-systemd.unit(5) gives them.

use camino::{Utf8Path, Utf8PathBuf};

use crate::engine::podman::arguments::{CREDENTIALS, options};
use crate::escape::{DeclaredWord, Specified, Text};
use crate::layout::Layout;
use crate::model::{Check, Container, Engine, ListenKind, Model, Pod, Readiness, Service};
use crate::names::listener::variable;
use crate::names::{GenerationId, PID_FILE, VARIABLE_NAMES};
use crate::target::systemd::command::declared_command;
use crate::target::systemd::unit::{Line, Prefixed};
use crate::variable::{self, ForUnit, names_credentials};

/// Variables of conductor's that mean something within a container.
const VARIABLES: &[&str] = &["CONDUCTOR_SERVICE", "CONDUCTOR_GENERATION", "CONDUCTOR_DEPLOYMENT", "CONDUCTOR_INSTANCE"];
/// The exit status of a process that SIGTERM ended, as podman's monitor returns it.
const TERMINATED: &str = "143";
/// What the main process of a pod returns, which podman kills when the pod is down.
const POD_DOWN: &str = "143 137";

/// What the command lines of a generation's deployments name.
pub(super) struct Names<'a> {
    pub(super) service: &'a Service,
    /// Conductor's own program.
    pub(super) program: String,
    /// `NAME-GENERATION-%i`: what a deployment, its container and its pod are called.
    pub(super) deployment: String,
    /// The declaration's files.
    pub(super) files: Utf8PathBuf,
    /// DEPLOYMENTDIR up to its instance.
    pub(super) deployments: Utf8PathBuf,
    /// Directory of the sockets of a generation's deployments.
    pub(super) sockets: Utf8PathBuf,
    /// What the declared variables stand for.
    pub(super) variables: ForUnit<'a>,
    /// Some declared variables are known only when a deployment starts.
    pub(super) has_references: bool,
    /// A deployment is prepared before its process starts.
    pub(super) prepares: bool,
    /// Without that its process does not start. Otherwise it may only lack `$CONDUCTOR_DEPLOYMENT_DIR`: one that crashes
    /// while /run is full is to start again.
    pub(super) must_be_prepared: bool,
}

impl<'a> Names<'a> {
    /// Takes the names of a generation's deployments from where things are.
    pub(super) fn new(layout: &Layout, model: &'a Model, id: &GenerationId) -> Self {
        let Model { service, systemd } = model;
        let has_references = variable::at_start(service, layout.scope).next().is_some();
        let must_be_prepared = service.has_environment_file()
            || systemd.has_environment_file()
            || has_references
            || !service.process.start_templates.is_empty();
        Self {
            service,
            has_references,
            variables: ForUnit::new(layout, service, systemd, id),
            prepares: !service.process.engine.is_privileged() || must_be_prepared,
            must_be_prepared,
            program: layout.program(),
            deployment: format!("{}-{id}-%i", service.name),
            files: layout.files(&service.name, id),
            deployments: layout.deployments().join(format!("{}-{id}-", service.name)),
            sockets: layout.sockets(&service.name, id),
        }
    }

    /// Returns the directory in which processes start.
    pub(super) fn working_dir(&self) -> Utf8PathBuf {
        // An absolute path takes the place of what it is joined to.
        self.service.process.working_dir.as_ref().map_or_else(|| self.files.clone(), |dir| self.files.join(dir))
    }
}

/// Returns how systemd knows that a deployment has started: `Type=`, systemd.service(5).
pub(super) fn service_type(service: &Service) -> &'static str {
    match (service.process.engine.readiness(), &service.health.check) {
        (Readiness::Recorded, _) => "forking",
        (Readiness::Announced, _) | (Readiness::Executed, Check::Notify) => "notify",
        (Readiness::Executed, _) => "exec",
    }
}

/// Returns the lines that make podman's processes those of the unit: which one is the main one, a container's podman
/// says itself, sd_notify(3), and a pod's is in a file below `deployments`. The control groups below the unit's are
/// podman's.
pub(super) fn unit_lines(engine: &Engine, deployments: &Utf8Path) -> Vec<Line<'static>> {
    let (main, success) = match engine.readiness() {
        Readiness::Executed => return Vec::new(),
        Readiness::Announced => (Line::new("NotifyAccess", "all"), TERMINATED),
        Readiness::Recorded => (Line::new("PIDFile", format!("{}%i/{PID_FILE}", Text(deployments.as_str()))), POD_DOWN),
    };
    vec![main, Line::new("Delegate", "yes"), Line::new("KillMode", "mixed"), Line::new("SuccessExitStatus", success)]
}

/// Returns the line that starts a deployment.
pub(super) fn start(names: &Names) -> Line<'static> {
    let podman = |options: &str, words: &[String]| Line::new("ExecStart", Prefixed("+", podman(names, options, words)));
    match &names.service.process.engine {
        Engine::Exec { command } => Line::new("ExecStart", declared_command(&names.files, command)),
        // podman makes a group below the unit's itself.
        Engine::Container(it) => podman("", &container(names, it)),
        Engine::Pod(it) => {
            let prepared = if is_prepared_apart(names.service) { " --prepared" } else { "" };
            podman(&format!(" --pod={}%i{prepared}", names.deployments), &pod(names, it))
        }
    }
}

/// Returns whether what a deployment is to find has a command of its own: not if that is the last thing before podman
/// anyway.
pub(super) fn is_prepared_apart(service: &Service) -> bool {
    !matches!(service.process.engine, Engine::Pod(_)) || service.hooks.pre_start.is_some()
}

/// Writes a command line of podman's, as root on the host.
fn podman(names: &Names, options: &str, words: &[String]) -> String {
    format!("{} deployment _host{options} -- podman {}", names.program, words.join(" "))
}

/// Writes a declared word of a command line.
fn word(text: &str) -> String {
    DeclaredWord(text).to_string()
}

/// Returns the option by which a container gets a declared variable: from podman's environment, unless it refers to
/// credentials, which are in another directory there.
fn env_option(names: &Names, name: &str, value: &str) -> String {
    let value = names_credentials(value).then(|| names.variables.value_with(name, Some(CREDENTIALS))).flatten();
    match value {
        None => format!("--env={name}"),
        Some(value) => Specified(&format!("--env={name}={}", value.replace('$', "$$"))).to_string(),
    }
}

/// Returns the arguments of podman-run(1) that start a container.
fn container(names: &Names, container: &Container) -> Vec<String> {
    let Names { service, deployment, files, deployments, sockets, .. } = names;
    let sdnotify = if service.health.check == Check::Notify { "container" } else { "conmon" };
    let mut words = vec![
        "run".to_owned(),
        format!("--name={deployment}"),
        "--replace --rm --detach --cgroups=split --log-driver=passthrough --pull=never".to_owned(),
        format!("--sdnotify={sdnotify}"),
        format!("--hostname={}", service.name),
    ];
    words.extend(VARIABLES.iter().map(|name| format!("--env={name}")));
    words.extend(service.process.environment.iter().map(|(name, value)| env_option(names, name, value)));
    if !service.process.environment_files.is_empty() {
        words.push(format!("--env-file={deployments}%i/{VARIABLE_NAMES}"));
    }
    for listener in service.listen.all() {
        match listener.kind {
            ListenKind::Activation | ListenKind::None => {}
            ListenKind::Tcp => words.push(format!("--env={}", variable("PORT", listener.name))),
            ListenKind::Unix => words.push(format!("--env={}", variable("CONDUCTOR_SOCKET", listener.name))),
        }
    }
    if service.listen.has(ListenKind::Unix) {
        words.push(format!("--volume={sockets}/%i.d:{sockets}/%i.d"));
    }
    if service.process.has_credentials() {
        let from = format!("{deployments}%i/credentials/files");
        words.push(format!("--volume={from}:{CREDENTIALS}:ro --env=CREDENTIALS_DIRECTORY={CREDENTIALS}"));
    }
    words.extend(service.process.names().map(|(name, address)| format!("--add-host={name}:{address}")));
    words.extend(container.entrypoint.iter().map(|entrypoint| word(&format!("--entrypoint={entrypoint}"))));
    words.extend(options(container, files).iter().map(|option| word(option)));
    words.push(word(&container.reference()));
    words.extend(container.exec.iter().map(|argument| word(argument)));
    words
}

/// Returns the arguments of podman-kube-play(1) that start a pod from the file that `_prepare` has rendered, with the
/// runtime that puts its containers into the unit's control group.
fn pod(names: &Names, pod: &Pod) -> Vec<String> {
    let Pod { template: _, config_map: _, variables: _, network, podman_args, port: _ } = pod;
    let dir = format!("{}%i", names.deployments);
    let mut words = vec!["kube play --replace --log-driver=passthrough".to_owned()];
    words.extend(network.iter().map(|network| word(&format!("--network={network}"))));
    words.extend(podman_args.iter().map(|argument| word(argument)));
    words.push(format!("{dir}/pod.yaml"));
    words
}
