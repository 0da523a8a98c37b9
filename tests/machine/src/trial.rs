//! Scenarios as trials of libtest-mimic, one for each Debian release.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use conductor_machine::machine::{Machine, Packages, Suite};
use libtest_mimic::Trial;

use crate::report::Results;
use crate::scenario::Scenario;

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
        suites.iter().zip(prepared).map(trial).collect::<Vec<_>>()
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

/// Boots a machine and runs the scenario on it. Prints its duration and figures, and the machine's logs when it fails.
fn run(scenario: &Scenario, suite: &Suite) -> Result<(), String> {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut machine = Machine::boot(suite);
        let result = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut machine)));
        if result.is_err() {
            println!("{}", machine.logs());
        }
        if machine.is_kept() {
            println!("[{}] {scenario}: {}", suite.name, machine.how_to_enter());
        }
        let figures = [format!("{:.1} s", start.elapsed().as_secs_f64()), machine.notes()];
        println!("[{}] {scenario}: {}", suite.name, figures.join("; ").trim_end_matches("; "));
        result
    }));
    result.and_then(|result| result).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".into())
}
