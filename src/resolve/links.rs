//! Resolving links among the declaration's files to absolute paths.

use camino::Utf8Path;

use crate::declaration::Sandbox;
use crate::diagnostic::Diagnostic;
use crate::layout::Scope;
use crate::model::{Engine, File, FileKind, Process, Systemd};
use crate::resolve::Resolver;

/// What the strict sandbox hides, systemd.exec(5): the directive, and the directories that are empty with it.
const HIDDEN: &[(&str, &[&str])] =
    &[("ProtectHome", &["/home", "/root", "/run/user"]), ("PrivateTmp", &["/tmp", "/var/tmp"])];

/// Returns the directive of the sandbox that hides a path from a process, unless the declaration sets it.
pub(crate) fn hiding(process: &Process, systemd: &Systemd, scope: Scope, path: &Utf8Path) -> Option<&'static str> {
    let is_confined = matches!(process.engine, Engine::Exec { .. }) && process.sandbox == Sandbox::Strict;
    if !is_confined || scope != Scope::System {
        return None;
    }
    let is_default = |directive: &str| !systemd.service.iter().any(|set| set.name == directive);
    let hides = |dirs: &[&str]| dirs.iter().any(|dir| path.starts_with(Utf8Path::new(dir)));
    HIDDEN.iter().find(|(directive, dirs)| is_default(directive) && hides(dirs)).map(|(directive, _)| *directive)
}

impl Resolver<'_> {
    /// Refuses links to files that the process would not see.
    pub(crate) fn links(&mut self, process: &Process, systemd: &Systemd) {
        for File { path, kind } in &self.declared.files {
            let FileKind::Symlink { target } = kind else { continue };
            if let Some(directive) = hiding(process, systemd, self.declared.scope, target) {
                let message = format!("links to {target}, which {directive}=yes of the sandbox hides");
                let remedy = format!(
                    "copy what it links to, or install it below /opt or /usr/local; \
                     {directive} = false in [systemd.service] shows it"
                );
                self.errors.0.push(Diagnostic::of_file(&self.declared.dir.join(path), message, remedy));
            }
        }
    }
}
