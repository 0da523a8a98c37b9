//! Runs scenarios, each on a freshly booted machine.

mod demo;
mod report;
mod scenario;
mod scenarios;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;

use clap::{Parser, ValueEnum};
use conductor_machine::machine::isolate;
use libtest_mimic::{Arguments, Conclusion};
use report::Results;
use trial::Mode;

/// Runs scenarios on booted machines: all of them, or those whose `[SUITE] GROUP::NAME` contains FILTER
#[derive(Parser)]
#[command(help_template = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}", after_help = None)]
struct Options {
    /// Debian release to boot [default: both]
    #[arg(long, value_enum, default_value = "all", hide_default_value = true)]
    suite: Suites,
    /// Leave the machines running, and print how to enter them
    #[arg(long)]
    keep: bool,
    /// Do not install the project into the machines
    #[arg(long)]
    bare: bool,
    /// Run ten updates of an example under load instead of scenarios, and print what they cost
    #[arg(long)]
    demo: bool,
    /// Write the outcome of every fault to this file, as Markdown
    #[arg(long, value_name = "FILE", conflicts_with_all = ["filter", "skip", "list", "ignored", "bench"])]
    report: Option<PathBuf>,
    #[command(flatten)]
    tests: Arguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suites {
    /// Debian 12, systemd 252
    Bookworm,
    /// Debian 13, systemd 257
    Trixie,
    All,
}

impl Suites {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Bookworm => &["bookworm"],
            Self::Trixie => &["trixie"],
            Self::All => &["bookworm", "trixie"],
        }
    }
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.demo {
        return demo::run();
    }
    // One machine more than there are processors: a scenario waits for a third of its time.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    options.tests.test_threads.get_or_insert(processors + 1);
    run(&options).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let scenarios: Vec<_> = scenarios::all().collect();
    let results = Arc::new(Mutex::new(Results::new()));
    let mode = Mode { bare: options.bare, keep: options.keep };
    let trials = trial::trials(&scenarios, options.suite.names(), mode, &results);
    if options.tests.list {
        let _ = libtest_mimic::run(&options.tests, trials);
        return Ok(ExitCode::SUCCESS);
    }
    // Before the first thread: threads have the mount namespace of the one that starts them.
    isolate()?;
    let Conclusion { num_passed, num_failed, .. } = libtest_mimic::run(&options.tests, trials);
    if num_passed + num_failed == 0 {
        return Err("no scenario matches the filter".into());
    }
    if let Some(file) = &options.report {
        write(file, &report::render(&scenarios, &results.lock().expect("every trial has ended")))?;
    }
    println!("{num_passed} passed, {num_failed} failed");
    Ok(if num_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
