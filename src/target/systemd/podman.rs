//! What a deployment's unit says of its engine: how podman runs a container or a pod as a unit's processes.
//!
//! podman has to be root and in the mount namespace of PID 1, whatever the unit's own sandbox: that one is for
//! the hooks. `conductor deployment _host` becomes such a podman. Options are those of podman-run(1) and
//! podman-kube-play(1) as podman-systemd.unit(5) gives them.

use std::fmt::Display;

use camino::Utf8Path;

use crate::escape::{Text, Word};
use crate::model::{Check, Container, Engine, ListenKind, Pod, Service};
use crate::target::systemd::units::Line;

/// Which process is the main one of a pod, in its DEPLOYMENTDIR.
pub const PID_FILE: &str = "pid";
/// Where credentials are in a container.
pub const CREDENTIALS: &str = "/run/credentials";
/// Variables of conductor's that mean something within a container.
const VARIABLES: &[&str] = &["CONDUCTOR_SERVICE", "CONDUCTOR_GENERATION", "CONDUCTOR_DEPLOYMENT", "CONDUCTOR_INSTANCE"];
/// What a process returns that had no better answer to SIGTERM, as podman's monitor says it.
const TERMINATED: &str = "143";
/// The main process of a pod is one that podman kills when the pod is down.
const POD_DOWN: &str = "143 137";

/// A declared word of a command line; variables are expanded in it, specifiers are not.
fn word(text: &str) -> String {
    Word(text).to_string()
}

/// Where things are that podman's command lines name.
pub struct Paths<'a> {
    /// The declaration's files.
    pub files: &'a Utf8Path,
    /// DEPLOYMENTDIR up to its instance.
    pub deployments: &'a Utf8Path,
    /// Directory of the sockets of a generation's deployments.
    pub sockets: &'a Utf8Path,
}

/// A command line of podman's, as root on the host.
fn podman(program: &str, options: &str, words: impl IntoIterator<Item = String>) -> String {
    let words: String = words.into_iter().map(|word| format!(" {word}")).collect();
    format!("{program} deployment _host{options} -- podman{words}")
}

/// `NAME-GENERATION-%i`, what a deployment, its container and its pod are called.
fn name(service: &Service, id: &impl Display) -> String {
    format!("{}-{id}-%i", service.name)
}

/// How a container starts: arguments of podman.
fn container(service: &Service, id: &impl Display, paths: &Paths, container: &Container) -> Vec<String> {
    let name = name(service, id);
    let sdnotify = if service.health.check == Check::Notify { "container" } else { "conmon" };
    let mut words = vec![
        "run".to_owned(),
        format!("--name={name}"),
        "--replace --rm --detach --cgroups=split --log-driver=passthrough --pull=never".to_owned(),
        format!("--sdnotify={sdnotify}"),
        format!("--hostname={}", service.name),
    ];
    let own = VARIABLES.iter().map(|name| (*name).to_owned());
    let variables = own.chain(service.process.environment.keys().cloned());
    words.extend(variables.map(|name| format!("--env={name}")));
    match service.listen.kind {
        ListenKind::Activation => {}
        ListenKind::Tcp => words.push("--env=PORT".to_owned()),
        ListenKind::Unix => {
            words.push(format!("--env=CONDUCTOR_SOCKET --volume={0}/%i.d:{0}/%i.d", paths.sockets));
        }
    }
    if has_credentials(service) {
        let from = format!("{}%i/credentials/files", paths.deployments);
        words.push(format!("--volume={from}:{CREDENTIALS}:ro --env=CREDENTIALS_DIRECTORY={CREDENTIALS}"));
    }
    words.extend(container.entrypoint.iter().map(|entrypoint| word(&format!("--entrypoint={entrypoint}"))));
    words.extend(options(container, paths.files).iter().map(|option| word(option)));
    words.push(word(&container.reference()));
    words.extend(container.exec.iter().map(|argument| word(argument)));
    words
}

/// What a declaration says of a container beside what runs in it, as options of podman-run(1).
pub fn options(container: &Container, files: &Utf8Path) -> Vec<String> {
    let Container {
        image: _,
        pull: _,
        digest: _,
        exec: _,
        entrypoint: _,
        user,
        working_dir,
        volume,
        tmpfs,
        secret,
        network,
        add_capability,
        drop_capability,
        read_only,
        podman_args,
        port: _,
    } = container;
    let each = |option: &str, values: &[String]| -> Vec<String> {
        values.iter().map(|value| format!("--{option}={value}")).collect()
    };
    let mut options: Vec<String> = volume
        .iter()
        .map(|volume| match volume.strip_prefix("./") {
            Some(rest) => format!("--volume={files}/{rest}"),
            None => format!("--volume={volume}"),
        })
        .collect();
    options.extend(each("tmpfs", tmpfs));
    options.extend(each("secret", secret));
    options.extend(each("network", network));
    options.extend(each("cap-add", add_capability));
    options.extend(each("cap-drop", drop_capability));
    options.extend(each("user", user.as_slice()));
    options.extend(each("workdir", working_dir.as_slice()));
    options.extend(read_only.then(|| "--read-only".to_owned()));
    options.extend(podman_args.iter().cloned());
    options
}

/// How a pod starts from the file that `_prepare` has rendered: arguments of podman. It is to be run with the runtime that
/// puts the containers into the unit's control group.
fn pod(paths: &Paths, pod: &Pod) -> Vec<String> {
    let Pod { template: _, config_map, variables: _, network, podman_args, port: _ } = pod;
    let dir = format!("{}%i", paths.deployments);
    let mut words = vec!["kube play --replace --log-driver=passthrough".to_owned()];
    words.extend(network.iter().map(|network| word(&format!("--network={network}"))));
    words.extend(config_map.as_ref().map(|_| format!("--configmap={dir}/configmap.yaml")));
    words.extend(podman_args.iter().map(|argument| word(argument)));
    words.push(format!("{dir}/pod.yaml"));
    words
}

/// What stops and removes a deployment that podman runs, as arguments of podman: a container with its unnamed volumes,
/// or the pods in a DEPLOYMENTDIR, whose volumes with names stay.
pub fn remove(engine: &Engine, name: &str, dir: &str) -> Option<Vec<String>> {
    let line = match engine {
        Engine::Exec { .. } => return None,
        Engine::Container(_) => format!("rm --force --ignore --volumes --time=10 {name}"),
        Engine::Pod(_) => format!("kube down {dir}/pod.yaml"),
    };
    Some(line.split(' ').map(str::to_owned).collect())
}

/// The same as a command line of a deployment's unit.
pub fn stop(program: &str, service: &Service, id: &impl Display, paths: &Paths) -> Option<String> {
    let dir = format!("{}%i", paths.deployments);
    Some(podman(program, "", remove(&service.process.engine, &name(service, id), &dir)?))
}

/// How podman starts a deployment; None where it does not.
pub fn start(program: &str, service: &Service, id: &impl Display, paths: &Paths) -> Option<String> {
    match &service.process.engine {
        Engine::Exec { .. } => None,
        // It makes a group below the unit's itself.
        Engine::Container(it) => Some(podman(program, "", container(service, id, paths, it))),
        Engine::Pod(it) => {
            let prepared = if is_prepared_apart(service) { " --prepared" } else { "" };
            Some(podman(program, &format!(" --pod={}%i{prepared}", paths.deployments), pod(paths, it)))
        }
    }
}

/// Whether what podman is to find has a command of its own: not if that is the last thing before podman anyway.
pub fn is_prepared_apart(service: &Service) -> bool {
    !matches!(service.process.engine, Engine::Pod(_)) || service.hooks.pre_start.is_some()
}

/// Whether a service has any.
pub fn has_credentials(service: &Service) -> bool {
    !service.process.credentials.is_empty() || !service.process.credentials_encrypted.is_empty()
}

/// What makes podman's processes those of the unit: which is the main one podman says, sd_notify(3), of a container; that
/// of a pod is in a file. The control groups below are podman's.
pub fn unit_lines(engine: &Engine, deployments: &Utf8Path) -> Vec<Line<'static>> {
    let main = match engine {
        Engine::Pod(_) => Line::new("PIDFile", format!("{}%i/{PID_FILE}", Text(deployments.as_str()))),
        Engine::Container(_) | Engine::Exec { .. } => Line::new("NotifyAccess", "all"),
    };
    vec![
        main,
        Line::new("Delegate", "yes"),
        Line::new("KillMode", "mixed"),
        Line::new("SuccessExitStatus", if matches!(engine, Engine::Pod(_)) { POD_DOWN } else { TERMINATED }),
    ]
}
