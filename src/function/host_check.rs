//! What a function needs of this host and does not find: known before a request waits for it.

use std::fs;

use camino::Utf8Path;

use crate::accounts;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Node, Path};
use crate::layout::Scope;
use crate::model::function::{Compiled, Function};
use crate::model::{Command, Engine, Process, Systemd, User};
use crate::path;
use crate::service::host_check::program::Sight;

/// A function whose manifest was read again for the positions of errors, and its files are in `dir`.
struct HostCheck<'a> {
    function: &'a Function,
    systemd: Systemd,
    scope: Scope,
    document: &'a Node,
    dir: &'a Utf8Path,
    found: Vec<Diagnostic>,
}

/// Looks for what a function needs of this host: its programs, user, groups, credentials and directories. `dir` is the
/// directory of its files.
pub(crate) fn check(scope: Scope, compiled: &Compiled, document: &Node, dir: &Utf8Path) -> Diagnostics {
    let function = &compiled.function;
    let systemd = Systemd { service: function.directives.clone(), ..Systemd::default() };
    let mut check = HostCheck { function, systemd, scope, document, dir, found: Vec::new() };
    check.user();
    check.groups();
    check.credentials();
    check.paths();
    check.programs();
    Diagnostics(check.found)
}

impl HostCheck<'_> {
    fn process(&self) -> &Process {
        &self.function.process
    }

    fn error(&mut self, at: &Path, message: impl Into<String>, remedy: impl Into<String>) {
        self.found.push(self.document.error(at, message, remedy));
    }

    fn user(&mut self) {
        let User::Static(name) = &self.function.process.user else { return };
        // A source of users that does not answer proves nothing. A number need not be anybody's.
        if self.scope == Scope::System && name.parse::<u32>().is_err() && matches!(accounts::user(name), Ok(None)) {
            let remedy = "create the user first, with useradd(8) or sysusers.d(5)";
            self.error(&path!["exec", "user"], format!("there is no user {name} on this host"), remedy);
        }
    }

    fn groups(&mut self) {
        for (index, name) in self.function.writable.groups.iter().enumerate() {
            if name.parse::<u32>().is_err() && matches!(accounts::group(name), Ok(None)) {
                let remedy = "create the group first, with groupadd(8) or sysusers.d(5)";
                self.error(&path!["groups", index], format!("there is no group {name} on this host"), remedy);
            }
        }
    }

    fn credentials(&mut self) {
        let Process { credentials, credentials_encrypted, .. } = self.process();
        let all = [("credentials", credentials.clone()), ("credentials_encrypted", credentials_encrypted.clone())];
        for (key, files) in all {
            for (name, file) in files {
                if is_missing(&file) {
                    let remedy = format!("create the file: `install -D -m 600 /dev/stdin {file}` reads the secret");
                    self.error(&path!["exec", key, name.as_str()], format!("there is no file {file}"), remedy);
                }
            }
        }
    }

    fn paths(&mut self) {
        for (index, path) in self.function.writable.paths.iter().enumerate() {
            if is_missing(path) {
                let remedy = "create it: systemd starts no unit with a path that is missing";
                self.error(&path!["read_write", index], format!("there is no {path}"), remedy);
            }
        }
        let Some(programs) = &self.function.programs else { return };
        let directory = programs.path(self.dir);
        if !directory.starts_with(self.dir) && fs::metadata(&directory).is_ok_and(|it| !it.is_dir()) {
            self.error(&path!["directory"], format!("{directory} is not a directory"), "name the directory it is in");
        } else if is_missing(&directory) {
            let remedy = "install what it comes with, or write another path";
            self.error(&path!["directory"], format!("there is no directory {directory}"), remedy);
        } else if let Some(directive) = self.sight().hiding(&directory) {
            let remedy = format!("put it below /opt or /srv; {directive} = false in [systemd.service] shows it");
            self.error(&path!["directory"], format!("{directive}=yes of the sandbox hides {directory}"), remedy);
        }
    }

    fn programs(&mut self) {
        if let Engine::Exec { command: Command(words) } = &self.function.process.engine {
            self.program(&path!["exec", "command", 0], words);
        }
        let programs = self.function.programs.iter();
        for (suffix, Command(words)) in programs.flat_map(|programs| &programs.interpreters) {
            self.program(&path!["interpreter", suffix.as_str(), 0], words);
        }
    }

    fn program(&mut self, at: &Path, words: &[String]) {
        let Some(program) = words.first() else { return };
        // What is at another place for the processes is known to them alone.
        let sees_this_host = !self.systemd.service.iter().any(|set| {
            set.name.starts_with("Bind") || set.name.starts_with("Root") || set.name == "TemporaryFileSystem"
        });
        if let Some((message, remedy)) = self.sight().wrong(program).filter(|_| sees_this_host) {
            self.error(at, message, remedy);
        }
    }

    fn sight(&self) -> Sight<'_> {
        Sight { process: self.process(), systemd: &self.systemd, scope: self.scope, dir: self.dir }
    }
}

/// Returns whether nothing has this path. A directory that may not be searched proves nothing.
fn is_missing(path: &Utf8Path) -> bool {
    matches!(path.as_std_path().try_exists(), Ok(false))
}
