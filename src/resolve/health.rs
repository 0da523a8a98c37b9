//! `[health]`: the check of a deployment, with its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::declaration::TimeSpan;
use crate::document::Path;
use crate::model::{Check, Command, Engine, Health, Listen, START_TIME};
use crate::names::ListenerName;
use crate::resolve::Resolver;
use crate::resolve::listen::nowhere;
use crate::resolve::request::{Mistake, mistake_of_name, mistake_of_path, mistake_of_value};
use crate::{declaration, path};

impl Resolver<'_> {
    /// Resolves `[health]`. A deployment has `limit` to become healthy; checks of listeners whose callers are `announced` are
    /// announced, too.
    pub(crate) fn health(
        &mut self,
        health: declaration::Health,
        listen: &Listen,
        engine: &Engine,
        limit: Duration,
        announced: &[Option<String>],
    ) -> Health {
        let declaration::Health {
            http,
            tcp,
            exec,
            notify,
            start,
            status,
            headers,
            body,
            interval,
            timeout,
            retries,
            listener,
            live,
        } = health;
        let at = path!["health"];
        let given = [http.is_some(), tcp.is_some(), exec.is_some(), notify.is_some(), start.is_some()];
        if given.into_iter().filter(|given| *given).count() > 1 {
            self.key_error(&at, "more than one check", "keep one of http, tcp, exec, notify and start");
        }
        for (key, _) in [("http", http.is_some()), ("tcp", tcp.is_some())].into_iter().filter(|(_, given)| *given) {
            if listen.main().is_none() && listener.is_none() {
                let remedy =
                    nowhere(listen, "write exec = [\"./check\"], notify = true or start = \"1s\", or remove it");
                self.key_error(&at.join(key), "the service listens nowhere", remedy);
            }
        }
        for (key, value) in [("tcp", tcp), ("notify", notify)] {
            if value == Some(false) {
                let remedy =
                    "remove it: a service without a check has tcp = true, and one that listens nowhere start = \"1s\"";
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
        let without = [("notify", notify == Some(true)), ("start", start.is_some())];
        if let Some((check, _)) = without.into_iter().find(|(_, given)| *given) {
            for (key, _) in of_attempts.into_iter().filter(|(_, given)| *given) {
                let remedy = "remove it; health_timeout in [deploy] limits how long the process may take";
                self.key_error(&at.join(key), format!("with {check} there are no attempts"), remedy);
            }
        }
        if retries == Some(0) {
            self.error(&at.join("retries"), "0 is too small", "write 1 or more, or remove it for no limit");
        }
        let is_announced = announced.contains(&listener);
        let listener = self.asked(&at, listener, listen, exec.is_some() || without.iter().any(|(_, given)| *given));
        let check = match (http, exec) {
            (Some(path), _) => Check::Http {
                path: self.request_path(&at.join("http"), path),
                status: self.statuses(&at.join("status"), status.unwrap_or_default()),
                headers: self.headers(&at.join("headers"), headers),
                body: self.pattern(&at.join("body"), body),
                announced: is_announced,
            },
            (_, Some(words)) => {
                if words.is_empty() {
                    self.error(&at.join("exec"), "the command is empty", self.example(&at.join("exec")));
                }
                let command = self.command_at(&at.join("exec"), words, engine.is_privileged());
                Check::Exec { command: command.unwrap_or(Command(Vec::new())) }
            }
            (None, None) if notify.is_some() => Check::Notify,
            (None, None) if start.is_none() && tcp.is_none() && matches!(engine, Engine::Pod(_)) => Check::Probes,
            (None, None) if start.is_some() || listen.main().is_none() && listener.is_none() => {
                Check::Start { time: self.start_time(&at.join("start"), start, limit) }
            }
            (None, None) => Check::Tcp,
        };
        Health {
            check,
            listener,
            interval: self.span(&at.join("interval"), interval, Duration::from_millis(200)),
            timeout: self.span(&at.join("timeout"), timeout, Duration::from_secs(30)),
            retries,
            live: live.map(|live| self.live(live, listen, engine, announced)),
        }
    }

    /// Resolves the listener that a check asks.
    pub(super) fn asked(
        &mut self,
        at: &Path,
        listener: Option<String>,
        listen: &Listen,
        asks_none: bool,
    ) -> Option<ListenerName> {
        let at = at.join("listener");
        if listener.is_some() && asks_none {
            self.key_error(&at, "listener belongs to http and tcp checks", "remove it");
        }
        self.listener(&at, listener, listen)
    }

    /// Resolves the time that the main process has to run for.
    fn start_time(&mut self, at: &Path, start: Option<TimeSpan>, limit: Duration) -> Duration {
        let time = self.span(at, start, START_TIME);
        if time >= limit {
            let remedy = "write a shorter time, or a longer health_timeout in [deploy]";
            self.error(at, "a deployment has no more time than health_timeout to become healthy", remedy);
        }
        time
    }

    pub(super) fn statuses(&mut self, at: &Path, status: Vec<u16>) -> Vec<u16> {
        for (index, code) in status.iter().enumerate() {
            if !(100..=599).contains(code) {
                let message = format!("{code} is not an HTTP status");
                self.error(&at.join(index), message, "write numbers from 100 to 599");
            }
        }
        status
    }

    pub(super) fn headers(&mut self, at: &Path, headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
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

    pub(super) fn request_path(&mut self, at: &Path, path: String) -> String {
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
