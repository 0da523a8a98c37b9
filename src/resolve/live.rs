//! `[health.live]`: the check that a deployment which was ready lives.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Check, Command, Engine, Listen, Live};
use crate::resolve::Resolver;
use crate::resolve::listen::nowhere;
use crate::{declaration, path};

const CHECKS: &str = "keep one of http, tcp, exec and notify";

impl Resolver<'_> {
    /// Resolves `[health.live]`. Requests are `announced` as callers' connections are.
    pub(super) fn live(
        &mut self,
        live: declaration::Live,
        listen: &Listen,
        engine: &Engine,
        announced: &[Option<String>],
    ) -> Live {
        let declaration::Live { http, tcp, exec, notify, status, interval, timeout, failures, listener } = live;
        let at = path!["health", "live"];
        let given = [http.is_some(), tcp.is_some(), exec.is_some(), notify.is_some()];
        match given.into_iter().filter(|given| *given).count() {
            0 => self.key_error(
                &at,
                "no check is declared",
                "write http = \"/healthz\", tcp = true, exec or notify = true",
            ),
            1 => {}
            _ => self.key_error(&at, "more than one check", CHECKS),
        }
        for (key, value) in [("tcp", tcp), ("notify", notify)] {
            if value == Some(false) {
                self.error(&at.join(key), "a check cannot be switched off", "remove it, or [health.live]");
            }
        }
        for key in ["http", "tcp"].into_iter().zip(&given).filter(|(_, given)| **given).map(|(key, _)| key) {
            if listen.main().is_none() && listener.is_none() {
                let remedy = nowhere(listen, "write exec = [\"./alive\"] or notify = true");
                self.key_error(&at.join(key), "the service listens nowhere", remedy);
            }
        }
        if notify.is_some() && engine.is_privileged() {
            let remedy = "write http, tcp or exec";
            self.key_error(&at.join("notify"), "systemd's watchdog waits for podman, and not for a container", remedy);
        }
        for key in ["status", "timeout", "failures"] {
            let belongs = if key == "status" { http.is_some() } else { notify.is_none() };
            if !belongs && self.document.get(&at.join(key)).is_some() {
                let check = if key == "status" { "another check than http" } else { "notify" };
                self.key_error(&at.join(key), format!("{check} has no {key}"), "remove it");
            }
        }
        let least = Duration::from_secs(1);
        let interval_at = at.join("interval");
        let mut interval = self.span(&interval_at, interval, Duration::from_secs(10));
        if interval < least {
            self.error(&interval_at, "the time between two checks is at least one second", "write \"1s\" or more");
            interval = least;
        }
        let is_announced = announced.contains(&listener);
        let listener = self.asked(&at, listener, listen, exec.is_some() || notify.is_some());
        let check = match (http, exec) {
            (Some(path), _) => Check::Http {
                path: self.request_path(&at.join("http"), path),
                status: self.statuses(&at.join("status"), status.unwrap_or_default()),
                headers: BTreeMap::new(),
                body: None,
                announced: is_announced,
            },
            (_, Some(words)) => {
                let at = at.join("exec");
                if words.is_empty() {
                    self.error(&at, "the command is empty", self.example(&at));
                }
                let command = self.command_at(&at, words, engine.is_privileged());
                Check::Exec { command: command.unwrap_or(Command(Vec::new())) }
            }
            _ if notify.is_some() => Check::Notify,
            _ => Check::Tcp,
        };
        Live {
            check,
            listener,
            interval,
            timeout: self.span(&at.join("timeout"), timeout, Duration::from_secs(5)),
            failures: self.number(&at.join("failures"), failures, 3, 1, 1000),
        }
    }
}
