//! The journal: what units logged, and what the manager logged about them, systemd.journal-fields(7).

use std::process::Command;

use serde_json::{Map, Value};

use crate::layout::Scope;
use crate::systemd::manager::Manager;

/// Seconds for the journal to write what it has received, and for reading it.
const SYNC_LIMIT: &str = "2";
const READ_LIMIT: &str = "5";
/// The name under which conductor's hooks log.
const CONDUCTOR: &str = "conductor";
/// "A process of a unit has exited", sd-messages(3).
const PROCESS_EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";
/// The fields of an entry that are read.
const FIELDS: &str = "MESSAGE,MESSAGE_ID,SYSLOG_IDENTIFIER,_COMM,COMMAND,EXIT_CODE,EXIT_STATUS";

/// An entry of the journal.
pub(crate) struct Entry(Map<String, Value>);

/// The log of one start of a unit.
#[derive(Default)]
pub(crate) struct StartLog {
    /// Lines of the processes of the unit.
    pub(crate) lines: Vec<String>,
    /// Lines of conductor's hooks.
    pub(crate) of_hooks: Vec<String>,
    /// Entries of the manager about the unit.
    of_manager: Vec<Entry>,
}

/// The failed end of a command of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailedCommand {
    /// `ExecStart`, `ExecStartPre`, `ExecStartPost`.
    pub(crate) directive: String,
    /// `exited`, `killed` or `dumped`.
    pub(crate) code: String,
    /// The number of the status or the signal.
    pub(crate) status: String,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok().map(Self)
    }

    /// Returns the text of a field: the journal writes one that is not UTF-8, or not printable, as an array of bytes.
    fn text(&self, field: &str) -> String {
        match self.0.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(bytes)) => {
                let bytes: Vec<_> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => String::new(),
        }
    }

    /// Returns whether one of conductor's hooks logged the entry. A container's processes log under its name, too, since
    /// it starts podman; and of a process that is gone by then the journal does not know the program.
    fn is_of_hook(&self, message: &str) -> bool {
        let program = self.text("_COMM");
        let is_hook = program == CONDUCTOR || program.is_empty() && message.starts_with("error: ");
        self.text("SYSLOG_IDENTIFIER") == CONDUCTOR && is_hook
    }

    fn failed_command(&self) -> Option<FailedCommand> {
        let text = |field| self.text(field);
        let failed = FailedCommand { directive: text("COMMAND"), code: text("EXIT_CODE"), status: text("EXIT_STATUS") };
        (text("MESSAGE_ID") == PROCESS_EXIT && failed.status != "0").then_some(failed)
    }
}

impl StartLog {
    /// Returns the first command that failed.
    pub(crate) fn failed_command(&self) -> Option<FailedCommand> {
        self.of_manager.iter().find_map(Entry::failed_command)
    }

    /// Quotes the lines of the unit's processes, with a line above; nothing if there are none.
    pub(crate) fn quoted(&self, unit: &str) -> String {
        let quoted: String = self.lines.iter().map(|line| format!("\n  | {line}")).collect();
        if quoted.is_empty() { quoted } else { format!("the last log lines of {unit}:{quoted}\n") }
    }

    /// Returns whether the manager refused a message of a process that is not the main process, sd_notify(3).
    pub(crate) fn has_refused_notification(&self) -> bool {
        self.of_manager.iter().any(|entry| entry.text("MESSAGE").contains("reception only permitted"))
    }

    fn of(entries: Vec<Entry>, of_manager: Vec<Entry>, most: usize) -> Self {
        let text = |entry: Entry| {
            let text = entry.text("MESSAGE");
            (entry.is_of_hook(&text), text)
        };
        let entries = entries.into_iter().map(text).filter(|(_, text)| !is_podman_event(text));
        let (of_hooks, mut lines): (Vec<_>, Vec<_>) = entries.partition(|(is_own, _)| *is_own);
        lines.drain(..lines.len().saturating_sub(most));
        let texts = |entries: Vec<(bool, String)>| {
            entries.iter().flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        };
        Self { lines: texts(lines), of_hooks: texts(of_hooks), of_manager }
    }
}

impl Manager {
    /// Returns a command that runs journalctl(1), to be completed.
    pub(crate) fn journalctl(self) -> Command {
        let mut command = Command::new("journalctl");
        if self.scope() == Scope::User {
            command.arg("--user");
        }
        command
    }

    /// Returns a command that runs journalctl(1) for so many seconds at most, to be completed.
    fn journalctl_within(self, seconds: &str) -> Command {
        let journalctl = self.journalctl();
        let mut command = Command::new("timeout");
        command.arg(seconds).arg(journalctl.get_program()).args(journalctl.get_args());
        command
    }

    /// Has the journal write what it received a moment ago.
    pub(crate) fn sync_journal(self) {
        let _ = self.journalctl_within(SYNC_LIMIT).arg("--sync").output();
    }

    /// Returns the last lines that a unit and its hooks logged. A journal that is flooded is not waited for.
    pub(crate) fn journal(self, unit: &str, lines: u32) -> String {
        self.sync_journal();
        // podman's events would crowd out its messages.
        let count = (lines * 5).to_string();
        let arguments = ["--unit", unit, "--lines", &count, "--output", "cat", "--no-pager", "--quiet"];
        match self.journalctl_within(READ_LIMIT).args(arguments).output() {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let lines_of_unit: Vec<_> = text.lines().filter(|line| !is_podman_event(line)).collect();
                lines_of_unit[lines_of_unit.len().saturating_sub(lines as usize)..].join("\n")
            }
            Err(error) => format!("could not run journalctl: {error}"),
        }
    }

    /// Returns the log of one start of a unit, `InvocationID=` of systemd.exec(5), with the last lines of its processes.
    pub(crate) fn log_of_start(self, invocation: &str, lines: usize) -> StartLog {
        self.sync_journal();
        let of_unit = self.entries(&format!("_SYSTEMD_INVOCATION_ID={invocation}"), lines * 5);
        let field = if self.scope() == Scope::User { "USER_INVOCATION_ID" } else { "INVOCATION_ID" };
        StartLog::of(of_unit, self.entries(&format!("{field}={invocation}"), lines * 5), lines)
    }

    /// Returns the last entries that match.
    fn entries(self, matches: &str, count: usize) -> Vec<Entry> {
        let (count, fields) = (format!("--lines={count}"), format!("--output-fields={FIELDS}"));
        let arguments = ["--output=json", "--all", "--no-pager", "--quiet", &count, &fields, matches];
        let output = self.journalctl_within(READ_LIMIT).args(arguments).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().filter_map(Entry::parse).collect()
    }
}

/// Recognizes `2026-11-25 12:57:52.867619427 +0000 UTC m=+0.177659177 volume remove public`, podman-events(1).
fn is_podman_event(line: &str) -> bool {
    line.split(' ').nth(4).is_some_and(|word| word.starts_with("m=+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_sorted_by_who_wrote_it() {
        let entry = |json: &str| Entry::parse(json).expect("an object");
        let of_unit = vec![
            entry(r#"{"MESSAGE": "first", "SYSLOG_IDENTIFIER": "app"}"#),
            entry(r#"{"MESSAGE": [27, 91, 49, 109, 98], "SYSLOG_IDENTIFIER": "app"}"#),
            entry(r#"{"MESSAGE": "error: it is not healthy", "SYSLOG_IDENTIFIER": "conductor"}"#),
            entry(r#"{"MESSAGE": "2026-11-25 12:57:52.8 +0000 UTC m=+0.17 volume remove public"}"#),
            entry(r#"{"MESSAGE": null}"#),
        ];
        let of_manager = vec![
            entry(r#"{"MESSAGE": "Starting", "MESSAGE_ID": "7d4958e842da4a758f6c1cdc7b36dcc5"}"#),
            entry(&format!(
                r#"{{"MESSAGE_ID": "{PROCESS_EXIT}", "COMMAND": "ExecStartPre", "EXIT_CODE": "exited",
                    "EXIT_STATUS": "7"}}"#
            )),
        ];
        let log = StartLog::of(of_unit, of_manager, 2);
        assert_eq!(
            (log.lines, log.of_hooks),
            (vec!["\u{1b}[1mb".to_owned()], vec!["error: it is not healthy".to_owned()])
        );
        let failed = FailedCommand { directive: "ExecStartPre".into(), code: "exited".into(), status: "7".into() };
        let log = StartLog { of_manager: log.of_manager, ..StartLog::default() };
        assert_eq!((log.failed_command(), log.has_refused_notification()), (Some(failed), false));
    }
}
