//! `make bench`: what the project promises, measured against what it is compared with in the same rounds.
//!
//! - The generator against Podman's Quadlet generator, against `cp -r` of its output, and with all services live.
//! - A rolling update against the systemctl starts and stops of plain units, of one service and of many at once.
//! - A rolling update of a pod against `podman kube play` and `kube down` alone.
//! - `conductor --help` and `conductor service list` against `systemctl --version` and `systemctl list-units`.
//! - Live checks against timers of systemd's that start curl.
//! - systemd's daemon-reload with jobs of services against as many plain timers.
//! - The start of a thousand workers with jobs and live checks against as many plain units with timers.
//! - Requests to passed sockets and over relays against the server alone.
//! - Asked for alone: reverse proxies against what is written by hand for them, and a million requests through each
//!   while a service is updated.
//! - `conductor daemon-reload` with nothing to do against systemd's own of the same unit files.

mod boot;
mod build;
mod chroot;
mod clock;
mod command;
mod declarations;
mod generator;
mod installed;
mod jobs;
mod live;
mod liveness;
mod plain;
mod pod;
mod ports;
mod proxy;
mod reload;
mod rollout;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use build::{Build, Host};
use clap::Parser;
use conductor_machine::machine::{Packages, Suite, isolate};
use table::Table;

/// What a part returns: its figures are in the table.
type Outcome = Result<(), Box<dyn Error>>;

/// Measure what the project promises, and print a table
#[derive(Parser)]
struct Options {
    /// Measure another build, too: the `conductor` and `conductor-generator` in this directory
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Part to measure [default: all]
    only: Option<Part>,
    /// Run one command below a root and print its microseconds and peak KiB (for this program itself)
    #[arg(long, hide = true, num_args = 2.., value_names = ["ROOT", "PROGRAM"], allow_hyphen_values = true)]
    measure: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Part {
    Generator,
    Rollout,
    Pod,
    Reload,
    Liveness,
    Ports,
    Jobs,
    Boot,
    Command,
    Proxy,
    Rollouts,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let [root, program, arguments @ ..] = options.measure.as_slice() {
        return chroot::measured(root, program, arguments);
    }
    let mut table = Table::default();
    let outcome = run(&options, &mut table);
    table.print();
    if let Err(error) = outcome {
        eprintln!("not everything was measured: {error}");
    }
    ExitCode::SUCCESS
}

fn run(options: &Options, table: &mut Table) -> Outcome {
    isolate()?;
    let mut builds = vec![Build::of_package()];
    builds.extend(options.against.clone().map(Build::of_dir).transpose()?);
    let wanted = |part| options.only.is_none_or(|only| only == part);
    for suite in ["bookworm", "trixie"] {
        if matches!(options.only, Some(Part::Proxy)) {
            proxy::measure(&Suite::prepare(suite, Packages::Servers, false, false)?, table)?;
        }
        if matches!(options.only, Some(Part::Rollouts)) {
            proxy::update_without_end(&Suite::prepare(suite, Packages::Servers, false, false)?, table)?;
        }
    }
    if matches!(options.only, Some(Part::Proxy | Part::Rollouts)) {
        return Ok(());
    }
    // The generator runs below the root of this suite, which has podman's generator.
    let trixie = Suite::prepare("trixie", Packages::Base, false, false)?;
    if wanted(Part::Generator) {
        generator::measure(&trixie, &builds, table)?;
    }
    if options.only == Some(Part::Generator) {
        return Ok(());
    }
    for suite in [&Suite::prepare("bookworm", Packages::Base, false, false)?, &trixie] {
        for build in &builds {
            let host = Host { suite, build };
            if wanted(Part::Rollout) {
                rollout::of_one(&host, table)?;
            }
            if wanted(Part::Pod) {
                pod::measure(&host, table)?;
            }
            if wanted(Part::Ports) {
                ports::measure(&host, table)?;
            }
            if wanted(Part::Liveness) {
                liveness::measure(&host, table)?;
            }
            if wanted(Part::Command) {
                command::measure(&host, table)?;
            }
            if wanted(Part::Jobs) {
                jobs::measure(&host, table)?;
            }
            if wanted(Part::Boot) {
                boot::measure(&host, table)?;
            }
            if wanted(Part::Reload) {
                reload::measure(&host, table)?;
                rollout::of_many(&host, table)?;
            }
        }
    }
    Ok(())
}
