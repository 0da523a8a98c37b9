//! `conductor deployment …`

mod list;
pub mod row;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::{Context, Failure, Outcome, environment, journal};
use crate::deployment::hook::{self, Part};
use crate::deployment::{prepare, wake};
use crate::engine::podman;
use crate::names::Deployment;
use crate::timespan;

#[derive(Subcommand)]
pub enum Verb {
    /// List the deployments that run
    List {
        /// Only of this service
        service: Option<String>,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show one deployment
    Show {
        /// Its unit, or the name of its directory
        #[arg(value_name = "UNIT|DEPLOYMENT")]
        deployment: String,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Print the environment that its process and hooks get; systemd adds its own, systemd.exec(5)
    Env {
        /// Its unit, or the name of its directory
        #[arg(value_name = "UNIT|DEPLOYMENT")]
        deployment: String,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show what one deployment logged, journalctl(1)
    Logs {
        /// Its unit, or the name of its directory
        #[arg(value_name = "UNIT|DEPLOYMENT")]
        deployment: String,
        #[command(flatten)]
        options: journal::Options,
    },
    /// ExecStartPost= of a deployment: wait for health, take the slots
    #[command(name = "_start", hide = true)]
    StartHook {
        /// Do only this part
        #[arg(long)]
        only: Option<Only>,
        #[command(flatten)]
        common: Common,
    },
    /// ExecStartPre= of a deployment: what must be there before its process
    #[command(name = "_prepare", hide = true)]
    PrepareHook {
        #[command(flatten)]
        common: Common,
    },
    /// ExecStart= of a container or pod: become this command, outside of the unit's own sandbox
    #[command(name = "_host", hide = true)]
    Host {
        /// To start the pod of this DEPLOYMENTDIR, in a control group below the unit's own
        #[arg(long, value_name = "DEPLOYMENTDIR")]
        pod: Option<Utf8PathBuf>,
        /// What podman is to find is there already
        #[arg(long, requires = "pod")]
        prepared: bool,
        program: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// ExecStart= of a bridge: wait until the deployment is ready, then become this command, with where it listens
    #[command(name = "_relay", hide = true)]
    Relay {
        #[command(flatten)]
        common: Common,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// ExecStop= of a deployment: leave the slots, drain
    #[command(name = "_stop", hide = true)]
    StopHook {
        /// Then have podman stop and remove it
        #[arg(long)]
        remove: bool,
        #[command(flatten)]
        common: Common,
    },
    /// ExecStop= of a deployment: run the drain hook in what is left of the time to drain
    #[command(name = "_drain", hide = true)]
    DrainHook {
        #[command(flatten)]
        common: Common,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// ExecStopPost= of a deployment: leave nothing behind
    #[command(name = "_cleanup", hide = true)]
    CleanupHook {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Only {
    Address,
    Health,
    Slots,
}

#[derive(Args)]
pub struct Common {
    /// How long this may take, systemd.time(7)
    #[arg(long, default_value = "60s", value_parser = span)]
    timeout: Duration,
    #[arg(value_name = "DEPLOYMENTDIR")]
    dir: Utf8PathBuf,
}

fn span(text: &str) -> Result<Duration, String> {
    timespan::parse(text).ok_or_else(|| "not a time span like 30s".to_owned())
}

/// `hello-0123456789ab@1.service`, with or without its suffix, or `hello-0123456789ab-1`.
fn named(text: &str) -> Result<Deployment, Failure> {
    let unit = if text.ends_with(".service") { text.to_owned() } else { format!("{text}.service") };
    Deployment::from_unit(&unit).or_else(|| Deployment::from_dir(text.into())).ok_or_else(|| {
        Failure::Usage(format!("{text:?} is not a deployment's unit; `conductor deployment list` shows what runs"))
    })
}

/// What is said of a deployment that is not there.
fn unknown(deployment: &Deployment) -> Failure {
    Failure::Failed(format!("{} does not run; `conductor deployment list` shows what does", deployment.unit()))
}

fn deployment(common: &Common) -> Result<Deployment, Failure> {
    of_dir(&common.dir)
}

fn of_dir(dir: &Utf8Path) -> Result<Deployment, Failure> {
    Deployment::from_dir(dir).ok_or_else(|| Failure::Usage(format!("{dir} is not the directory of a deployment")))
}

/// systemd.exec(5)
fn main_pid() -> Option<u32> {
    std::env::var("MAINPID").ok()?.parse().ok()
}

pub fn run(context: &Context, verb: Verb) -> Outcome {
    let Context { layout, manager } = context;
    match verb {
        Verb::List { service, json } => list::list(context, service.as_deref(), json)?,
        Verb::Show { deployment, json } => list::show(context, &named(&deployment)?, json)?,
        Verb::Env { deployment, json } => {
            environment::print(&row::environment(context, &named(&deployment)?)?, json)?;
        }
        Verb::Logs { deployment, options } => {
            context.must_be_this_machine()?;
            journal::show(context, &[format!("--unit={}", named(&deployment)?.unit())], &options)?;
        }
        Verb::StartHook { only, common } => {
            let part = match only {
                None => Part::All,
                Some(Only::Address) => Part::Address,
                Some(Only::Health) => Part::Health,
                Some(Only::Slots) => Part::Slots,
            };
            hook::start(layout, *manager, &deployment(&common)?, part, common.timeout, main_pid())?;
        }
        Verb::Relay { common, command } => {
            let Err(error) = wake::relay(layout, *manager, &deployment(&common)?, &command);
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
        Verb::StopHook { remove, common } => {
            let deployment = deployment(&common)?;
            hook::stop(layout, *manager, &deployment, common.timeout, main_pid())?;
            if remove {
                hook::remove_left(layout, &deployment);
            }
        }
        Verb::DrainHook { common, command } => hook::drain(layout, &deployment(&common)?, common.timeout, &command)?,
        Verb::CleanupHook { common } => {
            let result = std::env::var("SERVICE_RESULT").unwrap_or_default();
            hook::cleanup(layout, *manager, &deployment(&common)?, &result)?;
        }
    }
    Ok(())
}
