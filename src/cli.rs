//! The command line: parses arguments, calls what does the work, and prints.

mod asked;
mod cgi;
mod check;
mod complete;
mod context;
mod daemon_reload;
mod deployment;
mod diff;
mod display;
mod doctor;
mod environment;
mod explain;
mod export;
mod failure;
mod hosts;
mod import;
mod input;
mod journal;
mod metrics;
mod new;
mod output;
mod paint;
mod plan;
mod progress;
mod proxy;
mod render;
mod rendered;
mod report;
mod row;
mod run;
mod service;
mod status;
mod table;
mod words;

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::log;

/// Compiles service declarations into systemd units and reverse-proxy configuration.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Use the calling user's manager [default: the system's]
    #[arg(long, global = true)]
    user: bool,
    /// Use files below DIR, without a running systemd [default: /]
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide_default_value = true)]
    root: Utf8PathBuf,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Subcommand)]
enum Noun {
    /// Create a commented starter declaration
    New(new::Arguments),
    /// Translate files of other tools into a declaration
    Import(import::Arguments),
    /// Reload systemd and bring every service to what is declared
    DaemonReload,
    /// Show all services and functions, their states and last rollouts on one page
    Status(status::Arguments),
    /// Print figures of all services in Prometheus' text format
    Metrics,
    /// Show what daemon-reload would do, and which input changed
    Plan(plan::Arguments),
    /// Show how units, routes and files differ between generations, or from one to the declaration
    Diff(diff::Arguments),
    /// Show the unit and proxy lines that each key produced
    Explain(explain::Arguments),
    /// Show the files that a declaration compiles to
    Render(render::Arguments),
    /// Validate declarations, also with systemd-analyze verify
    Check(check::Arguments),
    /// Declare, inspect, change and remove services
    #[command(subcommand)]
    Service(service::Verb),
    /// Run or list a service's commands, in the environment of its deployments
    Run(run::Arguments),
    /// Check that this host is ready
    Doctor(doctor::Arguments),
    /// List and inspect deployments
    #[command(subcommand)]
    Deployment(deployment::Verb),
    /// Declare, list, remove and serve CGI functions
    #[command(subcommand)]
    Cgi(cgi::Verb),
    /// Generate shell completions: `. <(conductor completions bash)`
    Completions {
        /// Shell to generate them for
        shell: complete::Shell,
    },
    /// Run the hook of conductor-proxy.service
    #[command(subcommand, hide = true)]
    Proxy(proxy::Verb),
}

/// Returns the description of the command line, for manuals.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Hooks inherit the sandbox's UMask=0077, but the proxy has to walk through the slots.
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    complete::answer(Cli::command);
    let outcome = parse_and_run();
    let written = output::finish();
    let outcome = match (outcome, written) {
        // Findings and changes that could not be written must not pass for success.
        (Ok(()) | Err(Failure::Exit(_)), Err(unwritten)) => Err(unwritten),
        (outcome, _) => outcome,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Exit(code)) => ExitCode::from(code),
        Err(failure) => {
            log::failure(log::Failure::Command, &failure.coloured());
            ExitCode::from(failure.code())
        }
    }
}

fn parse_and_run() -> Outcome {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => error.exit(),
        // Help, or the version.
        Err(requested) => {
            output::write_coloured(format_args!("{}", requested.render().ansi()));
            return Ok(());
        }
    };
    check_descriptors()?;
    let context = Context::new(cli.user, &cli.root)?;
    run(&context, cli.noun)
}

/// Open files that every command gets by with; systemd gives its services 1024, and people have as many.
const DESCRIPTORS: u64 = 64;

/// Refuses to work with so few open files that libraries would panic in the middle of a change.
fn check_descriptors() -> Outcome {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit.filter(|limit| *limit < DESCRIPTORS) {
        None => Ok(()),
        Some(limit) => {
            let remedy = format!("`ulimit -n {DESCRIPTORS}`");
            Err(Failure::Failed(format!("the limit of open files is {limit}, less than {DESCRIPTORS}: {remedy}")))
        }
    }
}

fn run(context: &Context, noun: Noun) -> Outcome {
    match &noun {
        Noun::DaemonReload | Noun::Doctor(_) | Noun::Status(_) | Noun::Metrics | Noun::Run(_) => {
            context.must_be_this_machine()?;
        }
        Noun::Plan(arguments) if arguments.is_of_this_host() => context.must_be_this_machine()?,
        _ => {}
    }
    match noun {
        Noun::DaemonReload => daemon_reload::run(context),
        Noun::Doctor(arguments) => doctor::run(context, &arguments),
        Noun::New(arguments) => new::run(context, &arguments),
        Noun::Import(arguments) => import::run(&arguments),
        Noun::Status(arguments) => status::run(context, &arguments),
        Noun::Metrics => metrics::run(context),
        Noun::Plan(arguments) => plan::run(context, &arguments),
        Noun::Diff(arguments) => diff::run(context, &arguments),
        Noun::Explain(arguments) => explain::run(context, &arguments),
        Noun::Render(arguments) => render::run(context, &arguments),
        Noun::Check(arguments) => check::run(context, &arguments),
        Noun::Service(verb) => service::run(context, verb),
        Noun::Run(arguments) => run::run(context, &arguments),
        Noun::Deployment(verb) => deployment::run(context, verb),
        Noun::Cgi(verb) => cgi::run(context, verb),
        Noun::Completions { shell } => complete::print(shell),
        Noun::Proxy(verb) => proxy::run(context, verb),
    }
}
