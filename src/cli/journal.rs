//! Logs, by journalctl(1).

use std::os::unix::process::CommandExt;

use clap::Args;

use crate::cli::{Context, Failure, Outcome};

#[derive(Args)]
pub struct Options {
    /// Go on with what is logged from now on
    #[arg(short, long)]
    follow: bool,
    /// So many of the last lines; all when left out
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    /// Options of journalctl's
    #[arg(last = true, value_name = "OPTION")]
    others: Vec<String>,
}

/// Becomes journalctl, which shows what matches.
pub fn show(context: &Context, matches: &[String], options: &Options) -> Outcome {
    let mut command = context.manager.journalctl();
    if options.follow {
        command.arg("--follow");
    }
    if let Some(lines) = options.lines {
        command.arg(format!("--lines={lines}"));
    }
    let error = command.args(&options.others).args(matches).exec();
    Err(Failure::Failed(format!("journalctl cannot be run: {error}")))
}
