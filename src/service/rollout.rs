//! One generation takes over from another, or the old one stays.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use sd_notify::NotifyState;

use crate::atomic;
use crate::compile::host::Compiled;
use crate::deployment::health::named;
use crate::deployment::state::{self, State};
use crate::deployment::{drain, slot};
use crate::engine::podman::image;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::live::Target;
use crate::log::note;
use crate::model::Strategy;
use crate::names::{Deployment, GenerationId};
use crate::proxy::publish;
use crate::service::plan::Plan;
use crate::service::ports;
use crate::systemd::{self, Manager};

/// Lines of a failed deployment's journal that the failure quotes.
const QUOTED_LINES: u32 = 10;

/// What carries a plan out.
pub struct Rollout<'a> {
    pub layout: &'a Layout,
    pub manager: Manager,
    pub compiled: &'a Compiled,
    /// Those that the service was declared with.
    pub variables: BTreeMap<String, String>,
    /// What the service was brought to before, for the way back.
    pub before: Option<Target>,
}

impl Rollout<'_> {
    fn target(&self) -> Target {
        let Compiled { service, digests, .. } = self.compiled;
        Target::new(service, digests, self.variables.clone())
    }

    /// What is being done just now, for `systemctl status` and whoever waits; sd_notify(3).
    fn say(&self, what: &str) {
        // Nobody listens in a test, or to a hook that somebody runs by hand.
        let _ = sd_notify::notify(&[NotifyState::Status(what)]);
    }

    fn say_starting(&self, deployments: &[Deployment]) {
        let Some(Deployment { generation, .. }) = deployments.first() else { return };
        let instances: Vec<_> = deployments.iter().map(|one| one.instance.to_string()).collect();
        let (instances, service) = (instances.join(", "), &self.compiled.service);
        let (of, check) = (service.concurrency, named(&service.health.check));
        self.say(&format!("starting {instances} of {of} of generation {generation} ({check})"));
    }

    fn strategy(&self) -> Strategy {
        self.compiled.service.deploy.strategy
    }

    /// Carries out a plan. Where that fails, the service is as it was before.
    ///
    /// # Errors
    /// Why it failed: the deployment, its check's last answer, its last log lines.
    pub fn run(&self, plan: &Plan) -> Result<()> {
        if !plan.start.is_empty() {
            // Without them nothing that runs is touched.
            let turns_back = self.strategy() != Strategy::Recreate;
            // Whoever starts the new ones first can do without an image that somebody has removed by force.
            let running = self.before.as_ref().filter(|_| turns_back).map(|before| &before.generation);
            image::provide(self.layout, self.compiled, running)?;
        }
        let outcome = match (self.strategy(), &self.before) {
            (Strategy::BlueGreen, Some(before)) if plan.rolls() => self.switch(plan, before),
            (Strategy::Recreate, _) if plan.rolls() => self.recreate(plan),
            _ => self.roll(plan),
        };
        if let Err(error) = outcome {
            return Err(self.turn_back(plan, error));
        }
        self.settle()?;
        let Compiled { service, id, .. } = self.compiled;
        ports::open(self.manager, service)?;
        self.say(&format!("generation {id} serves with {} deployments", service.concurrency));
        if plan.republishes() {
            publish::republish(self.manager)?;
            self.aim(&self.target())?;
        }
        Ok(())
    }

    /// The target of a plan that is being carried out. Its routes are not published before all else is done: interrupted
    /// or refused by the proxy, the next start or reload publishes them.
    fn target_of(&self, plan: &Plan) -> Target {
        let mut target = self.target();
        if plan.republishes() {
            target.digests.routes.clear();
        }
        target
    }

    /// Writes what the service is being brought to; its deployments read it.
    fn aim(&self, target: &Target) -> Result<()> {
        let path = self.layout.at(&self.layout.target(&self.compiled.service.name));
        Ok(atomic::write(&path, &serde_json::to_vec(target).map_err(io::Error::from)?)?)
    }

    fn settle(&self) -> Result<()> {
        Ok(slot::settle(self.layout, &self.compiled.service.name)?)
    }

    /// Blue-green: callers stay with the old generation until every new deployment is up; then all
    /// slots move, a rename each, and the old ones leave.
    fn switch(&self, plan: &Plan, before: &Target) -> Result<()> {
        self.aim(&Target { strategy: Strategy::BlueGreen, ..before.clone() })?;
        self.start(&plan.start)?;
        self.aim(&self.target_of(plan))?;
        self.settle()?;
        self.retire(&plan.stop)
    }

    /// The old ones are gone before the first new process starts. The target moves last: interrupted
    /// before, the next reload still knows the way back.
    fn recreate(&self, plan: &Plan) -> Result<()> {
        self.retire(&plan.stop)?;
        self.start(&plan.start)?;
        self.aim(&self.target_of(plan))
    }

    /// In batches: start new ones, which take the slots when they are healthy, then drain and stop as
    /// many old ones. While those leave, the next ones start already; like Kubernetes' maxSurge,
    /// max_surge does not count what is leaving, but only one batch leaves at a time.
    fn roll(&self, plan: &Plan) -> Result<()> {
        self.aim(&self.target_of(plan))?;
        let batch = self.compiled.service.deploy.max_surge as usize;
        // With nothing to replace there is no surge to limit.
        let batch = if plan.stop.is_empty() { plan.start.len().max(1) } else { batch };
        let mut old = plan.stop.clone();
        thread::scope(|scope| {
            let mut leaving = None;
            for fresh in plan.start.chunks(batch) {
                self.start(fresh)?;
                let replaced = |there: &Deployment| fresh.iter().any(|new| new.instance == there.instance);
                let (done, rest): (Vec<_>, Vec<_>) = old.into_iter().partition(replaced);
                old = rest;
                leaving.take().map_or(Ok(()), gone)?;
                leaving = Some(scope.spawn(move || self.retire(&done)));
            }
            if leaving.is_some() {
                self.say("waiting for the last request of the deployments that leave");
            }
            leaving.take().map_or(Ok(()), gone)?;
            // The slots of those that go belong to the others before they go.
            self.settle()?;
            self.retire(&old)
        })
    }

    /// Starts deployments and waits until they are healthy.
    fn start(&self, deployments: &[Deployment]) -> Result<()> {
        self.say_starting(deployments);
        for deployment in deployments {
            state::prepare(self.layout, deployment)?;
        }
        let mut units: Vec<_> = deployments.iter().map(Deployment::unit).collect();
        if self.compiled.service.listen.idle_timeout.is_some() {
            // Its bridge is what keeps a deployment up that rests otherwise.
            units.extend(deployments.iter().map(Deployment::bridge_unit));
        }
        match self.manager.start(&units) {
            Ok(()) => {
                deployments.iter().for_each(|deployment| self.call_once(deployment));
                Ok(())
            }
            Err(error) => Err(self.failure(deployments, &error)),
        }
    }

    /// Connects over a deployment's bridge: systemd-socket-proxyd(8) counts its idle time from the end of a connection.
    fn call_once(&self, deployment: &Deployment) {
        if self.compiled.service.listen.idle_timeout.is_some() {
            // Somebody who cannot connect is told so by the first that has something to say.
            drop(UnixStream::connect(self.layout.at(&deployment.socket(self.layout))));
        }
    }

    /// What systemd, the health check and the journal say of deployments that did not start.
    fn failure(&self, deployments: &[Deployment], error: &systemd::Error) -> Error {
        let units: Vec<_> = deployments.iter().map(Deployment::unit).collect();
        let states = self.manager.states(&units).unwrap_or_default();
        let failed = deployments.iter().zip(states).find(|(_, state)| state != "active").map(|(one, _)| one);
        let Some(failed) = failed else { return Error(error.to_string()) };
        let unit = failed.unit();
        let why = state::failure(self.layout, failed).unwrap_or_else(|| format!("{unit} did not start: {error}"));
        let journal = self.manager.journal(&unit, QUOTED_LINES);
        let quoted: String = journal.lines().map(|line| format!("\n  | {line}")).collect();
        Error(format!("{why}\nits last log lines:{quoted}"))
    }

    /// Stops deployments that have served. One that crashed and is being restarted has callers who wait
    /// in its socket; systemd would stop it without its ExecStop=, so that its draining is done here.
    fn retire(&self, deployments: &[Deployment]) -> Result<()> {
        self.drain(deployments, State::Starting);
        self.stop(deployments)
    }

    /// Drains those that are in a state in which systemd may stop them without their ExecStop=.
    fn drain(&self, deployments: &[Deployment], state: State) {
        let deadline = Instant::now() + self.compiled.service.deploy.drain_timeout;
        for deployment in deployments {
            let Some(runtime) = state::read(self.layout, deployment).filter(|runtime| runtime.state == state) else {
                continue;
            };
            let socket = self.layout.at(&deployment.socket(self.layout));
            if let Err(error) = drain::wait(&socket, runtime.network.as_deref(), deadline) {
                note!("{}: stopping although it is {state:?} and {error}", deployment.unit());
            }
        }
    }

    /// Stops deployments for good and waits until they have drained and are gone.
    fn stop(&self, deployments: &[Deployment]) -> Result<()> {
        stop(self.layout, self.manager, deployments)
    }

    /// Back to what was before: those of it that have stopped already start again and take their
    /// slots, then everything of the new generation goes; with the recreate strategy the other way round.
    fn turn_back(&self, plan: &Plan, error: Error) -> Error {
        let Some(before) = self.before.as_ref().filter(|before| before.generation != self.compiled.id) else {
            // There is nothing to go back to: what is healthy stays, what is not goes on trying.
            return error;
        };
        self.say(&format!("generation {} did not come up: back to {}", self.compiled.id, before.generation));
        match self.restore(plan, before) {
            Ok(()) if self.strategy() == Strategy::Recreate => {
                Error(format!("{error}\nthe generation {} serves again", before.generation))
            }
            Ok(()) => Error(format!("{error}\nthe generation {} goes on serving", before.generation)),
            Err(second) => Error(format!("{error}\nand the way back failed: {second}")),
        }
    }

    fn restore(&self, plan: &Plan, before: &Target) -> Result<()> {
        self.aim(before)?;
        let name = &self.compiled.service.name;
        let old: Vec<_> = (1..=before.concurrency).map(|i| Deployment::new(name, &before.generation, i)).collect();
        let fresh: Vec<_> = plan.start.iter().filter(|new| new.generation != before.generation).cloned().collect();
        if self.strategy() == Strategy::Recreate {
            self.stop(&fresh)?;
            return self.start(&old);
        }
        let restarted = self.start(&old);
        self.settle()?;
        // One that has just taken its slots is not active yet, and stopped like one that never served.
        self.drain(&fresh, State::Ready);
        self.stop(&fresh)?;
        restarted
    }
}

/// Stops deployments for good and forgets them.
///
/// # Errors
/// What systemd refuses.
pub fn stop(layout: &Layout, manager: Manager, deployments: &[Deployment]) -> Result<()> {
    if deployments.is_empty() {
        return Ok(());
    }
    let bridged: Vec<_> = deployments.iter().filter(|one| crate::deployment::is_bridged(layout, one)).collect();
    let sockets = bridged.iter().map(|one| one.inner_socket_unit());
    let units = deployments.iter().flat_map(|one| [one.unit(), one.socket_unit()]).chain(sockets);
    let stopped = manager.stop(&units.collect::<Vec<_>>());
    // What was in flight has drained over these.
    let bridges: Vec<_> = bridged.iter().map(|one| one.bridge_unit()).collect();
    let stopped = stopped.and(manager.stop(&bridges));
    for deployment in deployments {
        // One that was waiting for a restart ran no hook when it was stopped.
        slot::withdraw(layout, deployment)?;
        state::remove(layout, deployment)?;
    }
    Ok(stopped?)
}

/// Waits for deployments that are leaving.
fn gone(leaving: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    leaving.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Generations that still have a deployment.
pub fn in_use(deployments: &[Deployment]) -> Vec<GenerationId> {
    let mut ids: Vec<_> = deployments.iter().map(|deployment| deployment.generation.clone()).collect();
    ids.sort();
    ids.dedup();
    ids
}
