//! `[health]`: the check of a deployment, with its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::document::Path;
use crate::model::{Check, Command, Engine, Health};
use crate::resolve::Resolver;
use crate::resolve::request::{Mistake, mistake_of_name, mistake_of_path, mistake_of_value};
use crate::{declaration, path};

impl Resolver<'_> {
    /// Resolves `[health]`.
    pub(crate) fn health(&mut self, health: declaration::Health, engine: &Engine) -> Health {
        let declaration::Health { http, tcp, exec, notify, status, headers, body, interval, timeout, retries } = health;
        let at = path!["health"];
        let given = [http.is_some(), tcp.is_some(), exec.is_some(), notify.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            self.key_error(&at, "more than one check", "keep one of http, tcp, exec and notify");
        }
        for (key, value) in [("tcp", tcp), ("notify", notify)] {
            if value == Some(false) {
                let remedy = "remove it: a service without a check has tcp = true";
                self.error(&at.join(key), "a check cannot be switched off", remedy);
            }
        }
        let of_http = [("status", status.is_some()), ("headers", !headers.is_empty()), ("body", body.is_some())];
        for (key, _) in of_http.into_iter().filter(|(_, given)| *given && http.is_none()) {
            let remedy = "add http = \"/healthz\"";
            self.key_error(&at.join(key), format!("{key} belongs to an http check"), remedy);
        }
        let of_attempts =
            [("interval", interval.is_some()), ("timeout", timeout.is_some()), ("retries", retries.is_some())];
        for (key, _) in of_attempts.into_iter().filter(|(_, given)| *given && notify == Some(true)) {
            let remedy = "remove it; health_timeout in [deploy] limits how long the process may take";
            self.key_error(
                &at.join(key),
                "with notify there are no attempts: the process reports when it is ready",
                remedy,
            );
        }
        if retries == Some(0) {
            self.error(&at.join("retries"), "0 is too small", "write 1 or more, or remove it for no limit");
        }
        let check = match (http, exec) {
            (Some(path), _) => Check::Http {
                path: self.request_path(&at.join("http"), path),
                status: self.statuses(&at.join("status"), status.unwrap_or_default()),
                headers: self.headers(&at.join("headers"), headers),
                body: self.pattern(&at.join("body"), body),
            },
            (_, Some(words)) => {
                if words.is_empty() {
                    self.error(&at.join("exec"), "the command is empty", self.example(&at.join("exec")));
                }
                let command = self.command_at(&at.join("exec"), words, engine.is_privileged());
                Check::Exec { command: command.unwrap_or(Command(Vec::new())) }
            }
            (None, None) if notify.is_some() => Check::Notify,
            (None, None) if tcp.is_none() && matches!(engine, Engine::Pod(_)) => Check::Probes,
            (None, None) => Check::Tcp,
        };
        Health {
            check,
            interval: self.span(&at.join("interval"), interval, Duration::from_millis(200)),
            timeout: self.span(&at.join("timeout"), timeout, Duration::from_secs(30)),
            retries,
        }
    }

    fn statuses(&mut self, at: &Path, status: Vec<u16>) -> Vec<u16> {
        for (index, code) in status.iter().enumerate() {
            if !(100..=599).contains(code) {
                let message = format!("{code} is not an HTTP status");
                self.error(&at.join(index), message, "write numbers from 100 to 599");
            }
        }
        status
    }

    fn headers(&mut self, at: &Path, headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (name, value) in &headers {
            let here = at.join(name.as_str());
            if let Some(Mistake { message, remedy }) = mistake_of_name(name) {
                self.key_error(&here, message, remedy);
            } else if let Some(Mistake { message, remedy }) = mistake_of_value(value) {
                self.error(&here, message, remedy);
            }
        }
        headers
    }

    fn pattern(&mut self, at: &Path, pattern: Option<String>) -> Option<String> {
        if let Some(why) = pattern.as_deref().and_then(mistake) {
            let remedy = "write a regular expression, in single quotes; \\ makes the next character plain";
            self.error(at, format!("not a regular expression: {why}"), remedy);
        }
        pattern
    }

    fn request_path(&mut self, at: &Path, path: String) -> String {
        if let Some(Mistake { message, remedy }) = mistake_of_path(&path) {
            self.error(at, message, remedy);
        }
        path
    }
}

/// Returns the error of a pattern; None if it is a regular expression.
#[cfg(feature = "cli")]
fn mistake(pattern: &str) -> Option<String> {
    regex_lite::Regex::new(pattern).err().map(|error| error.to_string())
}

/// Checks nothing: the generator has no regular expressions, and the hooks that start a service report the error.
#[cfg(not(feature = "cli"))]
fn mistake(_: &str) -> Option<String> {
    None
}
