//! `conductor proxy …`

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::proxy::driver::Driver;
use crate::proxy::publish::{self, Published};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run ExecStart= and ExecReload= of conductor-proxy.service
    #[command(name = "_publish")]
    Publish,
}

pub(crate) fn run(context: &Context, verb: Verb) -> Outcome {
    match verb {
        Verb::Publish => {
            let Context { layout, manager } = context;
            match publish::publish(layout, *manager)? {
                Published::Changed => outln!("published; {} reloads", Driver::of_host().title()),
                Published::Unchanged => outln!("nothing changed"),
            }
        }
    }
    Ok(())
}
