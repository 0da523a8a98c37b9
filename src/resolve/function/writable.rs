//! Resolving what the processes of a function may write, and the directives that are passed on for that.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::declaration::OneOrMany;
use crate::directive::Section;
use crate::document::Path;
use crate::layout::Scope;
use crate::model::writable::Writable;
use crate::model::{Directive, Engine, Process};
use crate::path;
use crate::resolve::Resolver;

/// The longest name of a directory that systemd makes.
const MAX_DIRECTORY: usize = 200;

/// Directives that are keys of function.toml, or that its gateway relies on, each with the remedy of its error.
const OWNED: &[(&str, &str)] = &[
    ("StateDirectory", "write state = \"…\" above all sections"),
    ("CacheDirectory", "write cache = \"…\" above all sections"),
    ("LogsDirectory", "write logs = \"…\" above all sections"),
    ("ReadWritePaths", "write read_write = […] above all sections"),
    ("SupplementaryGroups", "write groups = […] above all sections"),
    ("Group", "write groups = […] above all sections"),
    ("KillMode", "remove it: what a request leaves is killed"),
    ("LogExtraFields", "remove it: the journal has the function's fields"),
    ("Restart", "remove it: the next request starts the function"),
    ("RuntimeMaxSec", "write timeout = \"…\" above all sections"),
    ("StandardError", "remove it: the journal has it"),
    ("StandardInput", "remove it: it is the request's"),
    ("StandardOutput", "remove it: it is the answer's"),
    ("WatchdogSec", "remove it: it is the gateway's"),
];

impl Resolver<'_> {
    pub(super) fn writable(
        &mut self,
        (state, cache, logs): (Option<String>, Option<String>, Option<String>),
        read_write: Vec<String>,
        groups: Vec<String>,
        process: &Process,
    ) -> Writable {
        let names = [("state", state.as_deref()), ("cache", cache.as_deref()), ("logs", logs.as_deref())];
        for (key, name) in names.into_iter().filter_map(|(key, name)| Some((key, name?))) {
            self.made_directory(&path![key], name);
        }
        for (index, path) in read_write.iter().enumerate() {
            let at = path!["read_write", index];
            if path.starts_with('/') {
                self.absolute(&at, path);
            } else {
                self.error(
                    &at,
                    format!("{path:?} is not an absolute path"),
                    "write it from the root, such as \"/srv\"",
                );
            }
        }
        for (index, group) in groups.iter().enumerate() {
            self.group_name(&path!["groups", index], group);
        }
        let paths = read_write.into_iter().map(Utf8PathBuf::from).collect();
        let writable = Writable { state, cache, logs, paths, groups };
        if matches!(process.engine, Engine::Container(_)) {
            self.nothing_of_a_container();
        }
        writable
    }

    /// Refuses what only processes on the host have.
    fn nothing_of_a_container(&mut self) {
        for key in ["state", "cache", "logs", "read_write", "groups"] {
            if self.document.get(&path![key]).is_some() {
                let remedy = "remove it, and write volume = [\"NAME:/path\"] in [container]";
                self.key_error(&path![key], "a container has files and groups of its own", remedy);
            }
        }
    }

    /// Checks the name of a directory that systemd makes, as it does: relative, and written in one way.
    fn made_directory(&mut self, at: &Path, name: &str) {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.+@/".contains(c);
        let is_normalized = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_normalized || !name.chars().all(ok) || name.len() > MAX_DIRECTORY || name.starts_with("private") {
            let remedy = format!("write a name such as {}", self.example(at).rsplit("= ").next().unwrap_or_default());
            self.error(at, format!("{name:?} is not the name of a directory that systemd can make"), remedy);
        }
    }

    fn group_name(&mut self, at: &Path, group: &str) {
        let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.declared.scope == Scope::User {
            let remedy = "remove it, or declare the function for the system's manager";
            self.error(at, "a user's manager cannot add groups", remedy);
        } else if group.is_empty() || group.len() > 255 || !group.chars().all(ok) || group.starts_with(['-', '.']) {
            self.error(
                at,
                format!("{group:?} is not the name of a group"),
                "write one of /etc/group, such as \"www-data\"",
            );
        }
    }

    /// Resolves `[systemd.service]` of a function.
    pub(super) fn function_directives(&mut self, mut given: BTreeMap<String, OneOrMany>) -> Vec<Directive> {
        for (name, remedy) in OWNED {
            if given.remove(*name).is_some() {
                let at = path!["systemd", "service", *name];
                self.key_error(&at, format!("conductor sets {name}="), *remedy);
            }
        }
        self.directives(Section::Service, "service", given)
    }
}
