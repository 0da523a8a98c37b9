//! Plans: what a reload has to do, as a function of what is declared and what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::compile::host::{Compiled, Host};
use crate::deployment::{slot, state};
use crate::layout::Layout;
use crate::live::{self, Live, Target};
use crate::names::{Deployment, GenerationId, ServiceName};
use crate::service::action::Action;
use crate::service::canary::{self, Course};
use crate::service::share::{self, Share};
use crate::service::{condition, notes};
use crate::systemd::{Listing, State};

/// The running deployments and the target of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    /// Active deployments, in order.
    pub(crate) active: Vec<Deployment>,
    /// Deployments in any other state: failed, crashed, half started.
    pub(crate) broken: Vec<Deployment>,
    pub(crate) target: Option<Target>,
    /// Generations that have a snapshot.
    pub(crate) live: Vec<GenerationId>,
    /// Number of slots that deployments hold.
    pub(crate) held: usize,
    /// Whether the snapshot of the target's generation can be read.
    pub(crate) is_intact: bool,
    /// Whether slots divide callers as the target of a canary says.
    pub(crate) is_settled: bool,
    /// The time, in seconds since 1970: steps of canaries are due at one.
    pub(crate) now: u64,
    /// The share of its canary, if it has one.
    pub(crate) share: Option<Share>,
}

impl Present {
    /// Reads the state of a service's deployments from systemd, from those `there` that have a directory, and from its
    /// live generations.
    ///
    /// # Errors
    /// A target that cannot be read.
    pub(crate) fn read(
        layout: &Layout,
        name: &ServiceName,
        deployments: &[(Deployment, State)],
        there: &[Deployment],
        live: Option<&Live>,
    ) -> io::Result<Self> {
        let mut present = Self {
            active: Vec::new(),
            broken: Vec::new(),
            target: Target::read(layout, name)?,
            live: live.map(|live| live.generations.clone()).unwrap_or_default(),
            held: slot::count(layout, name)?,
            is_intact: true,
            is_settled: true,
            now: share::now(),
            share: None,
        };
        if let Some(target) = &present.target {
            present.share = Share::of(layout, name, target);
            present.is_settled = target.canary.is_none() || slot::is_settled(layout, name, target)?;
            present.is_intact = live::is_intact(layout, name, &target.generation);
        }
        for (deployment, state) in deployments {
            match state.as_str() {
                "active" => present.active.push(deployment.clone()),
                "inactive" => {}
                _ => present.broken.push(deployment.clone()),
            }
        }
        // A deployment that is stopped while it is idle is inactive or not in systemd's memory; its socket waits.
        let is_down = |one: &Deployment| deployments.iter().all(|(listed, state)| listed != one || state == "inactive");
        let resting = there.iter().filter(|one| is_down(one) && state::is_resting(layout, one));
        present.active.extend(resting.cloned());
        present.active.sort();
        present.broken.sort();
        Ok(present)
    }

    fn holds_all_slots(&self, compiled: &Compiled) -> bool {
        self.held == compiled.service.slots as usize
    }

    /// Returns whether only the declared generation is live, beside a canary the one that serves, and all slots are held. They
    /// are not after a rollout that was killed at its very end, or when somebody removed slots.
    fn is_complete(&self, compiled: &Compiled) -> bool {
        let serving = self.target.as_ref().filter(|target| target.has(&compiled.id)).map(|target| &target.generation);
        self.live.iter().all(|id| *id == compiled.id || Some(id) == serving)
            && self.holds_all_slots(compiled)
            && self.is_settled
    }

    fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.active.iter().chain(&self.broken)
    }
}

/// The job of `NAME.service`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Nothing,
    Start,
    Reload,
    Stop,
}

/// The plan for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) name: ServiceName,
    /// The service that it is a part of and starts or stops together with.
    pub(crate) with: Option<ServiceName>,
    /// The slices of a service that is no longer declared.
    pub(crate) slices: Vec<String>,
    pub(crate) job: Job,
    pub(crate) actions: BTreeSet<Action>,
    /// Deployments of the declared generation to start, in the order in which they start.
    pub(crate) start: Vec<Deployment>,
    /// Deployments to drain and stop: of other generations, or beyond the concurrency.
    pub(crate) stop: Vec<Deployment>,
    /// Why, for what no input explains.
    pub(crate) note: Option<String>,
    /// What it does with a canary.
    pub(crate) canary: Option<Course>,
}

impl Plan {
    /// Plans the reload of a service that runs.
    pub(crate) fn reload(compiled: &Compiled, present: &Present) -> Self {
        let Compiled { service, .. } = compiled;
        let target = present.target.as_ref();
        let course = Course::of(compiled, target, present.now);
        let wanted = wanted(compiled, target, course.as_ref());
        let stop: Vec<_> = present.deployments().filter(|there| !wanted.contains(there)).cloned().collect();
        let start: Vec<_> = wanted.into_iter().filter(|wanted| !present.active.contains(wanted)).collect();
        let actions = actions(compiled, present, course.as_ref(), (&start, &stop));
        let is_unfinished = actions.is_empty() && target.is_some() && !present.is_complete(compiled);
        let actions = if is_unfinished { BTreeSet::from([Action::Refresh]) } else { actions };
        let note = match actions.is_empty() {
            true => None,
            false => reason(compiled, present, is_unfinished, actions.contains(&Action::Roll)).map(str::to_owned),
        };
        Self {
            name: service.name.clone(),
            with: None,
            slices: Vec::new(),
            job: if actions.is_empty() { Job::Nothing } else { Job::Reload },
            note: note.or_else(|| told(course.as_ref(), compiled, present)),
            actions,
            start,
            stop,
            canary: course,
        }
    }

    /// Returns whether it starts deployments of a generation.
    pub(crate) fn starts(&self, id: &GenerationId) -> bool {
        self.start.iter().any(|one| one.generation == *id)
    }

    pub(crate) fn rolls(&self) -> bool {
        self.actions.contains(&Action::Roll)
    }

    pub(crate) fn republishes(&self) -> bool {
        self.actions.contains(&Action::Republish)
    }

    fn nothing(name: &ServiceName, note: Option<&str>) -> Self {
        Self {
            name: name.clone(),
            with: None,
            slices: Vec::new(),
            job: Job::Nothing,
            actions: BTreeSet::new(),
            start: Vec::new(),
            stop: Vec::new(),
            note: note.map(str::to_owned),
            canary: None,
        }
    }

    /// Plans the start of a declared service that is not running.
    fn start(layout: &Layout, compiled: &Compiled, state: &str, is_stopped: bool) -> Self {
        let name = &compiled.service.name;
        if state == "deactivating" {
            return Self::nothing(name, Some("it is stopping"));
        }
        if is_stopped {
            let note = format!("its administrator stopped it; `systemctl start {name}` starts it");
            return Self::nothing(name, Some(&note));
        }
        if compiled.systemd.wanted_by.is_empty() {
            return Self::nothing(name, Some("it is not running, and install.wanted_by is empty"));
        }
        let target = canary::stored(layout, compiled);
        let nothing = Present {
            active: Vec::new(),
            broken: Vec::new(),
            live: Vec::new(),
            held: 0,
            is_intact: true,
            is_settled: true,
            // A start takes no step.
            now: 0,
            share: target.as_ref().and_then(|target| Share::of(layout, name, target)),
            target,
        };
        let mut plan = Self::reload(compiled, &nothing);
        if compiled.service.routes.is_empty() {
            plan.actions.remove(&Action::Republish);
        }
        let with = compiled.service.group.as_ref().map(|group| group.name.clone());
        let note = plan.note.map_or_else(String::new, |canary| format!("; {canary}"));
        Self { with, job: Job::Start, note: Some(format!("it is not running{note}")), ..plan }
    }

    fn undeclared(name: &ServiceName, group: Option<&ServiceName>, present: &Present, host: &Host) -> Self {
        let with = group.filter(|group| !host.declares(group));
        let own = name.slice(group.unwrap_or(name));
        Self {
            name: name.clone(),
            slices: with.map(|group| group.slice(group)).into_iter().chain([own]).collect(),
            with: with.cloned(),
            job: Job::Stop,
            actions: BTreeSet::from([Action::Stop, Action::Forget]),
            start: Vec::new(),
            stop: present.deployments().cloned().collect(),
            note: Some("it is no longer declared".to_owned()),
            canary: None,
        }
    }
}

/// Lists the deployments that are to run, in the order in which they start: beside a canary, the old ones too.
fn wanted(compiled: &Compiled, target: Option<&Target>, course: Option<&Course>) -> Vec<Deployment> {
    let Compiled { service, id, .. } = compiled;
    let of =
        |id: &GenerationId, count: u32| (1..=count).map(|i| Deployment::new(&service.name, id, i)).collect::<Vec<_>>();
    match (course, target) {
        (Some(course), Some(target)) if *course != Course::Completes => {
            let (old, new) = course.deployments(compiled, target);
            [of(&target.generation, old), of(id, new)].concat()
        }
        _ => of(id, service.concurrency),
    }
}

/// Returns what a reload does that starts and stops these deployments.
fn actions(
    compiled: &Compiled,
    present: &Present,
    course: Option<&Course>,
    (start, stop): (&[Deployment], &[Deployment]),
) -> BTreeSet<Action> {
    let Compiled { digests, id, .. } = compiled;
    let target = present.target.as_ref();
    let own = target.and_then(|target| canary::own(target, id));
    let other = target.and_then(|target| canary::other(target, id));
    let is_of_other = |there: &Deployment| other.is_some_and(|canary| canary.generation == there.generation);
    // An interrupted rollout goes on, even if its old deployments have stopped already.
    let differs = target.is_some_and(|target| target.generation != *id)
        || stop.iter().any(|there| there.generation != *id && !is_of_other(there));
    let rolls = if course.is_some() { own.is_none() } else { differs };
    let promotes = own.is_some() && matches!(course, Some(Course::Step(_) | Course::Completes));
    let aborts = other.is_some_and(|canary| canary.aborted.is_none())
        || stop.iter().any(is_of_other)
        || course == Some(&Course::Aborted) && !stop.is_empty();
    let is_recovered = target.is_some_and(Target::is_recovered);
    let rescales = !is_recovered && target.is_some_and(|target| target.digests.scale != digests.scale);
    let replaces = rolls || promotes || aborts || rescales;
    let actions = [
        (Action::Roll, rolls),
        (Action::Promote, promotes),
        (Action::Abort, aborts),
        (Action::Rescale, rescales),
        (Action::Start, !start.is_empty() && !replaces),
        (Action::Stop, !stop.is_empty() && !replaces),
        (Action::Republish, target.is_none_or(|target| target.digests.routes != digests.routes)),
        (
            Action::Refresh,
            !present.is_intact
                // What was aborted is forgotten.
                || other.is_some_and(|canary| canary.aborted.is_some())
                || target.is_some_and(|target| target.digests.settings != digests.settings),
        ),
    ];
    actions.into_iter().filter(|(_, holds)| *holds).map(|(action, _)| action).collect()
}

/// Returns why a reload has something to do, for what no input explains.
fn reason(compiled: &Compiled, present: &Present, is_unfinished: bool, rolls: bool) -> Option<&'static str> {
    let target = present.target.as_ref()?;
    let as_declared = target.digests == compiled.digests;
    match target {
        _ if is_unfinished && !present.holds_all_slots(compiled) => Some("create missing slots"),
        _ if is_unfinished && !present.is_settled => Some("finish an interrupted step of its canary"),
        _ if is_unfinished => Some("clean up after an interrupted rollout"),
        _ if target.is_recovered() => Some("restore target.json, which cannot be read"),
        _ if !present.is_intact => Some("restore its snapshot, which cannot be read"),
        _ if as_declared && rolls => Some("finish an interrupted rollout"),
        _ if as_declared && target.canary.is_none() => Some("start missing deployments"),
        Target { digests, .. } if digests.routes.is_empty() => Some("publish its routes"),
        _ => None,
    }
}

/// Describes what happens to a canary.
fn told(course: Option<&Course>, compiled: &Compiled, present: &Present) -> Option<String> {
    let Compiled { service, id, .. } = compiled;
    let (of, name) = (service.slots, &service.name);
    let share = present.share.as_ref();
    Some(match (course, share) {
        (None, None) => return None,
        (None, Some(share)) => format!("the canary of generation {} is aborted", share.generation),
        (Some(Course::Aborted), Some(Share { aborted: Some(why), .. })) => {
            format!("its canary was aborted ({why}); `conductor service promote {name}` tries it again")
        }
        (Some(Course::Completes), _) => "canary: all slots; the old deployments stop".to_owned(),
        (Some(Course::Step(step)), share) => {
            let aborts = match share.filter(|share| share.generation != *id && share.aborted.is_none()) {
                Some(other) => format!("; the canary of generation {} is aborted first", other.generation),
                None => String::new(),
            };
            let after = service.deploy.steps.iter().filter(|after| after.slots > step.slots);
            let pauses = std::iter::once(step).chain(after.clone()).map(|step| match step.pause {
                Some(pause) => format!("after {}", share::in_words(pause)),
                None => "when promoted".to_owned(),
            });
            let shares = after.map(|after| format!("{} of {of}", after.slots)).chain(["all".to_owned()]);
            let next: Vec<_> = shares.zip(pauses).map(|(share, pause)| format!("{share} {pause}")).collect();
            format!("canary: {} of {of} slots, then {}{aborts}", step.slots, next.join(", "))
        }
        (Some(_), share) => format!("canary: {}", share?),
    })
}

/// Plans all services that compile, run or have stored generations; by name.
///
/// # Errors
/// What cannot be read of what is there.
pub(crate) fn all(layout: &Layout, host: &Host, listing: &Listing) -> io::Result<BTreeMap<ServiceName, Plan>> {
    let (there, live) = (state::all(layout)?, live::all(layout)?);
    let present = |name| {
        let there = there.get(name).map_or(&[][..], Vec::as_slice);
        Present::read(layout, name, listing.deployments(name), there, live.get(name))
    };
    let mut plans = BTreeMap::new();
    for (name, compiled) in &host.services {
        let plan = match listing.state(name) {
            "active" | "reloading" => Plan::reload(compiled, &present(name)?),
            state => {
                let is_stopped =
                    [name, compiled.service.declared_as()].iter().any(|name| live::is_stopped(layout, name));
                let plan = Plan::start(layout, compiled, state, is_stopped);
                let unmet = (plan.job == Job::Start).then(|| condition::unmet(layout.scope, &compiled.service));
                match unmet.flatten() {
                    Some(unmet) => Plan::nothing(name, Some(&format!("held back: {unmet}"))),
                    None => plan,
                }
            }
        };
        plans.insert(name.clone(), plan);
    }
    let mut gone = Vec::new();
    for live in live.values().filter(|live| !host.declares(&live.name)) {
        let group = live.service(layout, live.current(layout)).ok().and_then(|model| model.group);
        gone.push(Plan::undeclared(&live.name, group.map(|group| group.name).as_ref(), &present(&live.name)?, host));
    }
    for name in notes::remembered(layout)?.iter().filter(|name| !host.declares(name)) {
        if !gone.iter().any(|plan| plan.name == *name) {
            let actions = BTreeSet::from([Action::Forget]);
            let note = "it is no longer declared; its generations are still stored";
            gone.push(Plan { actions, ..Plan::nothing(name, Some(note)) });
        }
    }
    plans.extend(gone.into_iter().map(|plan| (plan.name.clone(), plan)));
    Ok(plans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;
    use crate::target::systemd::Units;
    use camino::Utf8Path;
    use std::fs;

    const OLD: &str = "00000000000a";

    /// A service as it compiles, with a number of deployments.
    fn compiled(concurrency: u32) -> Compiled {
        let root = tempfile::tempdir().expect("a scratch directory");
        let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
        let dir = root.join("etc/conductor/services/hello");
        fs::create_dir_all(&dir).expect("a directory");
        let text = format!("concurrency = {concurrency}\n[exec]\ncommand = ['/bin/true']\n");
        fs::write(dir.join("service.toml"), text).expect("a declaration");
        let host = compile::compile(&Layout::system(root), &Units(None));
        host.services.into_values().next().expect("it compiles")
    }

    /// Deployments by generation, None for the declared one.
    type There<'a> = &'a [(Option<&'a str>, u32)];

    fn plan(active: There, broken: There, target: (Option<&str>, u32), concurrency: u32) -> Plan {
        let compiled = compiled(concurrency);
        let before = super::tests::compiled(target.1);
        let id =
            |id: Option<&str>| id.map_or(compiled.id.clone(), |id| crate::names::GenerationId::new(id).expect("an id"));
        let all =
            |list: There| list.iter().map(|(g, i)| Deployment::new(&compiled.service.name, &id(*g), *i)).collect();
        let mut digests = before.digests.clone();
        if target.0.is_some() {
            digests.generation = "another".to_owned();
        }
        let target = Target {
            generation: id(target.0),
            digests: digests.clone(),
            ..Target::new(&before.service, &before.digests, BTreeMap::new())
        };
        let (live, held) = (vec![compiled.id.clone()], compiled.service.slots as usize);
        let (active, broken, target) = (all(active), all(broken), Some(target));
        let (now, share) = (0, None);
        Plan::reload(
            &compiled,
            &Present { active, broken, target, live, held, is_intact: true, is_settled: true, now, share },
        )
    }

    fn instances(deployments: &[Deployment]) -> Vec<u32> {
        deployments.iter().map(|deployment| deployment.instance).collect()
    }

    fn summary(plan: &Plan) -> (Vec<u32>, Vec<u32>, Vec<Action>) {
        (instances(&plan.start), instances(&plan.stop), plan.actions.iter().copied().collect())
    }

    #[test]
    fn another_generation_rolls() {
        let plan = plan(&[(Some(OLD), 1), (Some(OLD), 2)], &[], (Some(OLD), 2), 2);
        assert_eq!(summary(&plan), (vec![1, 2], vec![1, 2], vec![Action::Roll]));
    }

    #[test]
    fn scaling_rolls_nothing() {
        let up = plan(&[(None, 1), (None, 2)], &[], (None, 2), 4);
        assert_eq!(summary(&up), (vec![3, 4], vec![], vec![Action::Rescale]));
        let down = plan(&[(None, 1), (None, 2), (None, 3)], &[], (None, 3), 1);
        assert_eq!(summary(&down), (vec![], vec![2, 3], vec![Action::Rescale]));
    }

    #[test]
    fn what_is_as_declared_stays() {
        let plan = plan(&[(None, 1), (None, 2)], &[], (None, 2), 2);
        assert_eq!((plan.job, summary(&plan)), (Job::Nothing, (vec![], vec![], vec![])));
    }

    #[test]
    fn a_deployment_that_is_down_starts() {
        let plan = plan(&[(None, 1)], &[(None, 2)], (None, 2), 2);
        assert_eq!(summary(&plan), (vec![2], vec![], vec![Action::Start]));
    }

    #[test]
    fn an_interrupted_rollout_goes_on() {
        let rolling = plan(&[(None, 1), (Some(OLD), 2)], &[(None, 2)], (None, 2), 2);
        assert_eq!(summary(&rolling), (vec![2], vec![2], vec![Action::Roll]));
        let recreating = plan(&[], &[], (Some(OLD), 2), 2);
        assert_eq!(summary(&recreating), (vec![1, 2], vec![], vec![Action::Roll]));
    }
}
