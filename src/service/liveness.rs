//! `conductor service _live INTERVAL`: asks deployments that were ready whether they live, and restarts those that do not.
//!
//! A timer of systemd's starts this for all services with the same interval together: a unit for each service would cost
//! more than the checks.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::atomic;
use crate::deployment::endpoint::Endpoint;
use crate::deployment::health::{self, named};
use crate::deployment::hook::container;
use crate::deployment::liveness::Missed;
use crate::deployment::state::{self, Runtime, State};
use crate::layout::Layout;
use crate::live;
use crate::log::{self, note};
use crate::model::{Check, Live, Service};
use crate::names::{Deployment, GenerationId, ListenerName, ServiceName};
use crate::service::failure::Result;
use crate::service::machine::Machine;
use crate::service::run;

/// Checks at a time.
const TOGETHER: usize = 256;
/// Deployments that one run restarts: when a machine is overloaded all of them fail, and restarts are more load.
const RESTARTS: usize = 8;
/// The time that a run may take beside its longest check. In a slower one the machine, and not the deployments, is to blame.
const MARGIN: Duration = Duration::from_secs(5);

/// A deployment that is ready, and its check.
struct Asked {
    deployment: Deployment,
    runtime: Runtime,
    service: Arc<Service>,
    live: Live,
}

/// What a check found: the answer, or why it failed.
type Answer = std::result::Result<String, String>;

/// Asks all ready deployments whose checks are this far apart.
///
/// # Errors
/// If deployments cannot be listed, or nothing can be asked.
pub(crate) fn run(machine: &Machine, interval: Duration) -> Result<()> {
    let all = state::all(machine.layout)?;
    let asked = ready(machine.layout, &all, interval);
    let longest = asked.iter().map(|one| one.live.timeout).max().unwrap_or_default();
    let began = Instant::now();
    let answers = ask(machine, &asked)?;
    let took = began.elapsed();
    if took > longest + MARGIN {
        note!("the checks took {took:.1?}: this machine is too slow to tell whether deployments live");
        return Ok(());
    }
    let mut dead: BTreeMap<&ServiceName, (&Asked, Missed)> = BTreeMap::new();
    for (one, answer) in asked.iter().zip(answers) {
        let Some(missed) = record(machine.layout, one, answer)? else { continue };
        if missed.failures >= one.live.failures {
            // One of a service at a time: the others take its callers.
            dead.entry(&one.deployment.service).or_insert((one, missed));
        }
    }
    let may_restart =
        |service: &ServiceName| is_settled(machine.layout, service, all.get(service).map_or(&[], |them| them));
    for (_, (one, missed)) in dead.into_iter().filter(|(service, _)| may_restart(service)).take(RESTARTS) {
        restart(machine, one, &missed)?;
    }
    Ok(())
}

/// Lists the deployments that are ready and have a check of this interval.
fn ready(layout: &Layout, all: &BTreeMap<ServiceName, Vec<Deployment>>, interval: Duration) -> Vec<Asked> {
    let mut services: BTreeMap<(&ServiceName, &GenerationId), Option<Arc<Service>>> = BTreeMap::new();
    let mut asked = Vec::new();
    for deployment in all.values().flatten() {
        let Some(runtime) = state::read(layout, deployment).filter(|runtime| runtime.state == State::Ready) else {
            continue;
        };
        let key = (&deployment.service, &deployment.generation);
        // Of one whose snapshot is garbled the check is unknown.
        let service = services.entry(key).or_insert_with(|| live::service(layout, key.0, key.1).ok().map(Arc::new));
        let Some(service) = service.clone() else { continue };
        let live = service.health.live.clone().filter(|live| live.timer().is_some() && live.interval == interval);
        asked.extend(live.map(|live| Asked { deployment: deployment.clone(), runtime, service, live }));
    }
    asked
}

/// Makes all checks at the same time, and returns what they found, in the order of `asked`.
fn ask(machine: &Machine, asked: &[Asked]) -> io::Result<Vec<Answer>> {
    let mut answers: Vec<Option<Answer>> = vec![None; asked.len()];
    let (mut requests, mut commands) = (Vec::new(), Vec::new());
    for (index, one) in asked.iter().enumerate() {
        match (check(machine.layout, one), endpoint(machine.layout, one, one.live.listener.as_ref())) {
            (Ok(Check::Exec { .. }), _) => commands.push(index),
            (Ok(check), Ok(endpoint)) => requests.push((index, check, endpoint, one.live.timeout)),
            (Err(unknown), _) => answers[index] = Some(Err(unknown)),
            (_, Err(unknown)) => answers[index] = Some(Err(unknown.to_string())),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::scope(|scope| {
        let running: Vec<_> =
            commands.into_iter().map(|index| (index, scope.spawn(move || command(machine, &asked[index])))).collect();
        for (index, answer) in runtime.block_on(all_of(requests)) {
            answers[index] = Some(answer);
        }
        for (index, answer) in running {
            answers[index] = answer.join().ok();
        }
    });
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err("was not asked".to_owned()))).collect())
}

/// Finds the endpoint of one of a deployment's listeners.
fn endpoint(layout: &Layout, one: &Asked, listener: Option<&ListenerName>) -> io::Result<Endpoint> {
    Endpoint::asked(layout, &one.deployment, &one.service.listen, listener)
}

/// Returns the check of a deployment: a command of a container or pod runs in it.
fn check(layout: &Layout, one: &Asked) -> std::result::Result<Check, String> {
    match &one.live.check {
        Check::Exec { command } if one.service.process.engine.is_privileged() => {
            let container = container(layout, &one.deployment).map_err(|error| error.to_string())?;
            Ok(Check::Inside { container, command: command.clone() })
        }
        check => Ok(check.clone()),
    }
}

/// Makes checks over the network and in containers.
async fn all_of(requests: Vec<(usize, Check, Endpoint, Duration)>) -> Vec<(usize, Answer)> {
    let permits = Arc::new(Semaphore::new(TOGETHER));
    let mut running = JoinSet::new();
    for (index, check, endpoint, limit) in requests {
        let permits = permits.clone();
        running.spawn(async move {
            let _permit = permits.acquire().await;
            (index, within(limit, &check, &endpoint).await)
        });
    }
    running.join_all().await
}

async fn within(limit: Duration, check: &Check, endpoint: &Endpoint) -> Answer {
    let answer = timeout(limit, health::ask(check, endpoint)).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

/// Runs a command in a unit that is like the deployment's.
fn command(machine: &Machine, one: &Asked) -> Answer {
    let Check::Exec { command } = &one.live.check else { return Err("is no command".to_owned()) };
    match run::check(machine, &one.deployment, command, one.live.timeout) {
        Ok(0) => Ok("exited with status 0".to_owned()),
        Ok(status) => Err(format!("exited with status {status}")),
        Err(error) => Err(error.into_text()),
    }
}

/// Records what a check found; returns the checks that have failed in a row.
fn record(layout: &Layout, one: &Asked, answer: Answer) -> io::Result<Option<Missed>> {
    let Asked { deployment, runtime, .. } = one;
    // It may have stopped meanwhile.
    let is_same = |now: Runtime| now.state == State::Ready && now.started_at == runtime.started_at;
    if !state::read(layout, deployment).is_some_and(is_same) {
        return Ok(None);
    }
    match answer {
        Ok(_) => Missed::forget(layout, deployment).map(|()| None),
        Err(answer) => Missed::add(layout, deployment, runtime.started_at, answer).map(Some),
    }
}

/// Returns whether no rollout of a service runs and all of its deployments are ready, so that one more may stop.
fn is_settled(layout: &Layout, service: &ServiceName, deployments: &[Deployment]) -> bool {
    let is_ready = |one: &Deployment| {
        state::read(layout, one).is_some_and(|runtime| matches!(runtime.state, State::Ready | State::Resting))
    };
    !atomic::is_locked(&layout.at(&layout.lock(service))) && deployments.iter().all(is_ready)
}

/// Restarts a deployment. Callers of one that still answers are waited for, and a worker may end what it does; one that answers
/// nobody is killed.
fn restart(machine: &Machine, one: &Asked, missed: &Missed) -> Result<()> {
    let unit = one.deployment.unit();
    let has_callers = one.service.listen.has_callers();
    let is_killed = has_callers && !answers_callers(machine.layout, one)?;
    let how = match (has_callers, is_killed) {
        (_, true) => "killing it: it answers nobody",
        (true, false) => "restarting it when its callers have been answered",
        (false, false) => "restarting it",
    };
    let (failures, answer, check) = (missed.failures, &missed.answer, named(&one.live.check));
    let text = format!("{unit} does not live: {failures} checks in a row failed ({check}: {answer}); {how}");
    log::warning_of_deployment(&one.deployment, &text);
    match is_killed {
        true => Ok(machine.manager.kill(&unit)?),
        false => Ok(machine.manager.ask_restart(&unit)?),
    }
}

/// Returns whether callers still get an answer: the check passes by which the deployment became ready, if that can be asked
/// and is another one, or its process accepts a connection.
fn answers_callers(layout: &Layout, one: &Asked) -> io::Result<bool> {
    let check = match &one.service.health.check {
        check if *check == one.live.check && one.service.health.listener == one.live.listener => return Ok(false),
        check @ (Check::Http { .. } | Check::Tcp) => check.clone(),
        _ if one.live.check == Check::Tcp => return Ok(false),
        _ => Check::Tcp,
    };
    let listener = match check == Check::Tcp && one.service.health.check != Check::Tcp {
        true => one.service.listen.all().next().and_then(|first| first.name),
        false => one.service.health.listener.as_ref(),
    };
    let endpoint = endpoint(layout, one, listener)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(within(one.live.timeout, &check, &endpoint)).is_ok())
}
