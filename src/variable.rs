//! The variables that values of `config` and `environment` may refer to as `${NAME}`.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::escape::Text;
use crate::expansion::{Part, parts};
use crate::layout::{Layout, Scope};
use crate::model::{Engine, ListenKind, Listener, Service, Systemd, User};
use crate::names::{GenerationId, ListenerName, OWN_DIR, listener};
use crate::unitfile;

/// The variables that conductor sets for each process.
pub const VARIABLES: &[&str] = &[
    "CONDUCTOR_SERVICE",
    "CONDUCTOR_SERVICE_DIR",
    "CONDUCTOR_GENERATION",
    "CONDUCTOR_DEPLOYMENT",
    "CONDUCTOR_DEPLOYMENT_DIR",
    "CONDUCTOR_INSTANCE",
    "CONDUCTOR_SOCKET",
    "PORT",
    "POD_NAME",
    "POD_IP_ADDRESS",
];

/// Variables of systemd's for directories, systemd.exec(5): their directive, and the directory that it is below in the
/// system's scope and in a user's.
const DIRECTORIES: &[(&str, &str, &str, &str)] = &[
    ("STATE_DIRECTORY", "StateDirectory", "/var/lib", "%S"),
    ("CACHE_DIRECTORY", "CacheDirectory", "/var/cache", "%C"),
    ("LOGS_DIRECTORY", "LogsDirectory", "/var/log", "%L"),
    ("RUNTIME_DIRECTORY", "RuntimeDirectory", "/run", "%t"),
    ("CONFIGURATION_DIRECTORY", "ConfigurationDirectory", "/etc", "%E"),
];
/// Variables of which each further listener has one of its own, with its name appended.
const OF_LISTENERS: [&str; 2] = ["PORT", "CONDUCTOR_SOCKET"];
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
pub(crate) const HOME: &str = "HOME";

/// Lists the variables that processes have when they start, each if the service has what it names.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    let of_systemd = DIRECTORIES.iter().map(|(name, ..)| *name).chain([CREDENTIALS, HOME]);
    VARIABLES.iter().copied().chain(of_systemd)
}

/// Returns whether a value may refer to a variable.
pub(crate) fn is_known(name: &str) -> bool {
    known().any(|known| known == name) || OF_LISTENERS.iter().any(|of_main| name.starts_with(&format!("{of_main}_")))
}

/// Says what to declare so that a service's processes have a variable; None if it is none that they may have.
pub(crate) fn remedy(name: &str) -> Option<&'static str> {
    Some(match name {
        "PORT" => "write type = \"tcp\" in [listen]",
        "CONDUCTOR_SOCKET" => "remove the type = \"none\" in [listen]",
        "CONDUCTOR_SERVICE_DIR" => "mount the files at a path of the container's: volume = [\"./conf:/etc/app:ro\"]",
        "CONDUCTOR_DEPLOYMENT_DIR" => {
            "mount memory: tmpfs = [\"/tmp\"] in [container], or an emptyDir in the pod's file"
        }
        "POD_NAME" => "remove it, because there is no pod",
        "POD_IP_ADDRESS" => "read $POD_IP_ADDRESS in hooks, because the address is known once the pod runs",
        CREDENTIALS => "add credentials = { … }",
        HOME => "declare HOME, which the image determines otherwise",
        name if OF_LISTENERS.iter().any(|of_main| name.starts_with(of_main)) => {
            "declare the listener with that name: [listen.metrics] for ${PORT_METRICS}"
        }
        name if is_known(name) => "add the directory to [systemd.service], such as StateDirectory = \"shop\"",
        _ => return None,
    })
}

/// Lists the variables that a value refers to.
pub(crate) fn names_in(value: &str) -> Vec<&str> {
    let name = |part| match part {
        Part::Text(_) => None,
        Part::Variable(name) => Some(name),
    };
    parts(value, is_known).into_iter().filter_map(name).collect()
}

/// Returns where in the DEPLOYMENTDIR a deployment's processes may write. podman's have no such directory: the image chooses
/// their user.
pub(crate) fn own_dir(service: &Service) -> String {
    if service.process.engine.is_privileged() { String::new() } else { format!("/{OWN_DIR}") }
}

/// Returns conductor's own variables of a deployment, or with `instance` `%i` of any. `path` writes a path.
pub(crate) fn own(
    layout: &Layout,
    service: &Service,
    id: &GenerationId,
    instance: &str,
    path: impl Fn(Utf8PathBuf) -> String,
) -> BTreeMap<String, String> {
    let name = &service.name;
    let deployment = format!("{name}-{id}-{instance}");
    let sockets = path(layout.sockets(name, id));
    let own_dir = own_dir(service);
    let own = [
        ("CONDUCTOR_SERVICE", name.to_string()),
        ("CONDUCTOR_SERVICE_DIR", path(layout.files(name, id))),
        ("CONDUCTOR_GENERATION", id.to_string()),
        ("CONDUCTOR_DEPLOYMENT_DIR", format!("{}/{deployment}{own_dir}", path(layout.deployments()))),
        ("CONDUCTOR_DEPLOYMENT", deployment),
        ("CONDUCTOR_INSTANCE", instance.to_owned()),
    ];
    let socket = |listener: Listener| {
        let path = format!("{sockets}/{instance}{}", below_instance(listener));
        (listener::variable("CONDUCTOR_SOCKET", listener.name), path)
    };
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    own.chain(service.listen.all().map(socket)).collect()
}

/// Returns where the socket of a listener is, behind the number of its instance. What stands behind another socket, or is bound
/// by the process, is in a directory of its own.
pub(crate) fn below_instance(listener: Listener) -> String {
    let Listener { name, kind, is_bridged } = listener;
    match (name, kind == ListenKind::Unix || is_bridged) {
        (_, true) => format!(".d/{}", name.map_or("socket", ListenerName::as_str)),
        (None, false) => String::new(),
        (Some(name), false) => format!("-{name}"),
    }
}

/// What a variable stands for in the environment of a service's processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A text in a unit's syntax: specifiers are expanded.
    Unit(String),
    /// One of conductor's own variables.
    Own(String),
    /// Known only to the processes of a deployment that starts.
    AtStart,
}

/// Returns what a variable stands for; None if the service's processes have no such variable when they start.
pub(crate) fn meaning(service: &Service, systemd: &Systemd, scope: Scope, name: &str) -> Option<Meaning> {
    let process = &service.process;
    if let Some((_, directive, system, user)) = DIRECTORIES.iter().find(|(known, ..)| *known == name) {
        let base = if scope == Scope::System { system } else { user };
        let dirs = directories(systemd, directive);
        let joined = dirs.iter().map(|dir| format!("{base}/{dir}")).collect::<Vec<_>>().join(":");
        return (!dirs.is_empty()).then_some(Meaning::Unit(joined));
    }
    let is_of = |of_main: &str, listener: &Listener| name == listener::variable(of_main, listener.name);
    if let Some(listener) = service.listen.all().find(|listener| is_of("PORT", listener)) {
        let port = service.port_inside(listener);
        let at_start = port.map_or(Meaning::AtStart, |port| Meaning::Unit(port.to_string()));
        return (listener.kind == ListenKind::Tcp).then_some(at_start);
    }
    match name {
        "POD_NAME" if matches!(process.engine, Engine::Pod(_)) => Some(Meaning::Own("CONDUCTOR_DEPLOYMENT".to_owned())),
        CREDENTIALS if process.has_credentials() => Some(Meaning::Unit("%d".to_owned())),
        HOME => home(service, systemd, scope),
        _ if name.starts_with("CONDUCTOR_SOCKET") => {
            let is_there = service.listen.all().any(|listener| is_of("CONDUCTOR_SOCKET", &listener));
            is_there.then(|| Meaning::Own(name.to_owned()))
        }
        // Paths of the host, which containers do not see.
        "CONDUCTOR_SERVICE_DIR" | "CONDUCTOR_DEPLOYMENT_DIR" if process.engine.is_privileged() => None,
        _ => (VARIABLES.contains(&name) && name.starts_with("CONDUCTOR_")).then(|| Meaning::Own(name.to_owned())),
    }
}

/// Returns the home of a service's processes. systemd gives a dynamic user `/`, in which it may not write: it gets the
/// directory of its state, or without one the private `/tmp` that dynamic users have.
fn home(service: &Service, systemd: &Systemd, scope: Scope) -> Option<Meaning> {
    match (scope, &service.process.user) {
        // podman is root there, and the image determines the home of its processes.
        _ if service.process.engine.is_privileged() => None,
        (Scope::User, _) => Some(Meaning::Unit("%h".to_owned())),
        (Scope::System, User::Static(_)) => Some(Meaning::AtStart),
        (Scope::System, User::Dynamic(_)) => {
            let state = directories(systemd, "StateDirectory").first().map(|dir| format!("/var/lib/{dir}"));
            Some(Meaning::Unit(state.unwrap_or_else(|| "/tmp".to_owned())))
        }
    }
}

/// Lists the directories of a directive, in a unit's syntax.
fn directories(systemd: &Systemd, directive: &str) -> Vec<String> {
    let mut dirs = Vec::new();
    for set in systemd.service.iter().filter(|set| set.name == directive) {
        if set.value.is_empty() {
            dirs.clear();
        }
        // `DIRECTORY:LINK`
        let words = unitfile::words(&set.value).into_iter();
        dirs.extend(words.map(|word| word.split_once(':').map_or(word.clone(), |(dir, _)| dir.to_owned())));
    }
    dirs
}

/// Expands a value of the environment by what its variables stand for: a declared variable's own value, or what
/// `known` returns. `literal` writes a text. None if `known` has no text for a variable.
pub(crate) fn expand(
    environment: &BTreeMap<String, String>,
    name: &str,
    literal: &dyn Fn(&str) -> String,
    known: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    expand_in(environment, &[name], literal, known)
}

/// Expands the value of the last of `names`; a name does not stand for a value that it is part of.
fn expand_in(
    environment: &BTreeMap<String, String>,
    names: &[&str],
    literal: &dyn Fn(&str) -> String,
    known: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut text = String::new();
    for part in parts(environment.get(*names.last()?)?, is_known) {
        text.push_str(&match part {
            Part::Text(part) => literal(part),
            Part::Variable(name) if environment.contains_key(name) && !names.contains(&name) => {
                expand_in(environment, &[names, &[name]].concat(), literal, known)?
            }
            Part::Variable(name) => known(name)?,
        });
    }
    Some(text)
}

/// The declared environment of a service's processes, for its unit.
pub(crate) struct ForUnit<'a> {
    service: &'a Service,
    systemd: &'a Systemd,
    scope: Scope,
    own: BTreeMap<String, String>,
}

impl<'a> ForUnit<'a> {
    pub(crate) fn new(layout: &Layout, service: &'a Service, systemd: &'a Systemd, id: &GenerationId) -> Self {
        let own = own(layout, service, id, "%i", |path| Text(path.as_str()).to_string());
        Self { service, systemd, scope: layout.scope, own }
    }

    /// Returns the value of a declared variable in a unit's syntax; None if only a deployment that starts knows it.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.value_with(name, None)
    }

    /// Returns the value of a declared variable whose credentials are in another directory.
    pub(crate) fn value_with(&self, name: &str, credentials: Option<&str>) -> Option<String> {
        let known = |name: &str| match credentials.filter(|_| name == CREDENTIALS) {
            Some(credentials) => Some(credentials.to_owned()),
            None => self.known(name),
        };
        expand(&self.service.process.environment, name, &|text| Text(text).to_string(), &known)
    }

    fn known(&self, name: &str) -> Option<String> {
        match meaning(self.service, self.systemd, self.scope, name)? {
            Meaning::Unit(text) => Some(text),
            Meaning::Own(name) => self.own.get(&name).cloned(),
            Meaning::AtStart => None,
        }
    }

    /// Returns the home of processes that systemd gives none they may write to, in a unit's syntax.
    pub(crate) fn home(&self) -> Option<String> {
        let is_dynamic = self.scope == Scope::System && matches!(self.service.process.user, User::Dynamic(_));
        let is_declared = self.service.process.environment.contains_key(HOME);
        self.known(HOME).filter(|_| is_dynamic && !is_declared)
    }
}

/// Returns the declared variables of a service that only a deployment that starts knows.
pub(crate) fn at_start(service: &Service, scope: Scope) -> impl Iterator<Item = &str> {
    // No directive of a unit is known only then.
    let systemd = Systemd::default();
    let environment = &service.process.environment;
    let known = move |name: &str| match meaning(service, &systemd, scope, name) {
        Some(Meaning::AtStart) => None,
        _ => Some(String::new()),
    };
    let is_known = move |name: &str| expand(environment, name, &|_| String::new(), &known).is_some();
    environment.keys().map(String::as_str).filter(move |name| !is_known(name))
}

/// Returns whether a variable of the declared environment refers to credentials.
pub(crate) fn names_credentials(value: &str) -> bool {
    names_in(value).contains(&CREDENTIALS)
}
