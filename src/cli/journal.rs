//! Logs, shown by journalctl(1).

use std::os::unix::process::CommandExt;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};

#[derive(Args)]
pub(crate) struct Options {
    /// Follow the log
    #[arg(short, long)]
    follow: bool,
    /// Show the last N lines [default: all]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    /// Pass options to journalctl
    #[arg(last = true, value_name = "OPTION")]
    others: Vec<String>,
}

/// Becomes journalctl, which shows the matching lines.
pub(crate) fn show(context: &Context, matches: &[String], options: &Options) -> Outcome {
    let mut command = context.manager.journalctl();
    if options.follow {
        command.arg("--follow");
    }
    if let Some(lines) = options.lines {
        command.arg(format!("--lines={lines}"));
    }
    let error = command.args(&options.others).args(matches).exec();
    Err(Failure::Failed(format!("could not run journalctl: {error}")))
}
