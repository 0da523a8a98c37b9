//! Scenarios as trials of libtest-mimic, one for each Debian release.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Instant;

use conductor_machine::cluster::Cluster;
use conductor_machine::machine::{Machine, Packages, Suite};
use libtest_mimic::Trial;

use crate::report::Results;
use crate::scenario::{Run, Scenario};

/// How machines are prepared and left.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// Do not install the project.
    pub bare: bool,
    /// Leave machines running.
    pub keep: bool,
}

/// A suite that its first trial prepares, and all others of it wait for.
type Prepared = Arc<LazyLock<Result<Suite, String>, Box<dyn FnOnce() -> Result<Suite, String> + Send>>>;

/// A trial of each scenario on each suite. Each writes into `results` whether it passed.
pub(crate) fn trials(
    scenarios: &[&'static Scenario],
    suites: &[&'static str],
    mode: Mode,
    results: &Arc<Mutex<Results>>,
) -> Vec<Trial> {
    let prepare = |packages| {
        let suite = |&name: &&'static str| -> Prepared {
            Arc::new(LazyLock::new(Box::new(move || Suite::prepare(name, packages, mode.bare, mode.keep))))
        };
        suites.iter().map(suite).collect::<Vec<_>>()
    };
    let prepared = Packages::ALL.map(prepare);
    let of = |scenario: &&'static Scenario| {
        let prepared = &prepared[scenario.packages as usize];
        let trial = |(name, suite): (&&'static str, &Prepared)| trial(scenario, name, suite.clone(), results.clone());
        let has_packages = |(name, _): &(&&'static str, &Prepared)| scenario.packages.are_in(name);
        suites.iter().zip(prepared).filter(has_packages).map(trial).collect::<Vec<_>>()
    };
    scenarios.iter().flat_map(of).collect()
}

fn trial(scenario: &'static Scenario, suite: &'static str, prepared: Prepared, results: Arc<Mutex<Results>>) -> Trial {
    let work = move || {
        let result = match &**prepared {
            Ok(suite) => run(scenario, suite),
            Err(error) => Err(error.clone()),
        };
        let key = (scenario.to_string(), suite.to_owned());
        results.lock().expect("no panic while it is locked").insert(key, result.is_ok());
        result.map_err(|error| format!("on {suite}: {error}").into())
    };
    Trial::test(scenario.to_string(), work).with_kind(suite)
}

/// Boots the machines and runs the scenario on them. Prints its duration and figures, and their logs when it fails.
fn run(scenario: &Scenario, suite: &Suite) -> Result<(), String> {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| match scenario.run {
        Run::One(run) => {
            let mut machine = Machine::boot(suite);
            let result = catch_unwind(AssertUnwindSafe(|| run(&mut machine)));
            conclude(scenario, suite, start, &[&machine], result)
        }
        Run::Cluster(count, run) => {
            let mut cluster = Cluster::boot(suite, count);
            let result = catch_unwind(AssertUnwindSafe(|| run(&mut cluster)));
            let machines: Vec<_> = cluster.machines.iter().collect();
            conclude(scenario, suite, start, &machines, result)
        }
    }));
    result.and_then(|result| result).map_err(|panic| message(&*panic))
}

/// Prints what there is to say of the machines.
fn conclude(
    scenario: &Scenario,
    suite: &Suite,
    start: Instant,
    machines: &[&Machine],
    result: thread::Result<()>,
) -> thread::Result<()> {
    for machine in machines {
        if result.is_err() {
            println!("{}", machine.logs());
        }
        if machine.is_kept() {
            println!("[{}] {scenario}: {}", suite.name, machine.how_to_enter());
        }
    }
    let mut figures = vec![format!("{:.1} s", start.elapsed().as_secs_f64())];
    figures.extend(machines.iter().map(|machine| machine.notes()).filter(|notes| !notes.is_empty()));
    println!("[{}] {scenario}: {}", suite.name, figures.join("; "));
    result
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".into())
}
