//! What a service needs of this host and does not find: known before anything starts.
//!
//! Only commands that people give look at the host. The generator must not: it runs at early boot, where names of users
//! may not resolve and file systems may not be mounted.

pub(crate) mod program;
mod schedule;
pub(crate) mod search_path;

use camino::Utf8Path;

use crate::accounts;
use crate::compile::host::Compiled;
use crate::deployment::listener;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Node, Path};
use crate::layout::{Layout, Scope};
use crate::model::{Process, Protocol, Service, Systemd, User};
use crate::path;
use crate::service::condition;
use crate::service::host_check::search_path::find_in_path;
use crate::service::machine::Machine;
use crate::service::port_holder::PortHolder;
use crate::service::proposal::pod_notes;
use crate::source::search::{self, Location};

/// What a service does not find on this host.
#[derive(Default)]
pub(crate) struct Findings {
    /// What keeps it from starting.
    pub(crate) errors: Diagnostics,
    /// What it may not need, or what may be there later.
    pub(crate) warnings: Diagnostics,
}

impl Findings {
    /// Makes warnings of all errors.
    fn soften(&mut self) {
        self.warnings.0.append(&mut self.errors.0);
    }
}

/// A service whose declaration is in `dir`, and what was found about it.
struct HostCheck<'a> {
    layout: &'a Layout,
    service: &'a Service,
    systemd: &'a Systemd,
    document: Node,
    dir: &'a Utf8Path,
    found: Findings,
}

/// Looks for what a service needs of this host. `dir` is the directory of the declaration's files, which errors call
/// `shown`. A layout below another root is another host's, of which nothing is known.
///
/// # Errors
/// If the declaration cannot be read again for the positions of errors.
pub(crate) fn check(
    machine: &Machine,
    location: &Location,
    compiled: &Compiled,
    dir: &Utf8Path,
    shown: &Utf8Path,
) -> Result<Findings, Diagnostics> {
    let of_pod = Diagnostics(pod_notes(machine.layout, compiled, dir, shown));
    if !machine.is_running() {
        return Ok(Findings { warnings: of_pod, ..Findings::default() });
    }
    let Compiled { service, systemd, .. } = compiled;
    let layout = machine.layout;
    let document = search::document(layout, &search::part_of(layout, location, &service.name)?, dir, shown)?;
    let mut check = HostCheck {
        layout,
        service,
        systemd,
        document,
        dir,
        found: Findings { warnings: of_pod, ..Findings::default() },
    };
    check.user();
    check.credentials();
    check.environment_files();
    check.podman();
    check.programs();
    check.schedules();
    check.ports(machine);
    let mut found = check.found;
    // A service that its conditions hold back does not start here, and a drop-in may give it what it needs.
    let may_not_need = || !systemd.drop_ins.is_empty() || condition::unmet(layout.scope, service).is_some();
    if !found.errors.0.is_empty() && may_not_need() {
        found.soften();
    }
    Ok(found)
}

impl HostCheck<'_> {
    fn process(&self) -> &Process {
        &self.service.process
    }

    fn error(&mut self, at: &Path, message: impl Into<String>, remedy: impl Into<String>) {
        self.found.errors.0.push(self.document.error(at, message, remedy));
    }

    fn warning(&mut self, at: &Path, message: impl Into<String>, remedy: impl Into<String>) {
        self.found.warnings.0.push(self.document.error(at, message, remedy));
    }

    fn user(&mut self) {
        let User::Static(name) = &self.service.process.user else { return };
        // A source of users that does not answer proves nothing. A number need not be anybody's.
        if self.layout.scope == Scope::User || name.parse::<u32>().is_ok() || !matches!(accounts::user(name), Ok(None))
        {
            return;
        }
        let remedy = format!("create the user: `useradd --system {name}`, or remove the key for a user of its own");
        self.error(&path!["exec", "user"], format!("there is no user {name} on this host"), remedy);
    }

    fn credentials(&mut self) {
        let section = self.process().engine.section();
        let Process { credentials, credentials_encrypted, .. } = self.process().clone();
        for (key, files) in [("credentials", credentials), ("credentials_encrypted", credentials_encrypted)] {
            for (name, file) in files {
                // A directory that may not be searched proves nothing.
                if matches!(file.as_std_path().try_exists(), Ok(false)) {
                    let remedy = format!("create the file: `install -D -m 600 /dev/stdin {file}` reads the secret");
                    self.error(&path![section, key, name.as_str()], format!("there is no file {file}"), remedy);
                }
            }
        }
    }

    /// Looks for the files with variables that are not the declaration's own; `-` is before one that may be missing.
    fn environment_files(&mut self) {
        let section = self.process().engine.section();
        for (index, file) in self.process().environment_files.clone().into_iter().enumerate() {
            // A directory that may not be searched proves nothing.
            if file.starts_with('/') && matches!(Utf8Path::new(&file).as_std_path().try_exists(), Ok(false)) {
                let at = path![section, "environment_file", index];
                let remedy = format!("create the file, or write \"-{file}\" if it may be missing");
                self.error(&at, format!("there is no file {file}"), remedy);
            }
        }
    }

    /// Looks for the programs that run containers, and that set up their names.
    fn podman(&mut self) {
        let Process { engine, parts, .. } = self.process();
        let at = path![engine.section()];
        let needed = [("podman", "podman", engine.has_images()), ("ip", "iproute2", !parts.is_empty())];
        for (program, package, _) in needed.into_iter().filter(|(.., is_needed)| *is_needed) {
            if find_in_path(program, None).is_none() {
                let message = format!("there is no {program} on this host");
                let error = self.document.key_error(&at, message, format!("apt-get install {package}"));
                self.found.errors.0.push(error);
            }
        }
    }

    fn ports(&mut self, machine: &Machine) {
        let ports = &self.service.ports;
        if ports.is_empty() {
            return;
        }
        // A kernel that does not tell proves nothing.
        let listeners = [Protocol::Stream, Protocol::Datagram].map(|one| (one, listener::all(one).unwrap_or_default()));
        for (index, port) in ports.iter().enumerate() {
            let of_protocol = listeners.iter().find(|(protocol, _)| *protocol == port.protocol);
            let Some((_, listeners)) = of_protocol else { continue };
            let Some(holder) = PortHolder::find(machine.manager, listeners, port) else { continue };
            // Only root sees whose socket it is.
            if !holder.is_known() || holder.is_of(&self.service.name) {
                continue;
            }
            let remedy = "stop it, or write another address";
            let message = format!("{holder} listens on {}", holder.address);
            self.error(&path!["port", index, "listen"], message, remedy);
        }
    }
}

/// Returns a warning as text.
pub(crate) fn told(warning: &Diagnostic) -> String {
    format!("warning: {}\n  help: {}", warning.headline(), warning.remedy())
}
