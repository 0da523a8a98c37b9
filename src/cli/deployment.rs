//! `conductor deployment …`

mod list;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::words::span;
use crate::cli::{environment, journal, row};
use crate::deployment::hook::{self, Part};
use crate::deployment::{prepare, stop, wake};
use crate::engine::podman;
use crate::model::{Check, Command, Health};
use crate::names::Deployment;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the deployments that run
    List {
        /// List deployments of this service only
        service: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a deployment
    Show {
        /// Unit of the deployment, or the name of its directory
        #[arg(value_name = "UNIT|DEPLOYMENT")]
        deployment: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the environment of its process and hooks, systemd.exec(5)
    Env {
        /// Unit of the deployment, or the name of its directory
        #[arg(value_name = "UNIT|DEPLOYMENT")]
        deployment: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the log of a deployment, journalctl(1)
    Logs {
        /// Unit of the deployment, or the name of its directory
        #[arg(value_name = "UNIT|DEPLOYMENT")]
        deployment: String,
        #[command(flatten)]
        options: journal::Options,
    },
    /// Run ExecStartPost= of a deployment: wait until it is healthy, take its slots
    #[command(name = "_start", hide = true)]
    StartHook {
        /// Do only this step
        #[arg(long)]
        only: Option<Only>,
        #[command(flatten)]
        common: Common,
    },
    /// Run ExecStartPost= of a deployment: the command that checks its health, until it passes
    #[command(name = "_check", hide = true)]
    CheckHook {
        /// Pause between two attempts
        #[arg(long, value_parser = span)]
        interval: Duration,
        /// Time limit of one attempt
        #[arg(long, value_parser = span)]
        attempt: Duration,
        /// Number of attempts [default: as many as the time allows]
        #[arg(long)]
        retries: Option<u32>,
        /// Run the command in the deployment's container
        #[arg(long)]
        inside: bool,
        #[command(flatten)]
        common: Common,
        /// Command to run
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run ExecStartPre= of a deployment: prepare what its process needs
    #[command(name = "_prepare", hide = true)]
    PrepareHook {
        #[command(flatten)]
        common: Common,
    },
    /// Run ExecStart= of a container or pod: become a command outside of the unit's own sandbox
    #[command(name = "_host", hide = true)]
    Host {
        /// Start the pod of this DEPLOYMENTDIR in a control group below the unit's own
        #[arg(long, value_name = "DEPLOYMENTDIR")]
        pod: Option<Utf8PathBuf>,
        /// Skip the preparation, which another hook has done
        #[arg(long, requires = "pod")]
        prepared: bool,
        /// Program to become
        program: String,
        /// Arguments of the program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Become a command in the deployment's container
    #[command(name = "_inside", hide = true)]
    Inside {
        /// Directory of the deployment
        #[arg(value_name = "DEPLOYMENTDIR")]
        dir: Utf8PathBuf,
        /// Command to run
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run ExecStart= of a bridge: wait until the deployment is ready, then become a command that connects to it
    #[command(name = "_relay", hide = true)]
    Relay {
        /// Add the deployment's address to the command
        #[arg(long)]
        address: bool,
        #[command(flatten)]
        common: Common,
        /// Command to become
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run ExecStop= of a deployment: release its slots and drain it
    #[command(name = "_stop", hide = true)]
    StopHook {
        /// Limit the time to wait for a connection that its caller has closed, systemd.time(7)
        #[arg(long, default_value = "5s", value_parser = span)]
        abandoned: Duration,
        /// Send this signal to the process once the slots are released
        #[arg(long)]
        signal: Option<String>,
        /// Do only this step
        #[arg(long)]
        only: Option<StopStep>,
        /// Then have podman stop and remove it
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Run ExecStop= of a deployment: the drain hook, in the rest of the time to drain
    #[command(name = "_drain", hide = true)]
    DrainHook {
        #[command(flatten)]
        common: Common,
        /// Drain hook to run
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run ExecStop= of a deployment: have podman stop and remove it
    #[command(name = "_remove", hide = true)]
    RemoveHook {
        #[command(flatten)]
        common: Common,
    },
    /// Run ExecStopPost= of a deployment: remove what it left
    #[command(name = "_cleanup", hide = true)]
    CleanupHook {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Only {
    Address,
    Health,
    Slots,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum StopStep {
    Leave,
    Drain,
}

#[derive(Args)]
pub(crate) struct Common {
    /// Limit the time that this takes, systemd.time(7)
    #[arg(long, default_value = "60s", value_parser = span)]
    timeout: Duration,
    /// Directory of the deployment
    #[arg(value_name = "DEPLOYMENTDIR")]
    dir: Utf8PathBuf,
}

/// Parses `hello-0123456789ab@1.service`, with or without its suffix, or `hello-0123456789ab-1`.
fn named(text: &str) -> Result<Deployment, Failure> {
    let unit = if text.ends_with(".service") { text.to_owned() } else { format!("{text}.service") };
    Deployment::from_unit(&unit).or_else(|| Deployment::from_dir(text.into())).ok_or_else(|| {
        Failure::Usage(format!("{text:?} is not a deployment's unit; `conductor deployment list` shows what runs"))
    })
}

fn deployment(common: &Common) -> Result<Deployment, Failure> {
    of_dir(&common.dir)
}

fn of_dir(dir: &Utf8Path) -> Result<Deployment, Failure> {
    Deployment::from_dir(dir).ok_or_else(|| Failure::Usage(format!("{dir} is not the directory of a deployment")))
}

/// Returns the unit's main process, systemd.exec(5).
fn main_pid() -> Option<u32> {
    std::env::var("MAINPID").ok()?.parse().ok()
}

pub(crate) fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::List { service, json } => list::list(context, service.as_deref(), json),
        Verb::Show { deployment, json } => list::show(context, &named(&deployment)?, json),
        Verb::Env { deployment, json } => environment::print(&row::environment(context, &named(&deployment)?)?, json),
        Verb::Logs { deployment, options } => {
            context.must_be_this_machine()?;
            journal::show(context, &[format!("--unit={}", named(&deployment)?.unit())], &options)
        }
        verb => run_hook(context, verb),
    }
}

fn run_hook(context: &Context, verb: Verb) -> Outcome {
    let Context { layout, manager } = context;
    match verb {
        Verb::StartHook { only, common } => {
            let part = match only {
                None => Part::All,
                Some(Only::Address) => Part::Address,
                Some(Only::Health) => Part::Health,
                Some(Only::Slots) => Part::Slots,
            };
            hook::start(layout, *manager, &deployment(&common)?, part, common.timeout, main_pid())?;
        }
        Verb::CheckHook { interval, attempt, retries, inside, common, command } => {
            let (deployment, command) = (deployment(&common)?, Command(command));
            let health = |check| Health { check, interval, timeout: attempt, retries, listener: None, live: None };
            if inside {
                let health = health(Check::Inside { container: hook::container(layout, &deployment)?, command });
                hook::check_inside(layout, &deployment, &health, common.timeout, main_pid())?;
            } else {
                hook::check(&deployment, &health(Check::Exec { command }), common.timeout, main_pid())?;
            }
        }
        Verb::Inside { dir, command } => {
            let container = hook::container(layout, &of_dir(&dir)?)?;
            let arguments: Vec<_> = ["exec".to_owned(), container].into_iter().chain(command).collect();
            let Err(error) = podman::host::become_command(layout, None, "podman", &arguments);
            return Err(error.into());
        }
        Verb::Relay { address, common, command } => {
            let Err(error) = wake::relay(layout, *manager, &deployment(&common)?, address, &command);
            return Err(error.into());
        }
        Verb::PrepareHook { common } => prepare::prepare(layout, &deployment(&common)?)?,
        Verb::Host { pod, prepared, program, arguments } => {
            if let Some(dir) = &pod
                && !prepared
            {
                prepare::prepare(layout, &of_dir(dir)?)?;
            }
            let Err(error) = podman::host::become_command(layout, pod.as_deref(), &program, &arguments);
            return Err(error.into());
        }
        Verb::StopHook { abandoned, signal, only, remove, common } => {
            let deployment = deployment(&common)?;
            let part = match only {
                None => stop::Part::All,
                Some(StopStep::Leave) => stop::Part::Leave,
                Some(StopStep::Drain) => stop::Part::Drain,
            };
            let drain = stop::Drain { timeout: common.timeout, abandoned, signal };
            stop::stop(layout, *manager, &deployment, part, &drain, main_pid())?;
            if remove {
                stop::remove(layout, &deployment);
            }
        }
        Verb::RemoveHook { common } => stop::remove(layout, &deployment(&common)?),
        Verb::DrainHook { common, command } => stop::drain(layout, &deployment(&common)?, common.timeout, &command)?,
        Verb::CleanupHook { common } => {
            let result = std::env::var("SERVICE_RESULT").unwrap_or_default();
            hook::cleanup(layout, *manager, &deployment(&common)?, &result)?;
        }
        Verb::List { .. } | Verb::Show { .. } | Verb::Env { .. } | Verb::Logs { .. } => {}
    }
    Ok(())
}
