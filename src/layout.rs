//! Paths, for the system's manager and for a user's.

use camino::{Utf8Path, Utf8PathBuf};

use crate::declaration::host::ProxyDriver;
use crate::model::Service;
use crate::names::{
    Deployment, FUNCTIONS_LOCK, GenerationId, ListenerName, OWN_DIR, PORTS_LOCK, ServiceName, listener,
};

/// The path of the `conductor` program, which units name. Set by `make PREFIX=…`.
pub(crate) const PROGRAM: &str = match option_env!("CONDUCTOR_PROGRAM") {
    Some(path) => path,
    None => "/usr/bin/conductor",
};

/// The directory of conductor's own data files. Set by `make PREFIX=…`.
pub(crate) const LIBRARY: &str = match option_env!("CONDUCTOR_LIBDIR") {
    Some(path) => path,
    None => "/usr/lib/conductor",
};

/// The directory below `LIBRARY` with links by which podman calls conductor as a container runtime.
pub(crate) const RUNTIMES: &str = "oci";

/// The name of the file with the host's settings.
const SETTINGS: &str = "conductor.toml";
/// The name of the directory with a link for each alias of a function.
const ALIASES: &str = "aliases";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    System,
    User,
}

/// All paths, as the units name them. Reading and writing goes through `at()`, which puts them
/// below a root: `--root` and the tests set one.
#[derive(Debug, Clone)]
pub struct Layout {
    pub(crate) scope: Scope,
    root: Utf8PathBuf,
    /// Directories of declarations, the first of the search path first.
    declarations: Vec<Utf8PathBuf>,
    /// Directories of functions, the first of the search path first.
    functions: Vec<Utf8PathBuf>,
    /// Directories of unit files that a generated unit would hide, or that would hide it.
    unit_files: Vec<Utf8PathBuf>,
    runtime_units: Utf8PathBuf,
    /// Where the manager keeps when timers last elapsed.
    timers: Utf8PathBuf,
    runtime: Utf8PathBuf,
    state: Utf8PathBuf,
    generator: Utf8PathBuf,
    program: Utf8PathBuf,
    /// The proxy that is asked for, whatever the host has.
    proxy: Option<ProxyDriver>,
}

impl Layout {
    /// Returns the paths of the system's manager.
    pub fn system(root: &Utf8Path) -> Self {
        let paths = |list: &[&str]| list.iter().map(Utf8PathBuf::from).collect();
        Self {
            scope: Scope::System,
            root: root.to_owned(),
            declarations: paths(&[
                "/etc/conductor/services",
                "/run/conductor/services",
                "/usr/local/lib/conductor/services",
                "/usr/lib/conductor/services",
            ]),
            functions: paths(&[
                "/etc/conductor/functions",
                "/run/conductor/functions",
                "/usr/local/lib/conductor/functions",
                "/usr/lib/conductor/functions",
            ]),
            unit_files: paths(&[
                "/etc/systemd/system",
                "/run/systemd/system",
                "/usr/local/lib/systemd/system",
                "/usr/lib/systemd/system",
                "/lib/systemd/system",
            ]),
            runtime_units: "/run/systemd/system".into(),
            timers: "/var/lib/systemd/timers".into(),
            runtime: "/run/conductor".into(),
            state: "/var/lib/conductor".into(),
            generator: "/run/systemd/generator".into(),
            program: PROGRAM.into(),
            proxy: None,
        }
    }

    /// Returns the paths of a user's manager, from the XDG base directories.
    ///
    /// # Errors
    /// If neither `HOME` nor the XDG variables are set, or the runtime directory is no absolute path:
    /// unlike the others it has no default to fall back to.
    pub fn user(root: &Utf8Path, env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let home = env("HOME");
        let below_home = |variable: &str, default: &str| -> Result<Utf8PathBuf, String> {
            match (env(variable).filter(|path| path.starts_with('/')), &home) {
                (Some(path), _) => Ok(path.into()),
                (None, Some(home)) => Ok(Utf8Path::new(home).join(default)),
                (None, None) => Err(format!("neither {variable} nor HOME is set")),
            }
        };
        let config = below_home("XDG_CONFIG_HOME", ".config")?;
        let state = below_home("XDG_STATE_HOME", ".local/state")?;
        let data = below_home("XDG_DATA_HOME", ".local/share")?;
        let runtime: Utf8PathBuf = env("XDG_RUNTIME_DIR").ok_or("XDG_RUNTIME_DIR is not set")?.into();
        if !runtime.is_absolute() {
            return Err("XDG_RUNTIME_DIR is not an absolute path".to_owned());
        }
        Ok(Self {
            scope: Scope::User,
            root: root.to_owned(),
            declarations: vec![
                config.join("conductor/services"),
                runtime.join("conductor/services"),
                data.join("conductor/services"),
                "/usr/local/lib/conductor/user-services".into(),
                "/usr/lib/conductor/user-services".into(),
            ],
            functions: vec![
                config.join("conductor/functions"),
                runtime.join("conductor/functions"),
                data.join("conductor/functions"),
                "/usr/local/lib/conductor/user-functions".into(),
                "/usr/lib/conductor/user-functions".into(),
            ],
            unit_files: vec![
                config.join("systemd/user"),
                "/etc/systemd/user".into(),
                runtime.join("systemd/user"),
                data.join("systemd/user"),
                "/usr/local/lib/systemd/user".into(),
                "/usr/lib/systemd/user".into(),
            ],
            runtime_units: runtime.join("systemd/user"),
            timers: data.join("systemd/timers"),
            generator: runtime.join("systemd/generator"),
            runtime: runtime.join("conductor"),
            state: state.join("conductor"),
            program: PROGRAM.into(),
            proxy: None,
        })
    }

    /// The root that all paths are below.
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// The place of a path on this machine.
    pub fn at(&self, path: &Utf8Path) -> Utf8PathBuf {
        match path.strip_prefix("/") {
            Ok(relative) if self.root != "/" => self.root.join(relative),
            _ => path.to_owned(),
        }
    }

    pub(crate) fn declaration_dirs(&self) -> &[Utf8PathBuf] {
        &self.declarations
    }

    /// Where the host's settings are, the most important first: above the declarations, but not those of packages for
    /// all users.
    pub(crate) fn settings(&self) -> impl Iterator<Item = Utf8PathBuf> {
        let own = self.declarations.iter().filter(|dir| dir.file_name() == Some("services"));
        own.map(|dir| dir.with_file_name(SETTINGS))
    }

    pub(crate) fn function_dirs(&self) -> &[Utf8PathBuf] {
        &self.functions
    }

    /// Directories of functions' aliases, the first of the search path first. The proxy follows the links in them: they
    /// are beside the functions, whose files are not for everybody.
    pub(crate) fn alias_dirs(&self) -> impl Iterator<Item = Utf8PathBuf> {
        self.functions.iter().map(|dir| dir.with_file_name(ALIASES))
    }

    /// Sockets of functions, by their IDs.
    pub(crate) fn function_sockets(&self) -> Utf8PathBuf {
        self.runtime.join("cgi")
    }

    /// Returns the directories below which sockets are that proxies connect to.
    #[cfg(feature = "cli")]
    pub(crate) fn socket_dirs(&self) -> [Utf8PathBuf; 4] {
        ["sockets", "queues", "cgi", "cgi-private"].map(|dir| self.runtime.join(dir))
    }

    /// Returns the socket of a function. Without an address it is where the proxy does not look for IDs.
    pub(crate) fn function_socket(&self, id: &impl std::fmt::Display, has_address: bool) -> Utf8PathBuf {
        let dir = if has_address { self.function_sockets() } else { self.runtime.join("cgi-private") };
        dir.join(id.to_string())
    }

    /// Returns the socket through which an isolated function's gateway reaches its units.
    pub(crate) fn function_requests(&self, id: &impl std::fmt::Display) -> Utf8PathBuf {
        self.function_sockets().join(format!("{id}.request"))
    }

    pub(crate) fn unit_file_dirs(&self) -> &[Utf8PathBuf] {
        &self.unit_files
    }

    /// Returns the directory in which `service declare` stores a declaration.
    pub fn declaration(&self, name: &ServiceName) -> Utf8PathBuf {
        self.declarations[0].join(name.as_str())
    }

    /// Returns the argument of a service's hooks: the directory of its declaration, or that of a part below its
    /// group's.
    pub(crate) fn service_dir(&self, service: &Service) -> Utf8PathBuf {
        match &service.group {
            None => self.declaration(&service.name),
            Some(group) => {
                let part = service.name.as_str().strip_prefix(group.name.as_str()).unwrap_or_default();
                self.declaration(&group.name).join(part.trim_start_matches('.'))
            }
        }
    }

    /// Returns the service of a path that `service_dir` returned.
    ///
    /// # Errors
    /// If the path has no name of a service.
    pub(crate) fn service_of(&self, dir: &Utf8Path) -> Result<ServiceName, String> {
        let name = dir.file_name().unwrap_or_default();
        let above = dir.parent().unwrap_or(Utf8Path::new(""));
        let is_part = above.parent().is_some_and(|base| self.declarations.iter().any(|known| known == base));
        match above.file_name().filter(|_| is_part) {
            Some(group) => ServiceName::new(&format!("{group}.{name}")),
            None => ServiceName::new(name),
        }
    }

    /// Returns the generator's output directory.
    pub(crate) fn generator(&self) -> &Utf8Path {
        &self.generator
    }

    /// Returns the directory of unit files at runtime, which precedes the generator's.
    pub(crate) fn runtime_units(&self) -> &Utf8Path {
        &self.runtime_units
    }

    /// Returns the directory of everything that is gone after a reboot.
    pub(crate) fn runtime(&self) -> &Utf8Path {
        &self.runtime
    }

    /// The live generations of all services.
    pub(crate) fn live(&self) -> Utf8PathBuf {
        self.runtime.join("generations")
    }

    /// A live generation: its units and resolved model.
    pub fn snapshot(&self, name: &ServiceName, id: &GenerationId) -> Utf8PathBuf {
        self.live().join(name.as_str()).join(id.as_str())
    }

    /// The target of a service: the generation and number of deployments that a rollout establishes.
    pub fn target(&self, name: &ServiceName) -> Utf8PathBuf {
        self.live().join(name.as_str()).join("target.json")
    }

    /// Returns the directory of all services' stored generations.
    pub(crate) fn histories(&self) -> Utf8PathBuf {
        self.state.join("generations")
    }

    /// Returns the directory of a service's stored generations.
    pub(crate) fn history(&self, name: &ServiceName) -> Utf8PathBuf {
        self.histories().join(name.as_str())
    }

    /// Returns the copy of the target of a service with a canary: a reboot forgets what is in /run.
    pub(crate) fn stored_target(&self, name: &ServiceName) -> Utf8PathBuf {
        self.history(name).join("target.json")
    }

    /// A generation's files and declaration.
    pub(crate) fn stored(&self, name: &ServiceName, id: &GenerationId) -> Utf8PathBuf {
        self.history(name).join(id.as_str())
    }

    /// Working directory of a generation's processes.
    pub fn files(&self, name: &ServiceName, id: &GenerationId) -> Utf8PathBuf {
        self.stored(name, id).join("files")
    }

    /// Returns the place of a path in the mount namespace of PID 1. In the namespace of its unit, which a hook runs in, other
    /// generations are hidden, and the directory of a socket is a mount of its own: no file has names in two, link(2).
    #[cfg(feature = "cli")]
    pub(crate) fn on_host(&self, path: &Utf8Path) -> Utf8PathBuf {
        match self.scope {
            Scope::System if self.root() == "/" => {
                Utf8Path::new("/proc/1/root").join(path.as_str().trim_start_matches('/'))
            }
            Scope::System | Scope::User => self.at(path),
        }
    }

    /// Returns the directory of the files that a deployment's pod mounts: on the disk, since programs may be among them,
    /// which cannot be executed from /run on Debian.
    pub(crate) fn volumes(&self, deployment: &Deployment) -> Utf8PathBuf {
        let Deployment { service, generation, instance } = deployment;
        self.stored(service, generation).join("volumes").join(instance.to_string())
    }

    pub fn deployments(&self) -> Utf8PathBuf {
        self.runtime.join("deployments")
    }

    pub fn sockets(&self, name: &ServiceName, id: &GenerationId) -> Utf8PathBuf {
        self.runtime.join("sockets").join(format!("{name}-{id}"))
    }

    /// Directory of the socket that a deployment binds itself, or takes behind a bridge.
    pub(crate) fn socket_dir(&self, name: &ServiceName, id: &GenerationId, instance: u32) -> Utf8PathBuf {
        self.sockets(name, id).join(format!("{instance}.d"))
    }

    /// Returns the directory of a service's slots.
    pub(crate) fn slots(&self, name: &ServiceName) -> Utf8PathBuf {
        self.runtime.join("slots").join(name.as_str())
    }

    /// Returns a slot of a service for callers of one of its listeners; the first slot has the number 1.
    pub(crate) fn slot(&self, name: &ServiceName, number: u32, listener: Option<&ListenerName>) -> Utf8PathBuf {
        self.slots(name).join(listener::numbered(number, listener))
    }

    /// Returns the link to the files of the generation that serves, for the proxy.
    pub(crate) fn served_files(&self, name: &ServiceName) -> Utf8PathBuf {
        self.state.join("public").join(name.as_str()).join("current")
    }

    /// Returns the directory of the sockets in which a service's callers wait while no deployment serves.
    pub(crate) fn queues(&self, name: &ServiceName) -> Utf8PathBuf {
        self.runtime.join("queues").join(name.as_str())
    }

    /// Returns the directory with a file for each service that its administrator stopped.
    pub(crate) fn stopped(&self) -> Utf8PathBuf {
        self.runtime.join("stopped")
    }

    /// Returns the file that notes that the administrator of a service stopped it.
    pub(crate) fn stopped_mark(&self, name: &ServiceName) -> Utf8PathBuf {
        self.stopped().join(name.as_str())
    }

    /// Returns the directory with the error of each service whose last start or reload failed.
    pub(crate) fn failures(&self) -> Utf8PathBuf {
        self.runtime.join("failures")
    }

    /// Returns the record of a service's last rollout.
    pub(crate) fn record(&self, name: &ServiceName) -> Utf8PathBuf {
        self.runtime.join("records").join(name.as_str())
    }

    /// Returns the directory of locks.
    pub(crate) fn locks(&self) -> Utf8PathBuf {
        self.runtime.join("locks")
    }

    /// Returns the directory of locks that limit how many services start, roll or stop at a time.
    pub(crate) fn permits(&self) -> Utf8PathBuf {
        self.runtime.join("permits")
    }

    /// Returns the file with the name of the container runtime that podman chose.
    pub(crate) fn oci_runtime(&self) -> Utf8PathBuf {
        self.runtime.join("oci-runtime")
    }

    /// Returns the lock for choosing a TCP port for a deployment.
    pub(crate) fn ports(&self) -> Utf8PathBuf {
        self.locks().join(PORTS_LOCK)
    }

    /// Returns the lock for starting, reloading and stopping a service.
    pub(crate) fn lock(&self, name: &ServiceName) -> Utf8PathBuf {
        self.locks().join(name.rollout_lock())
    }

    /// Returns the lock for changing a service's slots.
    pub(crate) fn slots_lock(&self, name: &ServiceName) -> Utf8PathBuf {
        self.locks().join(name.slots_lock())
    }

    /// Returns the lock for declaring and removing functions.
    pub(crate) fn functions_lock(&self) -> Utf8PathBuf {
        self.locks().join(FUNCTIONS_LOCK)
    }

    /// Returns the lock for declaring and removing a service.
    pub(crate) fn declaration_lock(&self, name: &ServiceName) -> Utf8PathBuf {
        self.locks().join(name.declaration_lock())
    }

    /// Returns the directory of a declaration that another host sends.
    pub(crate) fn received(&self, name: &ServiceName) -> Utf8PathBuf {
        self.runtime.join("received").join(name.as_str())
    }

    /// Returns the directory of configuration that a proxy includes.
    pub(crate) fn published_proxy(&self, driver: &str) -> Utf8PathBuf {
        self.runtime.join("proxy").join(driver)
    }

    /// Returns the file in which systemd keeps `LogExtraFields=` of a unit for the journal.
    pub(crate) fn log_fields(unit: &str) -> Utf8PathBuf {
        format!("/run/systemd/units/log-extra-fields:{unit}").into()
    }

    /// Returns the file from which a persistent timer knows when it last elapsed, systemd.timer(5).
    pub(crate) fn timer_stamp(&self, timer: &str) -> Utf8PathBuf {
        self.timers.join(format!("stamp-{timer}"))
    }

    /// The program with what it needs to find this layout again.
    pub(crate) fn program(&self) -> String {
        match self.scope {
            Scope::System => self.program.to_string(),
            Scope::User => format!("{} --user", self.program),
        }
    }

    /// Returns the proxy that is asked for; None: the host's own.
    pub(crate) fn asked_proxy(&self) -> Option<ProxyDriver> {
        self.proxy
    }

    /// Returns this layout for a proxy.
    pub(crate) fn with_proxy(&self, proxy: ProxyDriver) -> Self {
        Self { proxy: Some(proxy), ..self.clone() }
    }

    /// The same, but with generations' files below `state` and another program in the hooks: units
    /// that can be verified before anything is stored or installed.
    pub(crate) fn for_verification(&self, state: &Utf8Path, program: &Utf8Path) -> Self {
        Self { state: state.to_owned(), program: program.to_owned(), ..self.clone() }
    }
}

/// Paths of a deployment.
impl Deployment {
    /// Returns its DEPLOYMENTDIR.
    pub(crate) fn dir(&self, layout: &Layout) -> Utf8PathBuf {
        layout.deployments().join(self.to_string())
    }

    /// Returns the directory of the service's user in it, which a command has.
    pub(crate) fn own_dir(&self, layout: &Layout) -> Utf8PathBuf {
        self.dir(layout).join(OWN_DIR)
    }

    /// Reads the name of a DEPLOYMENTDIR.
    pub(crate) fn from_dir(dir: &Utf8Path) -> Option<Self> {
        Self::from_name(dir.file_name()?)
    }

    /// Returns the unix socket of one of its listeners, as callers reach it: held by systemd, or a name of root's for what it has
    /// bound itself.
    pub(crate) fn socket(&self, layout: &Layout, listener: Option<&ListenerName>) -> Utf8PathBuf {
        layout.sockets(&self.service, &self.generation).join(listener::numbered(self.instance, listener))
    }

    /// Reads the path of the socket that callers reach.
    pub(crate) fn from_socket(socket: &Utf8Path) -> Option<Self> {
        let (instance, _) = listener::from_numbered(socket.file_name()?)?;
        Self::from_parts(socket.parent()?.file_name()?, &instance.to_string())
    }

    /// Returns the socket that it binds itself, or takes behind a bridge.
    pub(crate) fn own_socket(&self, layout: &Layout, listener: Option<&ListenerName>) -> Utf8PathBuf {
        let name = listener.map_or("socket", ListenerName::as_str);
        layout.socket_dir(&self.service, &self.generation, self.instance).join(name)
    }

    /// Returns the name of root's by which a bridge reaches what the deployment has bound itself.
    pub(crate) fn bound_socket(&self, layout: &Layout) -> Utf8PathBuf {
        layout.sockets(&self.service, &self.generation).join(format!("{}.bound", self.instance))
    }
}

#[cfg(test)]
mod tests;
