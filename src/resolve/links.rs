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

impl Resolver<'_> {
    /// Refuses links to files that the process would not see.
    pub(crate) fn links(&mut self, process: &Process, systemd: &Systemd) {
        let is_hidden = matches!(process.engine, Engine::Exec { .. }) && process.sandbox == Sandbox::Strict;
        if !is_hidden || self.declared.scope != Scope::System {
            return;
        }
        let is_default = |directive: &str| !systemd.service.iter().any(|set| set.name == directive);
        for (directive, dirs) in HIDDEN.iter().filter(|(directive, _)| is_default(directive)) {
            for File { path, kind } in &self.declared.files {
                let FileKind::Symlink { target } = kind else { continue };
                if dirs.iter().any(|dir| target.starts_with(Utf8Path::new(dir))) {
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
}
