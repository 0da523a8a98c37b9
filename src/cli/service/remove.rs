//! `conductor service rm`

use std::collections::BTreeSet;

use crate::cli::output::outln;
use crate::cli::service::members;
use crate::cli::{Context, Failure, Outcome, declare};
use crate::names::ServiceName;
use crate::proxy::publish;
use crate::service::{hook, overrides};
use crate::source::search;
use crate::{atomic, live};

/// Stops a service and removes its declaration, and what nobody else brings along.
pub fn run(context: &Context, name: &ServiceName) -> Outcome {
    let Context { layout, manager } = context;
    let location = search::find_one(layout, name);
    let own = layout.declaration(name);
    if let Some(location) = location.as_ref().filter(|location| location.dir != own) {
        let remedy = format!("ln -s /dev/null {own}");
        return Err(Failure::Failed(format!("{} belongs to a package; mask it: {remedy}", location.dir)));
    }
    let members = members(layout, name);
    let is_live = members.iter().any(|member| live::of(layout, member).is_some());
    if location.is_none() && !is_live && !layout.at(&own).exists() {
        context.location(name.as_str())?;
    }
    let names: BTreeSet<_> = members.iter().chain([name]).collect();
    let units: Vec<_> = names.iter().map(|name| name.unit()).collect();
    // Before the stop: a declaration that is at work would start it again.
    let _lock = declare::lock(context, name)?;
    manager.stop(&units)?;
    atomic::remove_dir(&layout.at(&own))?;
    for name in &names {
        atomic::remove_dir(&layout.at(&overrides::dir(layout, name)))?;
    }
    manager.daemon_reload()?;
    manager.reset_failed(&units);
    for name in &names {
        hook::forget(layout, name)?;
    }
    atomic::remove_file(&layout.at(&layout.declaring(name)))?;
    publish::republish(*manager)?;
    outln!("{name}: removed");
    declare::release(context, name, &[])
}
