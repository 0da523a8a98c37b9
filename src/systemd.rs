//! The only door to the manager: systemctl(1) and journalctl(1).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use crate::deployment::Deployment;
use crate::layout::Scope;
use crate::model::ServiceName;

/// The system's manager or the caller's own.
#[derive(Debug, Clone, Copy)]
pub struct Manager {
    scope: Scope,
}

/// A call that did not do what it was asked to.
#[derive(Debug)]
pub struct Error {
    pub call: String,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.call, self.message)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

/// What systemctl says when the manager executes itself anew (`systemctl daemon-reexec`, or its package is
/// upgraded): whom it was talking to is gone, and the answer with it. The manager goes on with what it was asked.
const GONE: [&str; 5] = [
    "Connection refused",
    "Connection reset by peer",
    "Transport endpoint is not connected",
    "disconnected from message bus",
    "Connection terminated",
];
/// A call is repeated so often, with this pause before. All of them may be: what is done already is not done again.
const REPEATS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// What systemd says of a unit's state, `ActiveState=`.
pub type State = String;

/// All services that systemd has in memory.
#[derive(Debug, Default)]
pub struct Listing {
    services: BTreeMap<String, State>,
    deployments: BTreeMap<ServiceName, Vec<(Deployment, State)>>,
}

impl Listing {
    /// The state of `NAME.service`: what is not in memory is inactive.
    pub fn state(&self, name: &ServiceName) -> &str {
        self.services.get(&format!("{name}.service")).map_or("inactive", String::as_str)
    }

    /// The deployments of a service, whatever their state.
    pub fn deployments(&self, name: &ServiceName) -> &[(Deployment, State)] {
        self.deployments.get(name).map_or(&[], Vec::as_slice)
    }

    /// From the lines of `systemctl list-units`: UNIT LOAD ACTIVE …
    fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(unit), Some(state)) = (words.next(), words.nth(1)) else { continue };
            match Deployment::from_unit(unit) {
                Some(one) => listing.deployments.entry(one.service.clone()).or_default().push((one, state.to_owned())),
                None => drop(listing.services.insert(unit.to_owned(), state.to_owned())),
            }
        }
        listing
    }
}

impl Manager {
    pub fn new(scope: Scope) -> Self {
        Self { scope }
    }

    pub fn scope(self) -> Scope {
        self.scope
    }

    fn command(self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        if self.scope == Scope::User {
            command.arg("--user");
        }
        command.args(arguments);
        command
    }

    fn call(self, program: &str, arguments: &[&str]) -> Result<Output> {
        let call = format!("{program} {}", arguments.join(" "));
        self.command(program, arguments)
            .output()
            .map_err(|error: io::Error| Error { call, message: format!("cannot be run: {error}") })
    }

    /// Runs systemctl; its words when it fails.
    fn systemctl(self, arguments: &[&str]) -> Result<String> {
        for _ in 0..REPEATS {
            match self.systemctl_once(arguments) {
                Err(error) if GONE.iter().any(|words| error.message.contains(words)) => thread::sleep(PAUSE),
                answer => return answer,
            }
        }
        self.systemctl_once(arguments)
    }

    fn systemctl_once(self, arguments: &[&str]) -> Result<String> {
        let output = self.call("systemctl", arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error { call: format!("systemctl {}", arguments.join(" ")), message })
    }

    fn on_units(self, verb: &[&str], units: &[String]) -> Result<()> {
        if units.is_empty() {
            return Ok(());
        }
        let arguments: Vec<_> = verb.iter().copied().chain(units.iter().map(String::as_str)).collect();
        self.systemctl(&arguments).map(drop)
    }

    /// Runs the generators and loads all units again.
    pub fn daemon_reload(self) -> Result<()> {
        self.systemctl(&["daemon-reload"]).map(drop)
    }

    /// Starts units and waits until they are up; an error if one of them is not.
    pub fn start(self, units: &[String]) -> Result<()> {
        self.on_units(&["start"], units)
    }

    /// Stops units and waits until they are gone.
    pub fn stop(self, units: &[String]) -> Result<()> {
        self.on_units(&["stop"], units)
    }

    /// Reloads units and waits; an error if one of them could not.
    pub fn reload(self, units: &[String]) -> Result<()> {
        self.on_units(&["reload"], units)
    }

    /// Starts a unit, or reloads it if it runs.
    pub fn reload_or_start(self, unit: &str) -> Result<()> {
        self.systemctl(&["reload-or-restart", unit]).map(drop)
    }

    /// Asks for a reload of what runs and does not wait: for units that are ordered before it.
    pub fn ask_reload(self, unit: &str) -> Result<()> {
        self.systemctl(&["--no-block", "try-reload-or-restart", unit]).map(drop)
    }

    /// Forgets that units failed; what never failed is no error.
    pub fn reset_failed(self, units: &[String]) {
        if !units.is_empty() {
            let _ = self.on_units(&["reset-failed"], units);
        }
    }

    /// Properties of a unit; a unit that is not loaded has them too.
    pub fn show(self, unit: &str, properties: &[&str]) -> Result<BTreeMap<String, String>> {
        let list = properties.join(",");
        let text = self.systemctl(&["show", "--property", &list, "--", unit])?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// One property of a unit.
    pub fn property(self, unit: &str, name: &str) -> Result<String> {
        Ok(self.show(unit, &[name])?.remove(name).unwrap_or_default())
    }

    /// Whether somebody asked for the unit to be stopped, and it is not yet.
    pub fn is_to_stop(self, unit: &str) -> bool {
        let jobs = self.systemctl(&["list-jobs", "--no-legend", "--plain", "--full", "--", unit]).unwrap_or_default();
        // JOB UNIT TYPE STATE
        jobs.lines().any(|job| job.split_whitespace().nth(2) == Some("stop"))
    }

    /// `ActiveState=` of several units, in their order.
    pub fn states(self, units: &[String]) -> Result<Vec<State>> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = vec!["show", "--property", "ActiveState", "--value", "--"];
        arguments.extend(units.iter().map(String::as_str));
        let text = self.systemctl(&arguments)?;
        Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// The deployments of a service that systemd has in memory, whatever their state.
    pub fn deployments(self, name: &ServiceName) -> Result<Vec<(Deployment, State)>> {
        let pattern = format!("{name}-*@*.service");
        Ok(self.list(&pattern)?.deployments.remove(name).unwrap_or_default())
    }

    /// Every service that systemd has in memory, in one answer.
    pub fn listing(self) -> Result<Listing> {
        self.list("*.service")
    }

    fn list(self, pattern: &str) -> Result<Listing> {
        let text = self.systemctl(&["list-units", "--all", "--plain", "--no-legend", "--full", "--", pattern])?;
        Ok(Listing::parse(&text))
    }

    /// The last lines that a unit and its hooks logged.
    pub fn journal(self, unit: &str, lines: u32) -> String {
        // What was written a moment ago may still be on its way to the journal.
        let _ = self.call("journalctl", &["--sync"]);
        let count = lines.to_string();
        match self.call("journalctl", &["--unit", unit, "--lines", &count, "--output", "cat", "--no-pager", "--quiet"])
        {
            Ok(output) => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// journalctl(1), to be completed and run.
    pub fn journalctl(self) -> Command {
        self.command("journalctl", &[])
    }

    /// The version of the running systemd.
    pub fn version(self) -> Option<u16> {
        let output = self.call("systemctl", &["--version"]).ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let digits = text.strip_prefix("systemd ")?;
        digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
    }
}
