//! Removing functions, after the requests in flight are finished.

use std::thread;
use std::time::{Duration, Instant};

use crate::compile::functions::load_function;
use crate::function::declare::lock;
use crate::function::find::find;
use crate::function::store;
use crate::model::function::Mode;
use crate::names::FunctionId;
use crate::proxy::publish;
use crate::service::failure::{Failure, Result};
use crate::service::machine::Machine;
use crate::source::functions;

/// Between two looks at the running requests of an isolated function.
const PAUSE: Duration = Duration::from_millis(50);
/// The time to finish requests for a function that no longer compiles.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Removes the function that a word names: no request reaches it any more, and those in flight are finished first.
///
/// # Errors
/// If there is no such function or it belongs to a package; what systemd or the file system refuses.
pub(crate) fn remove(machine: &Machine, word: &str) -> Result<FunctionId> {
    let Machine { layout, manager, .. } = *machine;
    let _lock = lock(layout)?;
    let (id, dir) = find(layout, word)?;
    if !dir.starts_with(store::base(layout)) {
        let why = format!("{dir} was not stored by `conductor cgi declare`: remove the package that it belongs to");
        return Err(Failure::Failed(why));
    }
    let aliases = store::owned(layout, &id)?;
    for alias in &aliases {
        store::take(layout, alias)?;
    }
    if machine.is_running() {
        if !aliases.is_empty() {
            manager.daemon_reload()?;
            publish::republish(manager)?;
        }
        drain(machine, &id)?;
    }
    store::remove(layout, &dir)?;
    if machine.is_running() {
        manager.reset_failed(&["socket", "service"].map(|kind| format!("{}.{kind}", id.unit())));
        manager.daemon_reload()?;
        publish::republish(manager)?;
    }
    Ok(id)
}

/// Stops the socket of a function, and its processes when they have finished their requests or its timeout has passed.
fn drain(machine: &Machine, id: &FunctionId) -> Result<()> {
    let Machine { layout, manager, .. } = *machine;
    let unit = id.unit();
    let dir = functions::find_one(layout, id)?;
    let loaded = dir.and_then(|dir| load_function(layout, &layout.at(&dir), &dir, None).ok());
    let function = loaded.map(|compiled| compiled.function);
    // It would start the socket again.
    manager.stop(&manager.active(&id.refuser())?)?;
    manager.stop(&[format!("{unit}.socket")])?;
    // The gateway finishes its requests within TimeoutStopSec=.
    manager.stop(&[format!("{unit}.service")])?;
    if function.as_ref().is_none_or(|function| function.mode == Mode::Pooled) {
        return Ok(());
    }
    let pattern = format!("{}@*.service", id.request_unit());
    let deadline = Instant::now() + function.map_or(TIMEOUT, |function| function.timeout);
    loop {
        let running = manager.active(&pattern)?;
        if running.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Ok(manager.stop(&running)?);
        }
        thread::sleep(PAUSE);
    }
}
