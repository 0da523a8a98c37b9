//! systemctl(1), for managers that are on no message bus: a user's, and the system's where dbus is not installed or
//! has left already, at shutdown. Only systemd's own programs can talk to a manager's private socket.

use std::collections::BTreeMap;
use std::process::Command;

use crate::layout::Scope;
use crate::systemd::job::Job;
use crate::systemd::{Failure, Listed, Result};

/// What systemctl says when the manager executes itself anew: whom it was talking to is gone, and the answer with it.
const GONE: [&str; 8] = [
    "Connection refused",
    "Connection reset by peer",
    "Transport endpoint is not connected",
    "disconnected from message bus",
    "Connection terminated",
    "Broken pipe",
    "Failed to connect to bus: No such file or directory",
    "via local transport: No such file or directory",
];

const NO_SUCH_UNIT: [&str; 2] = [" not found.", " not loaded."];

#[derive(Debug, Clone, Copy)]
pub struct Systemctl(pub Scope);

impl Systemctl {
    fn call(self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("systemctl");
        if self.0 == Scope::User {
            command.arg("--user");
        }
        let output = command
            .args(arguments)
            .output()
            .map_err(|error| Failure::Refused(format!("systemctl cannot be run: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = |some: &[&str]| some.iter().any(|said| words.contains(said));
        Err(match () {
            () if said(&GONE) => Failure::Gone(words),
            () if said(&NO_SUCH_UNIT) => Failure::NoSuchUnit(words),
            () => Failure::Refused(words),
        })
    }

    pub fn reload(self) -> Result<()> {
        self.call(&["daemon-reload"]).map(drop)
    }

    pub fn reset_failed(self, unit: &str) -> Result<()> {
        self.call(&["reset-failed", "--", unit]).map(drop)
    }

    /// Has jobs done and waits until they are; why one was not.
    pub fn run(self, job: Job, units: &[String]) -> Result<Vec<String>> {
        let arguments: Vec<_> = [job.verb(), "--"].into_iter().chain(units.iter().map(String::as_str)).collect();
        match self.call(&arguments) {
            Ok(_) => Ok(Vec::new()),
            // What is not there has stopped.
            Err(Failure::NoSuchUnit(_)) if job == Job::Stop => Ok(Vec::new()),
            Err(Failure::Refused(words) | Failure::NoSuchUnit(words)) => Ok(vec![words]),
            Err(gone @ Failure::Gone(_)) => Err(gone),
        }
    }

    pub fn enqueue(self, job: Job, unit: &str) -> Result<()> {
        self.call(&["--no-block", job.verb(), "--", unit]).map(drop)
    }

    pub fn show(self, unit: &str, properties: &[&str]) -> Result<BTreeMap<String, String>> {
        let text = self.call(&["show", "--property", &properties.join(","), "--", unit])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    pub fn is_to_stop(self, unit: &str) -> Result<bool> {
        let jobs = self.call(&["list-jobs", "--no-legend", "--plain", "--full", "--", unit])?;
        // JOB UNIT TYPE STATE
        Ok(jobs.lines().any(|job| job.split_whitespace().nth(2) == Some("stop")))
    }

    pub fn list_named(self, units: &[String]) -> Result<Vec<Listed>> {
        let arguments = ["show", "--property", "ActiveState", "--value", "--"];
        let arguments: Vec<_> = arguments.into_iter().chain(units.iter().map(String::as_str)).collect();
        let text = if units.is_empty() { String::new() } else { self.call(&arguments)? };
        let states = text.lines().filter(|line| !line.is_empty());
        Ok(units.iter().zip(states).map(|(unit, state)| Listed { unit: unit.clone(), state: state.into() }).collect())
    }

    pub fn list(self, patterns: &[&str]) -> Result<Vec<Listed>> {
        let arguments = ["list-units", "--all", "--plain", "--no-legend", "--full", "--"];
        let text = self.call(&[&arguments[..], patterns].concat())?;
        // UNIT LOAD ACTIVE …
        let listed = |line: &str| {
            let mut words = line.split_whitespace();
            Some(Listed { unit: words.next()?.to_owned(), state: words.nth(1)?.to_owned() })
        };
        Ok(text.lines().filter_map(listed).collect())
    }
}
