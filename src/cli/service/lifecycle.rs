//! `conductor service start|stop|reload`: systemd's verbs, with the reason when they fail.

use crate::cli::declare::lock_declared;
use crate::cli::output::outln;
use crate::cli::service::{held_back, image, members};
use crate::cli::{Context, Failure, Outcome, progress};
use crate::compile;
use crate::deployment::state;
use crate::live::{self, Target};
use crate::log::note;
use crate::names::ServiceName;
use crate::service::hook;
use crate::source::search;
use crate::systemd::Manager;

/// # Errors
/// If there is no such service, neither declared nor running.
fn must_exist(context: &Context, name: &ServiceName) -> Outcome {
    if live::of(&context.layout, name).is_none() && live::parts_of(&context.layout, name).is_empty() {
        context.location(name.as_str())?;
    }
    Ok(())
}

pub fn start(context: &Context, name: &ServiceName) -> Outcome {
    let _held = lock_declared(context, name)?;
    if context.manager.property(&name.unit(), "LoadState")? == "not-found" {
        context.manager.daemon_reload()?;
    }
    bring_with(context, name, |manager, units| manager.start(units))?;
    // One whose whole runs was stopped alone.
    for part in members(&context.layout, name).iter().filter(|part| *part != name) {
        context.manager.start(&[part.unit()]).map_err(|error| reason(context, part, &error))?;
    }
    report(context, name)
}

pub fn stop(context: &Context, name: &ServiceName) -> Outcome {
    must_exist(context, name)?;
    let ran = context.manager.property(&name.unit(), "ActiveState")? != "inactive";
    context.manager.stop(&[name.unit()])?;
    outln!("{name}: {}", if ran { "stopped" } else { "was not running" });
    Ok(())
}

pub fn reload(context: &Context, name: &ServiceName) -> Outcome {
    // Else it would start again what is just being removed.
    let (_lock, location) = lock_declared(context, name)?;
    // What does not compile says so when it is brought.
    let layout = &context.layout;
    let services = compile::compile_all(layout, &location, &layout.at(&location.dir), &location.dir, context.systemd());
    let pins = image::pin_all(context, &services.unwrap_or_default())?;
    bring(context, name).or_else(|failure| {
        pins.undo(layout)?;
        Err(failure)
    })?;
    report(context, name)
}

/// Starts a service, or reloads it if it runs; waits, and says why when it fails.
pub fn bring(context: &Context, name: &ServiceName) -> Outcome {
    match context.manager.property(&name.unit(), "ActiveState")?.as_str() {
        "active" | "reloading" => bring_with(context, name, |manager, units| manager.reload(units)),
        _ => bring_with(context, name, |manager, units| manager.start(units)),
    }
}

type Started = Result<(), crate::systemd::Error>;

/// Shows how far it is meanwhile.
fn bring_with(context: &Context, name: &ServiceName, job: impl FnOnce(Manager, &[String]) -> Started) -> Outcome {
    let manager = context.manager;
    let dependency = progress::during(manager, &members(&context.layout, name), || job(manager, &[name.unit()]));
    dependency.map_err(|error| reason(context, name, &error))
}

fn reason(context: &Context, name: &ServiceName, error: &crate::systemd::Error) -> Failure {
    // A hook that could not even say why has said so to the journal.
    let words = || format!("{error}\n{}", context.manager.journal(&name.unit(), 5));
    Failure::Failed(hook::failure(&context.layout, name).unwrap_or_else(words))
}

/// One line about what serves now, for each part where there are some.
pub fn report(context: &Context, name: &ServiceName) -> Outcome {
    members(&context.layout, name).iter().try_for_each(|member| report_one(context, member))
}

fn report_one(context: &Context, name: &ServiceName) -> Outcome {
    if let Some(target) = Target::read(&context.layout, name)? {
        let ready = state::ready(&context.layout, name)?.len();
        outln!("{name}: generation {} serves with {ready} of {} deployments", target.generation, target.concurrency);
    } else if let Some(location) = search::find_one(&context.layout, name) {
        let compiled = compile::compile_located(&context.layout, &location, context.systemd())?;
        if let Some(why) = held_back(context, &compiled.service, "inactive") {
            outln!("{name}: {why}");
        }
    }
    Ok(())
}

/// Brings what runs of a service to a declaration that has just changed; what is stopped stays so.
/// Where that fails, `put_back` makes the declaration what it was, and the service follows it.
pub fn follow(context: &Context, name: &ServiceName, put_back: impl FnOnce() -> Outcome) -> Outcome {
    let followed = context.manager.daemon_reload().map_err(Failure::from).and_then(|()| {
        if !is_to_run(context, name)? {
            outln!("{name}: is not running; `conductor service start {name}` starts it so");
            return Ok(());
        }
        bring(context, name)?;
        report(context, name)
    });
    let Err(failure) = followed else { return Ok(()) };
    let restored = put_back().and_then(|()| {
        context.manager.daemon_reload()?;
        note!("{name}: what was declared before stands again");
        // Who stopped it in the middle of this has the last word.
        if is_to_run(context, name)? { bring(context, name) } else { Ok(()) }
    });
    if let Err(second) = restored {
        note!("{second}");
    }
    Err(failure)
}

/// Whether a service runs, or would if it could.
fn is_to_run(context: &Context, name: &ServiceName) -> Result<bool, Failure> {
    let state = context.manager.property(&name.unit(), "ActiveState")?;
    let is_off = matches!(state.as_str(), "inactive" | "deactivating")
        || context.manager.is_to_stop(&name.unit())
        || hook::is_stopped(&context.layout, name);
    Ok(!is_off && search::find_one(&context.layout, name).is_some())
}
