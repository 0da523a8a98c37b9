//! `conductor proxy …`

use clap::Subcommand;

use crate::cli::output::outln;
use crate::cli::{Context, Outcome};
use crate::proxy::driver::Driver;
use crate::proxy::publish::{self, Published};

#[derive(Subcommand)]
pub enum Verb {
    /// ExecStart= and ExecReload= of conductor-proxy.service
    #[command(name = "_publish")]
    Publish,
}

pub fn run(context: &Context, verb: Verb) -> Outcome {
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
