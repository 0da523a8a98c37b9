//! systemctl(1), for managers that are on no message bus: a user's, and the system's where dbus is not installed or has
//! left already, at shutdown. systemctl talks to a manager's private socket; zbus cannot, since the manager signs its
//! messages there with a name that D-Bus does not allow for a sender.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use crate::layout::Scope;
use crate::systemd::failure::{Failure, Result};
use crate::systemd::job::Job;
use crate::systemd::unit::Listed;

/// The exit code for a unit that there is not: systemctl(1) translates `org.freedesktop.systemd1.NoSuchUnit` into it.
const NO_SUCH_UNIT: i32 = 5;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Systemctl(pub(crate) Scope);

impl Systemctl {
    fn call(self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("systemctl");
        if self.0 == Scope::User {
            command.arg("--user");
        }
        let before = self.manager();
        let output = command
            .args(arguments)
            // For timestamps that need no time zone to be read.
            .env("TZ", "UTC")
            .output()
            .map_err(|error| Failure::Refused(format!("systemctl cannot be run: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(match output.status.code() {
            Some(NO_SUCH_UNIT) => Failure::NoSuchUnit(text),
            _ if before.is_none() || self.manager() != before => Failure::Gone(text),
            _ => Failure::Refused(text),
        })
    }

    /// The manager's private socket, by the number of its inode; None while no manager listens there.
    ///
    /// A manager that executes itself anew closes all connections and binds the socket anew. systemctl reports the
    /// lost connection only as text; a new inode is reliable.
    fn manager(self) -> Option<u64> {
        let path = match self.0 {
            Scope::System => PathBuf::from("/run/systemd/private"),
            Scope::User => PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("systemd/private"),
        };
        let inode = path.metadata().ok()?.ino();
        match UnixStream::connect(path).map_err(|error| error.kind()) {
            Err(ErrorKind::ConnectionRefused | ErrorKind::NotFound) => None,
            // Users may not connect to the system's manager, which is there all the same.
            Ok(_) | Err(_) => Some(inode),
        }
    }

    pub(crate) fn reload(self) -> Result<()> {
        self.call(&["daemon-reload"]).map(drop)
    }

    pub(crate) fn reset_failed(self, unit: &str) -> Result<()> {
        self.call(&["reset-failed", "--", unit]).map(drop)
    }

    /// Kills all processes of a unit by SIGKILL.
    pub(crate) fn kill(self, unit: &str) -> Result<()> {
        self.call(&["kill", "--signal=KILL", "--", unit]).map(drop)
    }

    /// Sends a signal to the main process of a unit.
    pub(crate) fn signal_main(self, unit: &str, signal: &str) -> Result<()> {
        self.call(&["kill", "--kill-whom=main", &format!("--signal={signal}"), "--", unit]).map(drop)
    }

    /// Removes the `RuntimeDirectory=` of a unit that has stopped.
    pub(crate) fn clean_runtime(self, unit: &str) -> Result<()> {
        self.call(&["clean", "--what=runtime", "--", unit]).map(drop)
    }

    /// Has jobs done and waits until they are; why one was not.
    pub(crate) fn run(self, job: Job, units: &[String]) -> Result<Vec<String>> {
        let arguments: Vec<_> = [job.verb(), "--"].into_iter().chain(units.iter().map(String::as_str)).collect();
        match self.call(&arguments) {
            Ok(_) => Ok(Vec::new()),
            // What is not there has stopped. The exit code is that of one unit: the others are asked for again.
            Err(Failure::NoSuchUnit(_)) if job == Job::Stop => match units {
                [] | [_] => Ok(Vec::new()),
                several => {
                    let failed = several.iter().map(|unit| self.run(job, std::slice::from_ref(unit)));
                    Ok(failed.collect::<Result<Vec<_>>>()?.concat())
                }
            },
            Err(Failure::Refused(text) | Failure::NoSuchUnit(text)) => Ok(vec![text]),
            Err(gone @ Failure::Gone(_)) => Err(gone),
        }
    }

    pub(crate) fn enqueue(self, job: Job, unit: &str) -> Result<()> {
        let mode = format!("--job-mode={}", job.mode());
        self.call(&["--no-block", &mode, job.verb(), "--", unit]).map(drop)
    }

    pub(crate) fn show(self, unit: &str, properties: &[&str]) -> Result<BTreeMap<String, String>> {
        let mut shown = self.show_each(&[unit.to_owned()], properties)?;
        Ok(shown.pop().unwrap_or_default())
    }

    pub(crate) fn show_each(self, units: &[String], properties: &[&str]) -> Result<Vec<BTreeMap<String, String>>> {
        if units.is_empty() {
            return Ok(Vec::new()); // without a unit systemctl shows the manager
        }
        let properties = properties.join(",");
        let arguments = ["show", "--property", &properties, "--"].into_iter();
        let text = self.call(&arguments.chain(units.iter().map(String::as_str)).collect::<Vec<_>>())?;
        let pairs = |block: &str| {
            let pairs = block.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        // An empty line comes between units.
        Ok(text.split("\n\n").map(pairs).collect())
    }

    pub(crate) fn is_to_stop(self, unit: &str) -> Result<bool> {
        let jobs = self.call(&["list-jobs", "--no-legend", "--plain", "--full", "--", unit])?;
        // JOB UNIT TYPE STATE
        Ok(jobs.lines().any(|job| job.split_whitespace().nth(2) == Some("stop")))
    }

    pub(crate) fn list_named(self, units: &[String]) -> Result<Vec<Listed>> {
        let arguments = ["show", "--property", "ActiveState", "--value", "--"];
        let arguments: Vec<_> = arguments.into_iter().chain(units.iter().map(String::as_str)).collect();
        let text = if units.is_empty() { String::new() } else { self.call(&arguments)? };
        let states = text.lines().filter(|line| !line.is_empty());
        Ok(units.iter().zip(states).map(|(unit, state)| Listed { unit: unit.clone(), state: state.into() }).collect())
    }

    pub(crate) fn list(self, patterns: &[&str]) -> Result<Vec<Listed>> {
        let arguments = ["list-units", "--all", "--plain", "--no-legend", "--full", "--"];
        let text = self.call(&[&arguments[..], patterns].concat())?;
        // UNIT LOAD ACTIVE …
        let listed = |line: &str| {
            let mut words = line.split_whitespace();
            Some(Listed { unit: words.next()?.to_owned(), state: words.nth(1)?.to_owned() })
        };
        Ok(text.lines().filter_map(listed).collect())
    }

    /// Lists the addresses of socket units, with the units.
    pub(crate) fn list_sockets(self) -> Result<Vec<[String; 3]>> {
        let text = self.call(&["list-sockets", "--no-legend", "--plain", "--full", "--show-types"])?;
        // LISTEN TYPE UNIT ACTIVATES
        let listed = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some([words.next()?, words.next()?, words.next()?])
        };
        Ok(text.lines().filter_map(listed).collect())
    }
}
