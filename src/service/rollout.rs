//! Rollouts: one generation takes over from another, or the old one keeps serving.

pub(crate) mod canary;

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant, SystemTime};

use sd_notify::NotifyState;

use crate::compile::host::Compiled;
use crate::deployment;
use crate::deployment::drain::{self, Limits};
use crate::deployment::health::named;
use crate::deployment::state::{self, State};
use crate::deployment::{queue, slot};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::live::Target;
use crate::log::note;
use crate::model::{Deploy, Live, Service, Strategy};
use crate::names::{Deployment, GenerationId};
use crate::proxy::publish;
use crate::service::canary::write;
use crate::service::cause::FailedStart;
use crate::service::event::Event;
use crate::service::images;
use crate::service::job;
use crate::service::machine::Machine;
use crate::service::plan::Plan;
use crate::service::ports;
use crate::service::public;
use crate::systemd::{self, Manager};

/// Starts of deployments whose ports somebody else takes.
const PORT_ATTEMPTS: u32 = 5;

/// A rollout to a compiled service.
pub(crate) struct Rollout<'a> {
    pub(crate) machine: Machine<'a>,
    pub(crate) compiled: &'a Compiled,
    /// The variables that the service was declared with.
    pub(crate) variables: BTreeMap<String, String>,
    /// What served before, to roll back to.
    pub(crate) before: Option<Target>,
    /// The sockets of its ports that were open before.
    pub(crate) open_ports: Vec<String>,
    /// The units of its jobs that were in memory before.
    pub(crate) jobs: Vec<String>,
    /// The units of its canaries that were in memory before.
    pub(crate) canaries: Vec<String>,
    /// When the last old deployment left the slots and no new one was there.
    pub(crate) gap_began: OnceLock<SystemTime>,
}

impl Rollout<'_> {
    fn target(&self) -> Target {
        let Compiled { service, digests, .. } = self.compiled;
        Target::new(service, digests, self.variables.clone())
    }

    /// Sets the unit's status text, for `systemctl status` and for commands that wait; sd_notify(3).
    fn show_status(text: &str) {
        // systemd does not listen to a hook in a test or one that somebody runs by hand.
        let _ = sd_notify::notify(&[NotifyState::Status(text)]);
    }

    fn show_starting(&self, deployments: &[Deployment]) {
        let Some(Deployment { generation, .. }) = deployments.first() else { return };
        let instances: Vec<_> = deployments.iter().map(|one| one.instance.to_string()).collect();
        let (instances, service) = (instances.join(", "), &self.compiled.service);
        let (all, check) = (service.concurrency, named(&service.health.check));
        Self::show_status(&format!("starting {instances} of {all} of generation {generation} ({check})"));
    }

    fn strategy(&self) -> Strategy {
        self.compiled.service.deploy.strategy
    }

    /// Carries out a plan. If that fails, what served before serves again.
    ///
    /// # Errors
    /// Why it failed: the deployment, its check's last answer, its last log lines.
    pub(crate) fn run(&self, plan: &Plan) -> Result<()> {
        if plan.starts(&self.compiled.id) {
            // Images are pulled first: without them nothing that runs is changed. A strategy that keeps the old
            // deployments until the new ones serve does not need an old image that somebody has removed by force.
            let keeps_old = self.strategy() != Strategy::Recreate;
            let running = self.before.as_ref().filter(|_| keeps_old).map(|before| &before.generation);
            images::provide(self.machine.layout, &self.compiled.service, &self.compiled.id, running)?;
        }
        ports::open_passed(self.machine.manager, &self.compiled.service)?;
        let outcome = match (&plan.canary, self.strategy(), &self.before) {
            (Some(course), _, Some(before)) => return self.run_canary(plan, course, before),
            (_, Strategy::BlueGreen, Some(before)) if plan.rolls() => self.switch(plan, before),
            (_, Strategy::Recreate, _) if plan.rolls() => self.recreate(plan),
            _ if self.compiled.service.process.is_none() => self.leave_to_proxy(plan),
            _ => self.roll(plan),
        };
        if let Err(error) = outcome {
            return Err(self.roll_back(plan, error));
        }
        let service = &self.compiled.service;
        let (id, count) = (&self.compiled.id, service.concurrency);
        self.open(service, id, &self.open_ports, &self.jobs)?;
        Self::show_status(&match count {
            0 => format!("the proxy serves generation {id}"),
            _ => format!("generation {id} serves with {count} deployments"),
        });
        if plan.republishes() {
            publish::republish(self.machine.manager)?;
            self.write_target(&self.target())?;
        }
        self.arm(None)
    }

    /// Lets callers in to a generation that serves, and starts its timers; closes those of the ports and ends those of the jobs
    /// that it does not have.
    fn open(&self, service: &Service, id: &GenerationId, ports: &[String], jobs: &[String]) -> Result<()> {
        self.settle_slots()?;
        queue::close(self.machine.layout, self.machine.manager, &service.name)?;
        ports::open(self.machine.manager, service, ports)?;
        self.machine.manager.start(&Vec::from_iter(service.health.live.as_ref().and_then(Live::timer)))?;
        // The service serves without its jobs, too: `conductor status` names those that have no timer.
        if let Err(error) = job::schedule(self.machine.manager, service, jobs) {
            note!("{error}");
        }
        Ok(public::provide(self.machine.layout, service, id)?)
    }

    /// Returns the target of a plan that is being carried out. Its routes are published last: if the rollout is
    /// interrupted or the proxy refuses them, the next start or reload publishes them.
    fn target_of(&self, plan: &Plan) -> Target {
        let mut target = self.target();
        if plan.republishes() {
            target.digests.routes.clear();
        }
        target
    }

    /// Writes the target of the service, which its deployments read.
    fn write_target(&self, target: &Target) -> Result<()> {
        Ok(write(self.machine.layout, &self.compiled.service.name, target)?)
    }

    fn settle_slots(&self) -> Result<()> {
        Ok(slot::settle(self.machine.layout, &self.compiled.service.name)?)
    }

    /// Blue-green: callers stay with the old generation until every new deployment is up; then all slots move, one
    /// rename each, and the old deployments are drained.
    fn switch(&self, plan: &Plan, before: &Target) -> Result<()> {
        self.write_target(&Target { strategy: Strategy::BlueGreen, ..before.clone() })?;
        self.start(&plan.start)?;
        self.write_target(&self.target_of(plan))?;
        self.settle_slots()?;
        self.retire(&plan.stop)
    }

    /// Without a program: the proxy answers all requests itself before the deployments of an earlier generation stop.
    fn leave_to_proxy(&self, plan: &Plan) -> Result<()> {
        self.write_target(&self.target_of(plan))?;
        public::provide(self.machine.layout, &self.compiled.service, &self.compiled.id)?;
        if plan.republishes() && !plan.stop.is_empty() {
            publish::republish(self.machine.manager)?;
        }
        self.settle_slots()?;
        self.retire(&plan.stop)
    }

    /// Recreate: the old deployments are gone before the first new process starts, and callers wait meanwhile. The target is
    /// written last: after an interruption the next reload can still roll back.
    fn recreate(&self, plan: &Plan) -> Result<()> {
        let Machine { layout, manager, .. } = self.machine;
        let name = &self.compiled.service.name;
        // systemd stops those at rest, and those that have crashed, without their ExecStop=.
        for resting in plan.stop.iter().filter(|one| state::is_resting(layout, one)) {
            state::set_state(layout, resting, State::Leaving)?;
        }
        // Several would pass their callers on to each other while they stop.
        slot::enqueue(layout, manager, name, plan.stop.len() > 1)?;
        self.retire(&plan.stop)?;
        slot::enqueue(layout, manager, name, true)?;
        slot::led_at(layout, name).map(|since| self.gap_began.set(since));
        self.start(&plan.start)?;
        self.write_target(&self.target_of(plan))
    }

    /// Returns how long no deployment served, once the rollout has ended.
    pub(crate) fn gap(&self) -> Option<Duration> {
        let ended = slot::led_at(self.machine.layout, &self.compiled.service.name)?;
        // It has not ended if the slots lead there still.
        ended.duration_since(*self.gap_began.get()?).ok().filter(|gap| !gap.is_zero())
    }

    /// Rolling, in batches: starts new deployments, which take the slots when they are healthy, then drains and stops
    /// as many old ones while the next new ones start. Like Kubernetes' maxSurge, max_surge does not count deployments
    /// that are draining, but only one batch drains at a time.
    fn roll(&self, plan: &Plan) -> Result<()> {
        self.write_target(&self.target_of(plan))?;
        let batch = self.compiled.service.deploy.max_surge as usize;
        // With nothing to replace there is no surge to limit.
        let batch = if plan.stop.is_empty() { plan.start.len().max(1) } else { batch };
        let mut old = plan.stop.clone();
        thread::scope(|scope| {
            let mut draining = None;
            for fresh in plan.start.chunks(batch) {
                self.start(fresh)?;
                let replaced = |there: &Deployment| fresh.iter().any(|new| new.instance == there.instance);
                let (done, rest): (Vec<_>, Vec<_>) = old.into_iter().partition(replaced);
                old = rest;
                draining.take().map_or(Ok(()), join)?;
                draining = Some(scope.spawn(move || self.retire(&done)));
            }
            if draining.is_some() {
                Self::show_status("draining old deployments");
            }
            draining.take().map_or(Ok(()), join)?;
            // Other deployments take over the slots of surplus ones before those stop.
            self.settle_slots()?;
            self.retire(&old)
        })
    }

    /// Starts deployments and waits until they are healthy. That somebody else has their ports is no fault of theirs: they
    /// start again, with other ports.
    fn start(&self, deployments: &[Deployment]) -> Result<()> {
        self.show_starting(deployments);
        if self.compiled.systemd.has_start_limit() {
            // systemd would refuse one that has crashed too often.
            self.machine.manager.reset_failed(&deployments.iter().map(Deployment::unit).collect::<Vec<_>>());
        }
        for attempt in 1.. {
            for deployment in deployments {
                state::prepare(self.machine.layout, deployment)?;
                state::forget_failure(self.machine.layout, deployment)?;
            }
            let started = self.machine.manager.start_together(&self.units(deployments));
            let Err(error) = started.and_then(|()| self.must_have_started(deployments)) else { break };
            if attempt == PORT_ATTEMPTS || !self.lost_ports(deployments) {
                return Err(self.failure(deployments, &error, attempt));
            }
        }
        deployments.iter().for_each(|deployment| self.connect_once(deployment));
        Ok(())
    }

    /// Checks that the hook of each start has run. For a process that ends well at once systemd 252 may skip it, and calls
    /// the start done.
    fn must_have_started(&self, deployments: &[Deployment]) -> Result<(), systemd::Error> {
        match deployments.iter().find(|one| state::read(self.machine.layout, one).is_none()) {
            Some(skipped) => {
                Err(systemd::Error(format!("{} did not start: its process ended at once", skipped.unit())))
            }
            None => Ok(()),
        }
    }

    /// Returns the units that deployments need.
    fn units(&self, deployments: &[Deployment]) -> Vec<String> {
        let mut units: Vec<_> = deployments.iter().map(Deployment::unit).collect();
        if self.compiled.service.listen.idle_timeout.is_some() {
            // Its bridge keeps a deployment up that would stop when it is idle.
            units.extend(deployments.iter().map(|deployment| deployment.bridge_unit(None)));
        }
        units
    }

    /// Returns whether all deployments that failed did so because somebody else had their ports. Others may still be
    /// starting, and systemd may have restarted one meanwhile.
    fn lost_ports(&self, deployments: &[Deployment]) -> bool {
        let Machine { layout, manager, .. } = self.machine;
        let units: Vec<_> = deployments.iter().map(Deployment::unit).collect();
        let Ok(states) = manager.states(&units) else { return false };
        let may_start = |one: &Deployment, state: &str| match state::failure(layout, one) {
            Some(failure) => failure.lost_port(),
            None => matches!(state, "active" | "activating"),
        };
        self.compiled.service.binds_port()
            && deployments.iter().zip(states).all(|(one, state)| state == "active" || may_start(one, &state))
    }

    /// Connects once over a deployment's bridge: systemd-socket-proxyd(8) counts idle time from the end of a
    /// connection.
    fn connect_once(&self, deployment: &Deployment) {
        if self.compiled.service.listen.idle_timeout.is_some() {
            // An error shows at the first request.
            drop(UnixStream::connect(self.machine.layout.at(&deployment.socket(self.machine.layout, None))));
        }
    }

    /// Collects the reports of systemd, the health check and the journal about deployments that did not start.
    fn failure(&self, deployments: &[Deployment], error: &systemd::Error, attempts: u32) -> Error {
        let units: Vec<_> = deployments.iter().map(Deployment::unit).collect();
        let states = self.machine.manager.states(&units).unwrap_or_default();
        let not_active = deployments.iter().zip(states).filter(|(_, state)| state != "active");
        let mut not_active = not_active.map(|(one, _)| one).collect::<Vec<_>>();
        // Others may still be starting.
        not_active.sort_by_key(|one| state::failure(self.machine.layout, one).is_none());
        let failed = not_active.first().copied();
        let Some(failed) = failed else { return Error(error.to_string()) };
        let start = FailedStart::read(&self.machine, failed);
        // A process that floods its log would do so as long as systemd restarts it. One of the generation that serves stays
        // with systemd.
        if self.before.as_ref().is_none_or(|before| before.generation != self.compiled.id) {
            let _ = self.machine.manager.stop(&[failed.unit()]);
        }
        start.cause(&self.machine, &self.compiled.service, error, attempts)
    }

    /// Stops deployments that have served. Callers wait in the socket of one that crashed and is being restarted, and
    /// systemd would stop it without its ExecStop=: it is drained here.
    fn retire(&self, deployments: &[Deployment]) -> Result<()> {
        self.drain(deployments, State::Starting);
        self.stop(deployments)
    }

    /// Drains deployments in a state in which systemd may stop them without their ExecStop=.
    fn drain(&self, deployments: &[Deployment], state: State) {
        let Deploy { drain_timeout, abandoned_timeout, .. } = self.compiled.service.deploy;
        let deadline = Instant::now() + drain_timeout;
        for deployment in deployments {
            let Some(runtime) = state::read(self.machine.layout, deployment).filter(|runtime| runtime.state == state)
            else {
                continue;
            };
            let limits = Limits { deadline, abandoned: abandoned_timeout, checks: runtime.checks };
            for listener in &runtime.listeners {
                let socket = self.machine.layout.at(&deployment.socket(self.machine.layout, listener.as_ref()));
                if let Err(error) = drain::wait(&socket, runtime.network.as_deref(), &limits) {
                    let (deployment, why) = (deployment.clone(), error.to_string());
                    self.machine.report(Event::NotDrained { deployment, why });
                }
            }
        }
    }

    /// Stops deployments for good and waits until they have drained and are gone.
    fn stop(&self, deployments: &[Deployment]) -> Result<()> {
        stop(&self.machine, deployments)
    }

    /// Restores what served before: its deployments that have stopped start again and take their slots, then those of
    /// the new generation stop; with the recreate strategy the other way round.
    fn roll_back(&self, plan: &Plan, error: Error) -> Error {
        let Some(before) = self.before.as_ref().filter(|before| before.generation != self.compiled.id) else {
            // There is nothing to roll back to: healthy deployments stay, systemd restarts the others.
            return error;
        };
        let failed = &self.compiled.id;
        Self::show_status(&format!("generation {failed} failed: rolling back to {}", before.generation));
        match self.restore(plan, before) {
            Ok(()) if self.strategy() == Strategy::Recreate => {
                Error(format!("generation {failed} failed, generation {} serves again\n{error}", before.generation))
            }
            Ok(()) => {
                Error(format!("generation {failed} failed, generation {} still serves\n{error}", before.generation))
            }
            Err(second) => Error(format!("{error}\nrolling back failed as well: {second}")),
        }
    }

    fn restore(&self, plan: &Plan, before: &Target) -> Result<()> {
        self.write_target(before)?;
        let name = &self.compiled.service.name;
        let old: Vec<_> = (1..=before.concurrency).map(|i| Deployment::new(name, &before.generation, i)).collect();
        let fresh: Vec<_> = plan.start.iter().filter(|new| new.generation != before.generation).cloned().collect();
        if self.strategy() == Strategy::Recreate {
            slot::enqueue(self.machine.layout, self.machine.manager, name, true)?;
            self.stop(&fresh)?;
            return self.start(&old);
        }
        let restarted = self.start(&old);
        self.settle_slots()?;
        // systemd stops a deployment that has just taken its slots and is not active yet without its ExecStop=.
        self.drain(&fresh, State::Ready);
        self.stop(&fresh)?;
        restarted
    }
}

/// Stops deployments for good, waits until they are gone and removes their directories.
///
/// # Errors
/// If systemd refuses a job.
pub(crate) fn stop(machine: &Machine, deployments: &[Deployment]) -> Result<()> {
    let Machine { layout, manager, .. } = *machine;
    if deployments.is_empty() {
        return Ok(());
    }
    let models: Vec<_> = deployments.iter().map(|one| (one, deployment::model(layout, one).ok())).collect();
    start_bridges(layout, manager, &models);
    let bridges: Vec<_> = models.iter().flat_map(|(one, model)| deployment::bridges(one, model.as_ref())).collect();
    let sockets = models.iter().flat_map(|(one, model)| deployment::sockets(one, model.as_ref()));
    let units: Vec<_> = deployments.iter().map(Deployment::unit).chain(sockets).collect();
    let stopped = manager.stop(&units);
    // Bridges carry the requests in flight until the deployments have drained.
    let stopped = stopped.and(manager.stop(&bridges));
    forget_failures(manager, units);
    for deployment in deployments {
        // A deployment that was waiting for a restart ran no hook when it was stopped.
        slot::withdraw(layout, deployment)?;
        state::remove(layout, deployment)?;
    }
    Ok(stopped?)
}

/// Starts the bridges of deployments that serve. systemd disconnects whoever is the first caller of one when its socket is
/// about to stop, as `flush_ports` of its src/core/socket.c does.
fn start_bridges(layout: &Layout, manager: Manager, models: &[(&Deployment, Option<Service>)]) {
    let serves = |one: &Deployment| state::read(layout, one).is_some_and(|runtime| runtime.state == State::Ready);
    let known = models.iter().filter_map(|(one, model)| Some((*one, model.as_ref()?)));
    let lasting = known.filter(|(one, model)| model.listen.idle_timeout.is_none() && serves(one));
    let bridges: Vec<_> = lasting.flat_map(|(one, model)| deployment::bridges(one, Some(model))).collect();
    // One that cannot start fails its callers alone.
    let _ = manager.start(&bridges);
}

/// Makes systemd forget units that have failed because a deployment has crashed too often: it would list them for good.
fn forget_failures(manager: Manager, units: Vec<String>) {
    // One that is unknown has not failed.
    let states = manager.states(&units).unwrap_or_default();
    let failed = units.into_iter().zip(states).filter(|(_, state)| state == "failed");
    manager.reset_failed(&failed.map(|(unit, _)| unit).collect::<Vec<_>>());
}

/// Waits until a batch of old deployments has stopped.
fn join(draining: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    draining.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Lists the generations that still have a deployment.
pub(crate) fn in_use(deployments: &[Deployment]) -> Vec<GenerationId> {
    let mut ids: Vec<_> = deployments.iter().map(|deployment| deployment.generation.clone()).collect();
    ids.sort();
    ids.dedup();
    ids
}
