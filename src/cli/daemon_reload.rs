//! `conductor daemon-reload`

use std::io;
use std::panic::resume_unwind;
use std::thread;

use rustix::process::setpriority_process;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::compile;
use crate::compile::host::Host;
use crate::function;
use crate::service::converge::converge;
use crate::service::plan::{self, Job};
use crate::service::store;

/// The lowest priority that a thread can have.
const LOWEST_PRIORITY: i32 = 19;

/// Runs systemd's daemon-reload, then carries out what `conductor plan` shows.
pub(crate) fn run(context: &Context) -> Outcome {
    let Context { layout, manager } = context;
    let machine = context.machine();
    let (host, swept) = reload_and_compile(context)?;
    let plans = plan::all(layout, &host, &manager.listing()?)?;
    let outcome = converge(&machine, &plans);
    if plans.values().all(|plan| plan.job == Job::Nothing) && host.errors.is_empty() {
        outln!("every service is as declared");
    }
    function::converge::converge(&machine, &host)?;
    function::converge::publish(&machine, &host)?;
    outcome?;
    host.into_errors().into_result()?;
    Ok(swept?)
}

/// Compiles the declarations and sweeps what killed commands left, while systemd loads its units with one processor.
/// This gives way to the generators, which systemd waits for.
fn reload_and_compile(context: &Context) -> Result<(Host, io::Result<()>), Failure> {
    thread::scope(|scope| {
        let compile = || {
            let _ = setpriority_process(None, LOWEST_PRIORITY); // of this thread, setpriority(2)
            let host = compile::compile(&context.layout, &context.target());
            (host, store::sweep(&context.layout))
        };
        let host = thread::Builder::new().spawn_scoped(scope, compile)?;
        context.manager.daemon_reload()?;
        Ok(host.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}
