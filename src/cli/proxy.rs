//! `conductor proxy …`

use std::collections::BTreeSet;

use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::proxy::driver::Driver;
use crate::proxy::publish::{self, Published};
use crate::proxy::{access, loaded, published};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run ExecStart= and ExecReload= of conductor-proxy.service
    #[command(name = "_publish")]
    Publish,
    /// Run ExecStartPre= and ExecReload= of the proxy: note what it is about to load
    #[command(name = "_loading")]
    Loading {
        #[arg(value_parser = driver)]
        proxy: Driver,
        /// Choose its options as well, before a start
        #[arg(long)]
        start: bool,
    },
    /// Run ExecStartPost= and ExecReload= of the proxy: confirm that it has loaded that
    #[command(name = "_loaded")]
    Loaded {
        #[arg(value_parser = driver)]
        proxy: Driver,
    },
    /// Run ExecStopPost= of the proxy: nothing is loaded
    #[command(name = "_stopped")]
    Stopped {
        #[arg(value_parser = driver)]
        proxy: Driver,
    },
}

/// Reads the name of a driver.
pub(crate) fn driver(name: &str) -> Result<Driver, String> {
    let known = Driver::ALL.into_iter().find(|driver| driver.name() == name);
    known.ok_or_else(|| format!("write one of {}", Driver::ALL.map(Driver::name).join(", ")))
}

pub(crate) fn run(context: &Context, verb: Verb) -> Outcome {
    let Context { layout, manager } = context;
    match verb {
        Verb::Loading { proxy, start } => {
            if start {
                publish::publish_before_start(layout, *manager, proxy)?;
            }
            access::settle(layout)?;
            let workers = main_process().map_or_else(BTreeSet::new, loaded::workers);
            published::begin(layout, proxy, start, &workers)?;
        }
        Verb::Loaded { proxy } => {
            if let Some(main) = main_process().filter(|_| proxy.reloads_in_background())
                && let Some((files, workers)) = published::loading(layout, proxy)?
            {
                loaded::wait(proxy, main, &workers, &files)?;
            }
            published::confirm(layout, proxy)?;
        }
        Verb::Stopped { proxy } => published::forget(layout, proxy)?,
        Verb::Publish => match publish::publish(layout, *manager)? {
            Published::Changed => outln!("published; the proxy reloads"),
            Published::Unchanged => outln!("nothing changed"),
        },
    }
    Ok(())
}

/// Returns the main process of the unit whose command this is, systemd.exec(5).
fn main_process() -> Option<u32> {
    std::env::var("MAINPID").ok()?.parse().ok()
}
