//! Runs scenarios, each on a freshly booted machine.

mod demo;
mod report;
mod scenarios;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use conductor_machine::machine::{Machine, Suite, isolate};
use report::Results;
use scenarios::Scenario;

/// Runs scenarios on booted machines: all of them, or those whose GROUP::NAME contains a FILTER
#[derive(Parser)]
struct Options {
    /// Debian release to boot: bookworm (systemd 252), trixie (systemd 257) or all
    #[arg(long, default_value = "all")]
    suite: String,
    /// Print the scenarios and do nothing
    #[arg(long)]
    list: bool,
    /// Leave the machines running afterwards, and print how to enter them
    #[arg(long)]
    keep: bool,
    /// Do not install the project into the machines
    #[arg(long)]
    bare: bool,
    /// Instead of scenarios: ten rolling updates of an example under load, and what they cost
    #[arg(long)]
    demo: bool,
    /// Write what came of every fault to this file, as Markdown
    #[arg(long, value_name = "FILE", conflicts_with = "filter")]
    report: Option<PathBuf>,
    filter: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.demo {
        return demo::run();
    }
    let chosen = scenarios::matching(&options.filter);
    if options.list {
        chosen.iter().for_each(|scenario| println!("{scenario}"));
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        eprintln!("no scenario matches {:?}", options.filter);
        return ExitCode::FAILURE;
    }
    let results = match run_all(&options, &chosen) {
        Ok(results) => results,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let passed = results.values().filter(|passed| **passed).count();
    println!("{passed} passed, {} failed", results.len() - passed);
    if let Some(file) = &options.report
        && let Err(error) = std::fs::write(file, report::render(&chosen, &results))
    {
        eprintln!("{}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    if passed == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(options: &Options, chosen: &[&Scenario]) -> Result<Results, String> {
    isolate()?;
    let suites = match options.suite.as_str() {
        "all" => vec!["bookworm", "trixie"],
        one => vec![one],
    };
    let suites: Vec<_> =
        suites.into_iter().map(|name| Suite::prepare(name, options.bare, options.keep)).collect::<Result<_, _>>()?;
    let machines: Vec<_> =
        chosen.iter().flat_map(|scenario| suites.iter().map(move |suite| (*scenario, suite))).collect();
    Ok(side_by_side(&machines))
}

/// One machine more than there are processors: a scenario waits for a third of its time.
fn side_by_side(machines: &[(&Scenario, &Suite)]) -> Results {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Results::new();
        while let Some((scenario, suite)) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
            results.insert((scenario.to_string(), suite.name.clone()), run(scenario, suite));
        }
        results
    };
    let workers = thread::available_parallelism().map_or(1, |processors| processors.get() + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("scenarios' panics are caught")).collect()
    })
}

/// Prints one line about the scenario, and the machine's logs when it fails.
fn run(scenario: &Scenario, suite: &Suite) -> bool {
    let start = Instant::now();
    let mut notes = String::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut machine = Machine::boot(suite);
        let result = catch_unwind(AssertUnwindSafe(|| (scenario.run)(&mut machine)));
        notes = machine.notes();
        if result.is_err() {
            println!("{}", machine.logs());
        }
        if machine.is_kept() {
            println!("{scenario} on {}: {}", suite.name, machine.how_to_enter());
        }
        result
    }));
    let good = matches!(result, Ok(Ok(())));
    let verdict = if good { "ok    " } else { "FAILED" };
    println!("{verdict} {:8} {scenario} ({:.1} s) {notes}", suite.name, start.elapsed().as_secs_f64());
    good
}
