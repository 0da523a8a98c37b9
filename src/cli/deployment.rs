//! `conductor deployment …`

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};

use super::{Context, Failure, Outcome};
use crate::deployment::Deployment;
use crate::deployment::hook::{self, Part};
use crate::timespan;

#[derive(Subcommand)]
pub enum Verb {
    /// ExecStartPost= of a deployment: wait for health, take the slots
    #[command(name = "_start")]
    Start {
        /// Do only this part
        #[arg(long)]
        only: Option<Only>,
        #[command(flatten)]
        common: Common,
    },
    /// ExecStop= of a deployment: leave the slots, drain
    #[command(name = "_stop")]
    Stop {
        #[command(flatten)]
        common: Common,
    },
    /// ExecStopPost= of a deployment: leave nothing behind
    #[command(name = "_cleanup")]
    Cleanup {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Only {
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

fn deployment(common: &Common) -> Result<Deployment, Failure> {
    let dir = &common.dir;
    Deployment::from_dir(dir).ok_or_else(|| Failure::Usage(format!("{dir} is not the directory of a deployment")))
}

pub fn run(context: &Context, verb: Verb) -> Outcome {
    let Context { layout, manager } = context;
    match verb {
        Verb::Start { only, common } => {
            let part = match only {
                None => Part::Both,
                Some(Only::Health) => Part::Health,
                Some(Only::Slots) => Part::Slots,
            };
            let main_pid = std::env::var("MAINPID").ok().and_then(|pid| pid.parse().ok());
            hook::start(layout, &deployment(&common)?, part, common.timeout, main_pid)?;
        }
        Verb::Stop { common } => hook::stop(layout, *manager, &deployment(&common)?, common.timeout)?,
        Verb::Cleanup { common } => hook::cleanup(layout, *manager, &deployment(&common)?)?,
    }
    Ok(())
}
