//! `[commands]`: commands for people, and jobs.

use std::collections::BTreeMap;

use crate::declaration::{self, OneOrMany, Scalar, TimeSpan};
use crate::document::Path;
use crate::model::{CommandScope, Engine, Job, RunCommand};
use crate::resolve::Resolver;
use crate::{calendar, path};

/// Units that may start when a job fails.
const KINDS: &[&str] = &["service", "target", "socket", "path", "timer"];
/// The longest name of a job, with which the names of its units have at most 255 characters.
const MAX_JOB: usize = 100;

impl Resolver<'_> {
    pub(super) fn commands(
        &mut self,
        commands: BTreeMap<String, declaration::RunCommand>,
        engine: &Engine,
    ) -> BTreeMap<String, RunCommand> {
        let mut resolved = BTreeMap::new();
        for (name, mut command) in commands {
            let at = path!["commands", name.as_str()];
            let ok = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
            if name.is_empty() || name.starts_with('-') || !name.chars().all(ok) {
                self.key_error(&at, "not the name of a command", "use letters, digits, '-', '_', '.' and ':'");
            }
            if command.exec.is_empty() {
                self.error(&at.join("exec"), "the command is empty", self.example(&at.join("exec")));
            }
            let job = self.job(&at, &name, &mut command);
            let declaration::RunCommand { description, exec, scope, inside, .. } = command;
            let inside = inside == Some(true) && self.may_run_inside(&at, scope, engine);
            let description = description.map(|text| self.line(&at.join("description"), &text));
            if let Some(exec) = self.command_at(&at.join("exec"), exec, inside) {
                resolved.insert(name, RunCommand { description, exec, scope, inside, job });
            }
        }
        resolved
    }

    /// Returns whether a command may run in a container of its own.
    fn may_run_inside(&mut self, at: &Path, scope: CommandScope, engine: &Engine) -> bool {
        let at = at.join("inside");
        match (engine, scope) {
            (Engine::Container(_), CommandScope::Deployment) => return true,
            (Engine::Container(_), CommandScope::Service) => {
                let remedy = "remove it, or scope = \"service\"";
                self.key_error(&at, "its container has the volumes and credentials of a deployment", remedy);
            }
            (Engine::Pod(_), _) => {
                let remedy = "remove it, or declare a [[part]] with [container] for it";
                self.key_error(&at, "a pod's file may have several images", remedy);
            }
            (Engine::Exec { .. }, _) => self.key_error(&at, "the service runs no container", "remove it"),
        }
        false
    }

    /// Resolves when a command runs by itself; None without a schedule.
    fn job(&mut self, at: &Path, name: &str, command: &mut declaration::RunCommand) -> Option<Job> {
        let declaration::RunCommand {
            description: _,
            exec: _,
            scope: _,
            inside: _,
            schedule,
            persistent,
            overlap,
            randomized_delay,
            timeout,
            on_failure,
        } = command;
        let Some(schedule) = schedule.take() else {
            for (key, is_there) in [
                ("persistent", persistent.is_some()),
                ("overlap", overlap.is_some()),
                ("randomized_delay", randomized_delay.is_some()),
                ("timeout", timeout.is_some()),
                ("on_failure", on_failure.is_some()),
            ] {
                if is_there {
                    let remedy = format!("{}, or remove `{key}`", self.example(&at.join("schedule")));
                    self.key_error(&at.join(key), "only a command with a `schedule` has this key", remedy);
                }
            }
            return None;
        };
        if name.contains(':') || name.len() > MAX_JOB {
            let remedy = format!("use at most {MAX_JOB} letters, digits, '-', '_' and '.'");
            self.key_error(at, "a job's name is part of the names of its units", remedy);
        }
        let mut span = |key: &str, span: &mut Option<TimeSpan>| {
            let given = span.take()?;
            Some(self.span(&at.join(key), Some(given), std::time::Duration::ZERO))
        };
        let (randomized_delay, timeout) = (span("randomized_delay", randomized_delay), span("timeout", timeout));
        Some(Job {
            schedule: self.schedule(&at.join("schedule"), schedule),
            persistent: persistent.unwrap_or_default(),
            overlap: overlap.unwrap_or_default(),
            randomized_delay,
            timeout,
            on_failure: self.on_failure(&at.join("on_failure"), on_failure.take().unwrap_or_default()),
        })
    }

    fn schedule(&mut self, at: &Path, given: OneOrMany) -> Vec<String> {
        let given = match given {
            OneOrMany::One(Scalar(text)) => vec![(at.clone(), text)],
            OneOrMany::Many(texts) => {
                texts.into_iter().enumerate().map(|(index, Scalar(text))| (at.join(index), text)).collect()
            }
        };
        if given.is_empty() {
            self.error(at, "a job without a time never runs", self.example(at));
        }
        for (at, text) in &given {
            if let Err(why) = calendar::check(text) {
                self.error(at, format!("{text:?} {why}"), self.example(at));
            }
        }
        given.into_iter().map(|(_, text)| text.trim_ascii().to_owned()).collect()
    }

    fn on_failure(&mut self, at: &Path, units: Vec<String>) -> Vec<String> {
        for (index, unit) in units.iter().enumerate() {
            self.unit_name(&at.join(index), unit, KINDS, "alert.service");
        }
        units
    }
}
