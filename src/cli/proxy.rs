//! `conductor proxy …`

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::proxy::driver::Driver;
use crate::proxy::publish::{self, Published};
use crate::proxy::published;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run ExecStart= and ExecReload= of conductor-proxy.service
    #[command(name = "_publish")]
    Publish,
    /// Run ExecStartPre= and ExecReload= of the proxy: note what it is about to load
    #[command(name = "_loading")]
    Loading {
        /// Choose its options as well, before a start
        #[arg(long)]
        start: bool,
    },
    /// Run ExecStartPost= and ExecReload= of the proxy: confirm that it has loaded that
    #[command(name = "_loaded")]
    Loaded,
    /// Run ExecStopPost= of the proxy: nothing is loaded
    #[command(name = "_stopped")]
    Stopped,
}

pub(crate) fn run(context: &Context, verb: Verb) -> Outcome {
    let Context { layout, manager } = context;
    match verb {
        Verb::Loading { start } => published::begin(layout, Driver::of_host(), start)?,
        Verb::Loaded => published::confirm(layout, Driver::of_host())?,
        Verb::Stopped => published::forget(layout, Driver::of_host())?,
        Verb::Publish => match publish::publish(layout, *manager)? {
            Published::Changed => outln!("published; {} reloads", Driver::of_host().title()),
            Published::Unchanged => outln!("nothing changed"),
        },
    }
    Ok(())
}
