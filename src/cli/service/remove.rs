//! `conductor service rm`

use super::super::{Context, Failure, Outcome, declare};
use crate::live;
use crate::model::ServiceName;
use crate::service::{hook, overrides};
use crate::{atomic, proxy, sources};

/// Stops a service and removes its declaration, and what nobody else brings along.
pub fn run(context: &Context, name: &ServiceName) -> Outcome {
    let Context { layout, manager } = context;
    let site = sources::find_one(layout, name);
    let own = layout.declaration(name);
    if let Some(site) = site.as_ref().filter(|site| site.dir != own) {
        let remedy = format!("ln -s /dev/null {own}");
        return Err(Failure::Failed(format!("{} belongs to a package; mask it: {remedy}", site.dir)));
    }
    if site.is_none() && live::of(layout, name).is_none() && !layout.at(&own).exists() {
        context.site(name.as_str())?;
    }
    // Before the stop: a declaration that is at work would start it again.
    let _lock = declare::lock(context, name)?;
    manager.stop(&[format!("{name}.service")])?;
    atomic::remove_dir(&layout.at(&own))?;
    atomic::remove_dir(&layout.at(&overrides::dir(layout, name)))?;
    manager.daemon_reload()?;
    manager.reset_failed(&[format!("{name}.service")]);
    hook::forget(layout, name)?;
    atomic::remove_file(&layout.at(&layout.declaring(name)))?;
    proxy::republish(*manager)?;
    println!("{name}: removed");
    declare::release(context, name, &[])
}
