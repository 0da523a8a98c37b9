//! `conductor cgi rm`

use std::thread;
use std::time::{Duration, Instant};

use crate::cli::cgi::declare::{lock, publish};
use crate::cli::cgi::find;
use crate::cli::output::outln;
use crate::cli::{Context, Failure, Outcome};
use crate::compile::functions::load_function;
use crate::function::store;
use crate::model::function::Mode;
use crate::names::FunctionId;
use crate::source::functions;

/// Between two looks at what is left of an isolated function.
const PAUSE: Duration = Duration::from_millis(50);
/// Of a function that does not compile any more.
const TIMEOUT: Duration = Duration::from_secs(30);

pub fn run(context: &Context, word: &str) -> Outcome {
    let Context { layout, manager } = context;
    let _lock = lock(context)?;
    let (id, dir) = find(context, word)?;
    if !dir.starts_with(store::base(layout)) {
        let why = format!("{dir} is not what `conductor cgi declare` stored: remove the package that it is from");
        return Err(Failure::Failed(why));
    }
    let aliases = store::owned(layout, &id);
    for alias in &aliases {
        store::take(layout, alias)?;
    }
    if layout.root() == "/" {
        if !aliases.is_empty() {
            manager.daemon_reload()?;
            publish(context)?;
        }
        drain(context, &id)?;
    }
    store::remove(layout, &dir)?;
    if layout.root() == "/" {
        manager.daemon_reload()?;
        publish(context)?;
    }
    outln!("{id}");
    Ok(())
}

/// Nobody connects any more; what is in flight is finished, within the function's own timeout.
fn drain(context: &Context, id: &FunctionId) -> Outcome {
    let manager = context.manager;
    let unit = id.unit();
    let loaded = functions::find_one(&context.layout, id)
        .and_then(|dir| load_function(&context.layout, &context.layout.at(&dir), &dir, None).ok());
    let function = loaded.map(|compiled| compiled.function);
    manager.stop(&[format!("{unit}.socket")])?;
    // It finishes what it has, TimeoutStopSec=.
    manager.stop(&[format!("{unit}.service")])?;
    if function.as_ref().is_none_or(|function| function.mode == Mode::Pooled) {
        return Ok(());
    }
    let pattern = format!("{}@*.service", id.request_unit());
    let deadline = Instant::now() + function.map_or(TIMEOUT, |function| function.timeout);
    loop {
        let left = manager.active(&pattern)?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Ok(manager.stop(&left)?);
        }
        thread::sleep(PAUSE);
    }
}
