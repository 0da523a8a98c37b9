//! `conductor daemon-reload`

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;

use rustix::process::setpriority_process;

use crate::cli::output::outln;
use crate::cli::service::report;
use crate::cli::{Context, Failure, Outcome, cgi, declare, progress};
use crate::compile::host::Host;
use crate::layout::Layout;
use crate::names::ServiceName;
use crate::proxy::publish;
use crate::service::plan::{self, Action, Job, Plan};
use crate::service::{hook, store};
use crate::source::search;
use crate::{atomic, compile};

/// The lowest priority there is.
const LEAST: i32 = 19;

/// systemd's daemon-reload, then every service to what is declared: what `conductor plan` shows.
pub fn run(context: &Context) -> Outcome {
    let Context { layout, manager } = context;
    let host = reload_and_compile(context)?;
    let plans = plan::all(layout, &host, &manager.listing()?)?;
    let outcome = carry_out(context, &plans);
    for plan in plans.values().filter(|plan| plan.actions.contains(&Action::Forget)) {
        for name in [Some(&plan.name), plan.with.as_ref()].into_iter().flatten() {
            forget(layout, name)?;
            declare::release(context, name, &[])?;
        }
    }
    cgi::converge(context, &host)?;
    store::sweep(layout)?;
    if !publish::is_published(layout, &host.tree) {
        publish::republish(*manager)?;
    }
    outcome?;
    Ok(host.into_errors().into_result()?)
}

/// systemd loads its units with one processor; what they are compiled from is read beside that, and gives way to
/// the generators, which systemd waits for.
fn reload_and_compile(context: &Context) -> Result<Host, Failure> {
    thread::scope(|scope| {
        let compile = || {
            let _ = setpriority_process(None, LEAST); // of this thread, setpriority(2)
            compile::compile(&context.layout, context.systemd())
        };
        let host = thread::Builder::new().spawn_scoped(scope, compile)?;
        context.manager.daemon_reload()?;
        Ok(host.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Forgets a service that was not declared, unless somebody is just declaring it.
fn forget(layout: &Layout, name: &ServiceName) -> std::io::Result<()> {
    let place = layout.at(&layout.declaring(name));
    if atomic::is_locked(&place) {
        return Ok(());
    }
    let _lock = atomic::lock(&place)?;
    if search::find_one(layout, name).is_none() {
        hook::forget(layout, name)?;
    }
    atomic::remove_file(&place)
}

/// All services of a kind at a time: systemd works on them side by side.
fn carry_out(context: &Context, plans: &BTreeMap<ServiceName, Plan>) -> Outcome {
    let manager = context.manager;
    let due = |job| plans.values().filter(move |plan| plan.job == job).map(|plan| &plan.name);
    let with = |job| plans.values().filter(move |plan| plan.job == job).filter_map(|plan| plan.with.as_ref());
    let units = |job| {
        let names: BTreeSet<_> = due(job).chain(with(job)).collect();
        names.into_iter().map(|name| name.unit()).collect::<Vec<_>>()
    };
    let stopped = manager.stop(&units(Job::Stop));
    if due(Job::Stop).next().is_some() {
        manager.daemon_reload()?;
    }
    for name in due(Job::Stop) {
        outln!("{name}: stopped, it is not declared any more");
    }
    let dependency: Vec<_> = due(Job::Start).chain(due(Job::Reload)).cloned().collect();
    let (started, reloaded) = progress::during(manager, &dependency, || {
        (manager.start(&units(Job::Start)), manager.reload(&units(Job::Reload)))
    });
    let mut failed = Vec::new();
    for name in due(Job::Start).chain(due(Job::Reload)) {
        match hook::failure(&context.layout, name) {
            Some(why) => failed.push(format!("{name}: {why}")),
            None => report(context, name)?,
        }
    }
    if plans.values().all(|plan| plan.job == Job::Nothing) {
        outln!("every service is as declared");
    }
    if !failed.is_empty() {
        return Err(Failure::Failed(failed.join("\n\n")));
    }
    stopped?;
    started?;
    Ok(reloaded?)
}
