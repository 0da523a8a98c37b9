//! `conductor daemon-reload`

use super::service::report;
use super::{Context, Failure, Outcome};
use crate::compile;
use crate::diagnostic::Diagnostics;
use crate::live;
use crate::model::ServiceName;
use crate::proxy;
use crate::service::hook;
use crate::service::plan::Plan;

/// systemd's daemon-reload, then every service to what is declared: started, reloaded or stopped.
pub fn run(context: &Context) -> Outcome {
    let Context { layout, manager } = context;
    manager.daemon_reload()?;
    let host = compile::compile(layout, context.systemd());
    let live = live::all(layout);
    let names: Vec<_> = host.services.keys().cloned().collect();
    let states = manager.states(&names.iter().map(unit).collect::<Vec<_>>())?;
    let (mut start, mut reload) = (Vec::new(), Vec::new());
    for ((name, compiled), state) in host.services.iter().zip(&states) {
        let at_boot = !compiled.service.wanted_by.is_empty();
        match state.as_str() {
            "active" | "reloading" if needs_reload(context, name, compiled)? => reload.push(name.clone()),
            "inactive" | "failed" if at_boot && !hook::is_stopped(layout, name) => start.push(name.clone()),
            _ => {}
        }
    }
    let gone =
        |name: &&ServiceName| !host.services.contains_key(name) && !host.errors.contains_key(&Some((*name).clone()));
    let stop: Vec<_> = live.keys().filter(gone).cloned().collect();
    carry_out(context, &start, &reload, &stop)?;
    proxy::republish(*manager)?;
    let errors: Vec<_> = host.errors.into_values().flat_map(|errors| errors.0).collect();
    Ok(Diagnostics(errors).into_result()?)
}

fn unit(name: &ServiceName) -> String {
    format!("{name}.service")
}

fn needs_reload(context: &Context, name: &ServiceName, compiled: &compile::Compiled) -> Result<bool, Failure> {
    let present = hook::present(&context.layout, context.manager, name)?;
    let same = present.target.as_ref().is_some_and(|target| target.digests == compiled.digests);
    let plan = Plan::new(name, &compiled.id, &compiled.digests, compiled.service.concurrency, &present);
    Ok(!same || !plan.is_nothing())
}

/// All services of a kind at a time: systemd works on them side by side.
fn carry_out(context: &Context, start: &[ServiceName], reload: &[ServiceName], stop: &[ServiceName]) -> Outcome {
    let Context { layout, manager } = context;
    let units = |names: &[ServiceName]| names.iter().map(unit).collect::<Vec<_>>();
    let stopped = manager.stop(&units(stop));
    if !stop.is_empty() {
        manager.daemon_reload()?;
    }
    for name in stop {
        hook::forget(layout, *manager, name)?;
        println!("{name}: stopped, it is not declared any more");
    }
    let started = manager.start(&units(start));
    let reloaded = manager.reload(&units(reload));
    let mut failed = Vec::new();
    for name in start.iter().chain(reload) {
        match hook::failure(layout, name) {
            Some(why) => failed.push(format!("{name}: {why}")),
            None => report(context, name)?,
        }
    }
    if start.is_empty() && reload.is_empty() && stop.is_empty() {
        println!("every service is as declared");
    }
    if !failed.is_empty() {
        return Err(Failure::Failed(failed.join("\n\n")));
    }
    stopped?;
    started?;
    Ok(reloaded?)
}
