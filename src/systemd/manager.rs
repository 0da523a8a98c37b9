//! The manager and its journal: all that conductor asks of systemd.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::layout::Scope;
use crate::names::ServiceName;
use crate::systemd::bus::{self, Bus};
use crate::systemd::failure::{Error, Failure, Result};
use crate::systemd::job::Job;
use crate::systemd::systemctl::Systemctl;
use crate::systemd::unit::{Listing, State, is_up};

/// The system's manager or the caller's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manager {
    scope: Scope,
}

/// How often a call is repeated when the manager executes itself anew (`systemctl daemon-reexec`, or an upgrade of its
/// package) and leaves it without an answer, and the pause before. Every call may be repeated: systemd does nothing
/// twice.
const REPEATS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Patterns of more services than that cost the manager more than an answer with all units.
const FEW: usize = 8;

impl Manager {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope }
    }

    pub(crate) fn scope(self) -> Scope {
        self.scope
    }

    /// Asks on the message bus, and through systemctl(1) where there is none or the manager has left it.
    fn ask<T>(
        self,
        call: &str,
        bus: impl AsyncFn(&Bus) -> Result<T>,
        systemctl: impl Fn(Systemctl) -> Result<T>,
    ) -> Result<T, Error> {
        let on_bus = (self.scope == Scope::System).then(|| bus::ask(&bus)).flatten();
        let mut repeats = 0..REPEATS;
        let mut answer = on_bus.unwrap_or_else(|| systemctl(Systemctl(self.scope)));
        while matches!(answer, Err(Failure::Gone(_))) && is_booted() && repeats.next().is_some() {
            thread::sleep(PAUSE);
            answer = systemctl(Systemctl(self.scope));
        }
        answer.map_err(|failure| Error(format!("{call}: {}", failure.into_text())))
    }

    /// Runs jobs and waits for them.
    fn run(self, job: Job, units: &[String]) -> Result<(), Error> {
        if units.is_empty() {
            return Ok(());
        }
        let call = job.verb();
        let failed = self.ask(call, async |bus| bus.run(job, units).await, |systemctl| systemctl.run(job, units))?;
        if failed.is_empty() { Ok(()) } else { Err(Error(failed.join("\n"))) }
    }

    /// Runs the generators and loads all units again.
    pub(crate) fn daemon_reload(self) -> Result<(), Error> {
        self.ask("daemon-reload", async |bus| bus.reload().await, Systemctl::reload)
    }

    /// Starts units and waits until they are active; an error if one of them is not.
    pub(crate) fn start(self, units: &[String]) -> Result<(), Error> {
        self.run(Job::Start, units)
    }

    /// Starts units and waits until they are active, or until the first of them fails; an error then. Through systemctl(1)
    /// all of them are waited for.
    pub(crate) fn start_together(self, units: &[String]) -> Result<(), Error> {
        self.run(Job::StartTogether, units)
    }

    /// Stops units and waits until they are inactive.
    pub(crate) fn stop(self, units: &[String]) -> Result<(), Error> {
        self.run(Job::Stop, units)
    }

    /// Reloads units and waits; an error if one of them could not.
    pub(crate) fn reload(self, units: &[String]) -> Result<(), Error> {
        self.run(Job::Reload, units)
    }

    /// Starts a unit, or reloads it if it runs.
    pub(crate) fn reload_or_start(self, unit: &str) -> Result<(), Error> {
        self.run(Job::ReloadOrRestart, &[unit.to_owned()])
    }

    /// Restarts a unit that runs, and waits.
    pub(crate) fn try_restart(self, unit: &str) -> Result<(), Error> {
        self.run(Job::TryReloadOrRestart, &[unit.to_owned()])
    }

    /// Asks for a reload of a unit that runs and does not wait: for units that are ordered before it.
    pub(crate) fn ask_reload(self, unit: &str) -> Result<(), Error> {
        let job = Job::TryReloadOrRestart;
        let call = format!("{} {unit}", job.verb());
        // A unit that does not exist has nothing to reload.
        let if_there = |outcome| if matches!(outcome, Err(Failure::NoSuchUnit(_))) { Ok(()) } else { outcome };
        self.ask(&call, async |bus| if_there(bus.enqueue(job, unit).await), |one| if_there(one.enqueue(job, unit)))
    }

    /// Asks for a unit to be stopped and does not wait; a unit that does not exist has stopped.
    pub(crate) fn ask_stop(self, unit: &str) {
        let job = Job::Stop;
        drop(self.ask(job.verb(), async |bus| bus.enqueue(job, unit).await, |one| one.enqueue(job, unit)));
    }

    /// Asks for a unit to be started at once, whatever it is ordered after, and does not wait.
    pub(crate) fn ask_start_now(self, unit: &str) -> Result<(), Error> {
        let job = Job::StartNow;
        let call = format!("{} {unit}", job.verb());
        self.ask(&call, async |bus| bus.enqueue(job, unit).await, |one| one.enqueue(job, unit))
    }

    /// Asks for a restart of a unit that runs and does not wait.
    pub(crate) fn ask_restart(self, unit: &str) -> Result<(), Error> {
        let job = Job::TryRestart;
        let call = format!("{} {unit}", job.verb());
        self.ask(&call, async |bus| bus.enqueue(job, unit).await, |one| one.enqueue(job, unit))
    }

    /// Kills all processes of a unit by SIGKILL.
    pub(crate) fn kill(self, unit: &str) -> Result<(), Error> {
        self.ask("kill", async |bus| bus.kill(unit).await, |systemctl| systemctl.kill(unit))
    }

    /// Resets the failed state of units; a unit that never failed is no error.
    pub(crate) fn reset_failed(self, units: &[String]) {
        for unit in units {
            let forgotten =
                self.ask("reset-failed", async |bus| bus.reset_failed(unit).await, |one| one.reset_failed(unit));
            drop(forgotten);
        }
    }

    /// Sends a signal to the main process of a unit, by a name that `KillSignal=` takes.
    pub(crate) fn signal_main(self, unit: &str, signal: &str) -> Result<(), Error> {
        let signalled = Systemctl(self.scope).signal_main(unit, signal);
        signalled.map_err(|failure| Error(format!("kill: {}", failure.into_text())))
    }

    /// Removes the `RuntimeDirectory=` of a unit that has stopped.
    pub(crate) fn clean_runtime(self, unit: &str) -> Result<(), Error> {
        self.ask("clean", async |bus| bus.clean_runtime(unit).await, |systemctl| systemctl.clean_runtime(unit))
    }

    /// Returns properties of a unit; a unit that is not loaded has them, too.
    pub(crate) fn show(self, unit: &str, properties: &[&str]) -> Result<BTreeMap<String, String>, Error> {
        let call = format!("show {unit}");
        self.ask(&call, async |bus| bus.show(unit, properties).await, |systemctl| systemctl.show(unit, properties))
    }

    /// Returns properties of several units, in their order.
    pub(crate) fn show_each(
        self,
        units: &[String],
        properties: &[&str],
    ) -> Result<Vec<BTreeMap<String, String>>, Error> {
        let on_bus = async |bus: &Bus| bus.show_each(units, properties).await;
        self.ask("show", on_bus, |systemctl| systemctl.show_each(units, properties))
    }

    /// Returns one property of a unit.
    pub(crate) fn property(self, unit: &str, name: &str) -> Result<String, Error> {
        Ok(self.show(unit, &[name])?.remove(name).unwrap_or_default())
    }

    /// Returns whether a job to stop the unit is pending.
    pub(crate) fn is_to_stop(self, unit: &str) -> bool {
        let stops = self.ask("list-jobs", async |bus| bus.is_to_stop(unit).await, |one| one.is_to_stop(unit));
        stops.unwrap_or(false)
    }

    /// Returns `ActiveState=` of several units, in their order.
    pub(crate) fn states(self, units: &[String]) -> Result<Vec<State>, Error> {
        let listed = self.ask("list-units", async |bus| bus.list_named(units).await, |one| one.list_named(units))?;
        Ok(listed.into_iter().map(|one| one.state).collect())
    }

    /// Lists the deployments of services that systemd has in memory, whatever their state.
    pub(crate) fn deployments_of(self, names: &[ServiceName]) -> Result<Listing, Error> {
        if names.len() > FEW {
            return self.list(&["*@*.service"]);
        }
        let patterns: Vec<_> = names.iter().map(|name| format!("{name}-*@*.service")).collect();
        self.list(&patterns.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Lists the deployments, ports and jobs of a service that systemd has in memory, in one answer.
    pub(crate) fn listing_of(self, name: &ServiceName) -> Result<Listing, Error> {
        let [relayed, passed] = name.port_patterns().map(|pattern| format!("{pattern}.socket"));
        let timers = [name.job_pattern(), name.canary_pattern()].map(|pattern| format!("{pattern}.timer"));
        self.list(&[&format!("{name}-*@*.service"), &relayed, &passed, &timers[0], &timers[1]])
    }

    /// Lists every service that systemd has in memory, in one answer.
    pub(crate) fn listing(self) -> Result<Listing, Error> {
        self.list(&["*.service"])
    }

    /// Lists the units that match and are neither inactive nor failed.
    pub(crate) fn active(self, pattern: &str) -> Result<Vec<String>, Error> {
        let patterns = [pattern];
        let listed = self.ask("list-units", async |bus| bus.list(&patterns).await, |one| one.list(&patterns))?;
        Ok(listed.into_iter().filter(|one| is_up(&one.state)).map(|one| one.unit).collect())
    }

    /// Finds the socket unit that listens at an address that matches; the other argument is `Stream` or `Datagram`.
    pub(crate) fn socket_at(self, matches: impl Fn(&str, &str) -> bool) -> Option<String> {
        let sockets = Systemctl(self.scope).list_sockets().ok()?;
        sockets.into_iter().find(|[address, kind, _]| matches(address, kind)).map(|[_, _, unit]| unit)
    }

    fn list(self, patterns: &[&str]) -> Result<Listing, Error> {
        let listed = self.ask("list-units", async |bus| bus.list(patterns).await, |one| one.list(patterns))?;
        Ok(Listing::of(listed))
    }
}

/// Returns whether systemd runs this machine, sd_booted(3).
fn is_booted() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}
