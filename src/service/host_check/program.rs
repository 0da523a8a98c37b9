//! Programs of a service that are not on this host, or that its sandbox hides.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;

use crate::document::Path;
use crate::layout::Scope;
use crate::model::{Check, Command, Engine, Process, RunningHook, Systemd};
use crate::path;
use crate::resolve::links::hiding;
use crate::service::host_check::HostCheck;
use crate::service::host_check::search_path::{PATH, find_in_path};

/// Directives by which a process sees other files than this host has.
const OTHER_FILES: &[&str] = &[
    "BindPaths",
    "BindReadOnlyPaths",
    "ExecSearchPath",
    "ExtensionDirectories",
    "ExtensionImages",
    "MountImages",
    "RootDirectory",
    "RootImage",
    "TemporaryFileSystem",
];
/// The longest first line of a script that the kernel reads, execve(2).
const MAX_LINE: u64 = 256;

/// Whether a service starts without a program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Start,
    Later,
}

impl HostCheck<'_> {
    pub(super) fn programs(&mut self) {
        if self.systemd.service.iter().any(|set| OTHER_FILES.contains(&set.name.as_str())) {
            return;
        }
        let (service, hooks) = (self.service, &self.service.hooks);
        // The hook may make the program, or its interpreter.
        let of_process = if hooks.pre_start.is_some() { Need::Later } else { Need::Start };
        let at = |name: &str| path!["hooks", name];
        if let Some(hook) = &hooks.pre_start {
            self.program(&at("pre_start"), &hook.command, Need::Start);
        }
        if let Engine::Exec { command } = &service.process.engine {
            self.program(&path!["exec", "command"], command, of_process);
            self.arguments(&path!["exec", "command"], command);
            if let Check::Exec { command } = &service.health.check {
                self.program(&path!["health", "exec"], command, of_process);
            }
        }
        // The programs of those in a container are the image's.
        let on_host = |hook| !service.runs_inside(hook);
        let post_start = hooks.post_start.iter().filter(|_| on_host(RunningHook::PostStart));
        post_start.for_each(|hook| self.program(&at("post_start"), &hook.command, of_process));
        let pre_stop = hooks.pre_stop.iter().filter(|_| on_host(RunningHook::PreStop));
        pre_stop.for_each(|hook| self.program(&at("pre_stop"), &hook.command, Need::Later));
        let pre_drain = hooks.pre_drain.iter().filter(|_| on_host(RunningHook::PreDrain));
        pre_drain.for_each(|hook| self.program(&at("pre_drain"), &hook.command, Need::Later));
        hooks.post_stop.iter().for_each(|hook| self.program(&at("post_stop"), &hook.command, Need::Later));
        let drain = hooks.drain.iter().filter(|_| on_host(RunningHook::Drain));
        drain.for_each(|command| self.program(&at("drain"), command, Need::Later));
        for (name, command) in &service.commands {
            self.program(&path!["commands", name.as_str(), "exec"], &command.exec, Need::Later);
        }
    }

    fn program(&mut self, words: &Path, command: &Command, need: Need) {
        let Some(program) = command.0.first() else { return };
        // The words of a hook may be below its key `command`.
        let is_list = !self.document.find(words).items().is_empty();
        let at = if is_list { words.join(0) } else { words.join("command").join(0) };
        match (self.sight().wrong(program), need) {
            (Some((message, remedy)), Need::Start) => self.error(&at, message, remedy),
            (Some((message, remedy)), Need::Later) => self.warning(&at, message, remedy),
            (None, _) => {}
        }
    }

    fn sight(&self) -> Sight<'_> {
        Sight { process: self.process(), systemd: self.systemd, scope: self.layout.scope, dir: self.dir }
    }

    /// Warns of files of this host that are named in a command and that the sandbox hides.
    fn arguments(&mut self, words: &Path, command: &Command) {
        for (index, word) in command.0.iter().enumerate().skip(1) {
            let file = word.rsplit('=').next().unwrap_or(word);
            let hidden = self.sight().hiding(Utf8Path::new(file));
            if let Some(directive) = hidden.filter(|_| Utf8Path::new(file).exists()) {
                let remedy = format!("put it below /opt or /srv; {directive} = false in [systemd.service] shows it");
                self.warning(&words.join(index), format!("{directive}=yes of the sandbox hides {file}"), remedy);
            }
        }
    }
}

/// What processes see of this host, in their sandbox.
pub(crate) struct Sight<'a> {
    pub(crate) process: &'a Process,
    pub(crate) systemd: &'a Systemd,
    pub(crate) scope: Scope,
    /// The directory of the declaration's files.
    pub(crate) dir: &'a Utf8Path,
}

impl Sight<'_> {
    /// Returns the directive of the sandbox that hides a path.
    pub(crate) fn hiding(&self, path: &Utf8Path) -> Option<&'static str> {
        hiding(self.process, self.systemd, self.scope, path)
    }

    /// Returns why the first word of a command cannot run, and the remedy.
    pub(crate) fn wrong(&self, program: &str) -> Option<(String, String)> {
        match program.strip_prefix("./") {
            Some(relative) => self.script(program, &self.dir.join(relative)),
            None if program.starts_with('/') => self.absolute(Utf8Path::new(program)),
            None if find_in_path(program, None).is_none() => {
                Some((format!("there is no program {program} in {PATH}"), "install it, or write its path".to_owned()))
            }
            None => None,
        }
    }

    /// Returns what is wrong with a program at an absolute path, and the remedy.
    fn absolute(&self, program: &Utf8Path) -> Option<(String, String)> {
        if let Some(directive) = self.hiding(program) {
            return Some((
                format!("{directive}=yes of the sandbox hides {program}"),
                format!("install it below /opt or /usr/local; {directive} = false in [systemd.service] shows it"),
            ));
        }
        match std::fs::metadata(program) {
            Ok(file) if file.is_dir() => Some((format!("{program} is a directory"), "name a program in it".to_owned())),
            Ok(file) if file.permissions().mode() & 0o111 == 0 => {
                Some((format!("{program} is not executable"), format!("chmod +x {program}")))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some((format!("there is no program {program}"), "install it, or write another path".to_owned()))
            }
            // A directory that may not be searched proves nothing.
            Ok(_) | Err(_) => None,
        }
    }

    /// Returns what is wrong with the first line of a script, and the remedy.
    pub(crate) fn script(&self, program: &str, file: &Utf8Path) -> Option<(String, String)> {
        let line = first_line(file)?;
        if line.ends_with('\r') {
            let remedy = format!("write it with line ends of Unix: `sed -i 's/\\r$//' {program}`");
            return Some((format!("the first line of {program} ends as on Windows, with \\r"), remedy));
        }
        let (interpreter, name) = interpreter(&line)?;
        if let Some((message, _)) = self.absolute(Utf8Path::new(interpreter)) {
            let remedy = format!("install it, or correct the first line of {program}: {line:?}");
            return Some((format!("{program} cannot run: {message}"), remedy));
        }
        let path = self.process.environment.get("PATH").map(String::as_str);
        let name = name.filter(|name| find_in_path(name, path).is_none())?;
        let remedy = format!("install it, or correct the first line of {program}: {line:?}");
        Some((format!("{program} cannot run: there is no program {name} in {}", path.unwrap_or(PATH)), remedy))
    }
}

/// Reads the first line of a script; None of another file.
fn first_line(file: &Utf8Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(file).ok()?.take(MAX_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(format!("#!{}", String::from_utf8_lossy(line)))
}

/// Returns the interpreter of a script's first line, and the name that env(1) looks for.
fn interpreter(line: &str) -> Option<(&str, Option<&str>)> {
    let mut words = line.strip_prefix("#!")?.split_whitespace();
    let interpreter = words.next()?;
    let is_env = Utf8Path::new(interpreter).file_name() == Some("env");
    let name = words.find(|word| !word.starts_with('-') && !word.contains('='));
    Some((interpreter, name.filter(|name| is_env && !name.contains('/'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_of_a_script_is_found() {
        assert_eq!(interpreter("#!/bin/sh -e"), Some(("/bin/sh", None)));
        assert_eq!(interpreter("#! /usr/bin/env python3"), Some(("/usr/bin/env", Some("python3"))));
        assert_eq!(interpreter("#!/usr/bin/env -S A=b node --x"), Some(("/usr/bin/env", Some("node"))));
        assert_eq!(interpreter("#!/usr/bin/env /bin/sh"), Some(("/usr/bin/env", None)));
        assert_eq!((interpreter("#!"), interpreter("\u{7f}ELF")), (None, None));
    }
}
