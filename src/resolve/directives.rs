//! `[resources]` and `[systemd]`: limits of the slice, and directives that are passed through to systemd.

use std::collections::BTreeMap;

use crate::declaration::{OneOrMany, Scalar};
use crate::directive::{self, Section};
use crate::document::Path;
use crate::model::{Directive, Setting, Systemd};
use crate::path;
use crate::resolve::{Resolver, unfit};

impl Resolver<'_> {
    /// Resolves `[resources]`: directives of the slice in snake case, systemd.resource-control(5).
    pub(crate) fn resources(&mut self, given: BTreeMap<String, Scalar>) -> Vec<Setting> {
        let mut settings = Vec::new();
        for (key, Scalar(value)) in given {
            let at = path!["resources", key.as_str()];
            match directive::lookup_snake(Section::Slice, &key) {
                Some(known) => {
                    let key = directive::snake(known.name);
                    settings
                        .extend(self.value(&at, known, value).map(|Directive { value, .. }| Setting { key, value }));
                }
                None => {
                    let known = Section::Slice.directives().iter();
                    let names: Vec<_> = known.map(|known| directive::snake(known.name)).collect();
                    let remedy = match directive::closest(&key, names.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "see systemd.resource-control(5); MemoryMax= is memory_max here".to_owned(),
                    };
                    self.key_error(&at, "unknown limit", remedy);
                }
            }
        }
        settings
    }

    /// Resolves one section of `[systemd]`.
    pub(crate) fn directives(
        &mut self,
        section: Section,
        name: &str,
        given: BTreeMap<String, OneOrMany>,
    ) -> Vec<Directive> {
        let mut lines = Vec::new();
        for (key, values) in given {
            let at = path!["systemd", name, key.as_str()];
            if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == key) {
                self.key_error(&at, format!("conductor sets {key}="), *instead);
                continue;
            }
            let Some(known) = directive::lookup(section, &key) else {
                let message = format!("systemd has no {}= in this section", key.escape_debug());
                self.key_error(&at, message, unknown_directive(section, &key));
                continue;
            };
            match values {
                OneOrMany::One(Scalar(value)) => lines.extend(self.value(&at, known, value)),
                OneOrMany::Many(values) => {
                    for (index, Scalar(value)) in values.into_iter().enumerate() {
                        lines.extend(self.value(&at.join(index), known, value));
                    }
                }
            }
        }
        lines
    }

    /// Refuses what has no effect as long as systemd restarts deployments without limit, systemd.unit(5).
    pub(crate) fn start_limit(&mut self, systemd: &Systemd) {
        if systemd.has_start_limit() {
            return;
        }
        for name in ["OnFailure", "StartLimitBurst"] {
            if systemd.unit.iter().any(|directive| directive.name == name) {
                let message = format!("{name}= has no effect: systemd restarts deployments without limit");
                let remedy = "add StartLimitIntervalSec = \"1min\" and StartLimitBurst = 5: a deployment that starts more \
                              often fails, until a rollout or `conductor service start` starts it again";
                self.key_error(&path!["systemd", "unit", name], message, remedy);
            }
        }
    }

    /// Checks a directive's value as systemd does; None if it has an error.
    fn value(&mut self, at: &Path, known: &directive::Directive, value: String) -> Option<Directive> {
        let value = value.trim().to_owned();
        if let Some((message, remedy)) = unfit(&value) {
            self.error(at, message, remedy);
            return None;
        }
        if value.chars().any(char::is_control) {
            self.error(at, "a line break or control character is in the value", "write it on one line");
            return None;
        }
        if value.ends_with('\\') {
            self.error(at, "a backslash at the end would join the next line", "remove the last backslash");
            return None;
        }
        if let Some(host) = self.systemd.filter(|host| *host < known.since) {
            let message = format!("{}= needs systemd {}, this host runs {host}", known.name, known.since);
            self.key_error(at, message, "remove it, or render for a newer host with --target-systemd");
            return None;
        }
        if let Err(accepted) = directive::check(known.kind, &value) {
            self.error(at, format!("systemd refuses {}={value}", known.name), format!("write {accepted}"));
            return None;
        }
        Some(Directive { name: known.name.to_owned(), value })
    }
}

/// Returns the remedy for a directive that a section does not have.
fn unknown_directive(section: Section, key: &str) -> String {
    let near = directive::lookup_snake(section, key).map(|known| known.name);
    if let Some(near) = near.or_else(|| directive::nearest(section, key)) {
        return format!("did you mean `{near}`?");
    }
    match directive::section_of(key) {
        Some(other) => format!("{key}= belongs in [systemd.{}]", other.name().to_lowercase()),
        None => "see systemd.directives(7) for the names".to_owned(),
    }
}

/// Directives that conductor sets or relies on, each with the remedy of its error.
pub(crate) const OWNED: &[(&str, &str)] = &[
    ("Description", "write description = \"…\" at the top of the file"),
    ("SourcePath", "remove it"),
    ("PartOf", "remove it"),
    ("IgnoreOnIsolate", "remove it"),
    ("StopWhenUnneeded", "remove it"),
    ("RefuseManualStart", "remove it"),
    ("RefuseManualStop", "remove it"),
    ("CollectMode", "remove it"),
    ("StartLimitInterval", "write StartLimitIntervalSec in [systemd.unit]"),
    ("StartLimitAction", "write OnFailure with a unit that acts"),
    ("Type", "remove it: [health] determines when a deployment is ready"),
    ("ExecStart", "write command = […] in [exec]"),
    ("ExecStartPre", "write pre_start = […] in [hooks]"),
    ("ExecStartPost", "write post_start = […] in [hooks]"),
    ("ExecCondition", "remove it"),
    ("ExecReload", "remove it: a reload of the service rolls its deployments"),
    ("ExecStop", "write pre_stop or drain = […] in [hooks]"),
    ("ExecStopPost", "write post_stop = […] in [hooks]"),
    ("RemainAfterExit", "remove it"),
    ("GuessMainPID", "remove it"),
    ("PIDFile", "run the program in the foreground"),
    ("BusName", "remove it"),
    ("Sockets", "remove it: each deployment has its own socket"),
    ("TimeoutStartSec", "write health_timeout = \"…\" in [deploy]"),
    ("TimeoutStopSec", "write drain_timeout = \"…\" in [deploy]"),
    ("TimeoutSec", "write health_timeout and drain_timeout in [deploy]"),
    ("RuntimeDirectoryPreserve", "remove it: generations share the directory, and it stays until the service stops"),
    ("User", "write user = \"…\" in [exec]"),
    ("DynamicUser", "remove it: it is on unless [exec] has a user"),
    ("Slice", "remove it: the service has a slice of its own, [resources] sets its limits"),
    ("WorkingDirectory", "remove it: processes start in the directory of their files"),
    ("RootDirectory", "remove it: the files are on the host"),
    ("RootImage", "remove it: the files are on the host"),
    ("Environment", "write environment = { … } in [exec]"),
    ("LoadCredential", "write credentials = { … } in [exec]"),
    ("LoadCredentialEncrypted", "write credentials_encrypted = { … } in [exec]"),
    ("ListenStream", "remove it: [[route]] and [[port]] define how clients reach the service"),
    ("ListenDatagram", "remove it"),
    ("ListenSequentialPacket", "remove it"),
    ("ListenFIFO", "remove it"),
    ("ListenSpecial", "remove it"),
    ("ListenNetlink", "remove it"),
    ("ListenMessageQueue", "remove it"),
    ("ListenUSBFunction", "remove it"),
    ("Accept", "remove it: the process accepts"),
    ("Service", "remove it"),
    ("SocketUser", "remove it: the proxy's group has access"),
    ("SocketGroup", "remove it: the proxy's group has access"),
    ("SocketMode", "remove it: the proxy's group has access"),
    ("DirectoryMode", "remove it"),
    ("RemoveOnStop", "remove it"),
    ("Symlinks", "remove it: slots are the symlinks"),
    ("ExecStopPre", "write pre_stop = […] in [hooks]"),
];
