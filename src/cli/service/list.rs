//! `conductor service list`

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::{display, table};
use crate::compile;
use crate::compile::host::{Compiled, Host};
use crate::deployment::state;
use crate::environment::Environment;
use crate::live::{self, Target};
use crate::log::note;
use crate::model::Route;
use crate::names::ServiceName;
use crate::service::condition::held_back;
use crate::tree::Tree;

/// One row of `list`.
#[derive(Serialize)]
struct Row {
    name: ServiceName,
    /// `ActiveState=` of its unit.
    state: String,
    /// The generation that serves, or would.
    generation: Option<String>,
    ready: usize,
    concurrency: u32,
    routes: Vec<String>,
    description: String,
    /// Why the declaration does not compile.
    error: Option<String>,
    /// The variables that its declaration chose.
    display: BTreeMap<String, String>,
}

pub(crate) fn run(context: &Context, json: bool) -> Outcome {
    let rows = rows(context)?;
    if json {
        return table::print_json(&rows);
    }
    if rows.is_empty() {
        outln!("no service is declared; `conductor service declare DIR` declares one");
        return Ok(());
    }
    print(&rows);
    Ok(())
}

/// Collects the services that are declared or run.
fn rows(context: &Context) -> Result<Vec<Row>, Failure> {
    let Context { layout, manager } = context;
    // Without a running systemd (`--root`, a build machine) the declarations can still be listed.
    let has_systemd = context.machine().is_running();
    let (host, listing) = thread::scope(|scope| {
        let listing = scope.spawn(|| has_systemd.then(|| manager.listing().ok()).flatten());
        let host = compile::compile(layout, &context.target());
        (host, listing.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    let mut names: BTreeSet<ServiceName> = host.services.keys().cloned().collect();
    names.extend(host.errors.keys().flatten().cloned());
    names.extend(live::all(layout)?.into_keys());
    let state = |name: &ServiceName| listing.as_ref().map_or("unknown", |listing| listing.state(name)).to_owned();
    names.into_iter().map(|name| row(context, &host, state(&name), name)).collect()
}

fn row(context: &Context, host: &Host, state: String, name: ServiceName) -> Result<Row, Failure> {
    let layout = &context.layout;
    let compiled = host.services.get(&name);
    let target = Target::read(layout, &name)?;
    let shown = compiled.map(|compiled| compiled.service.clone()).or_else(|| {
        let live = live::of(layout, &name).ok()??;
        live.service(layout, live.current(layout)).ok()
    });
    let held_back = shown.as_ref().and_then(|service| held_back(layout.scope, service, &state));
    let errors = host.errors.get(&Some(name.clone()));
    Ok(Row {
        state: held_back.unwrap_or(state),
        generation: target.as_ref().map(|target| target.generation.to_string()),
        ready: state::ready(layout, &name)?.len(),
        concurrency: target
            .map_or_else(|| shown.as_ref().map_or(0, |service| service.concurrency), |target| target.concurrency),
        routes: shown.iter().flat_map(|service| &service.routes).map(route).collect(),
        display: displayed(context, &name, compiled),
        description: shown.map_or_else(String::new, |service| service.description),
        error: errors.and_then(|errors| errors.0.first()).map(|first| first.headline()),
        name,
    })
}

fn print(rows: &[Row]) {
    let columns = display::columns(rows.iter().map(|row| &row.display));
    let headers = [&["NAME", "STATE", "GENERATION", "READY"], columns.as_slice(), &["ROUTES", "DESCRIPTION"]].concat();
    let cells = rows.iter().map(|row| {
        let mut cells = vec![
            row.name.to_string(),
            row.state.clone(),
            row.generation.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{}/{}", row.ready, row.concurrency),
        ];
        cells.extend(display::cells(&columns, &row.display));
        cells.extend([row.routes.join(" "), row.description.clone()]);
        cells
    });
    table::print(&headers, cells.collect());
    for row in rows {
        if let Some(error) = &row.error {
            note!("{}: does not compile: {error}", row.name);
        }
    }
}

/// Returns the values of displayed variables, of the generation that serves, or else of the declared one.
fn displayed(context: &Context, name: &ServiceName, compiled: Option<&Compiled>) -> BTreeMap<String, String> {
    let layout = &context.layout;
    let live = live::of(layout, name).ok().flatten().and_then(|live| {
        let id = live.current(layout);
        let model = live.service(layout, id).ok()?;
        let units = if model.display.is_empty() { Tree::default() } else { live.units(layout, id).ok()? };
        Some((model, Environment::of(&units, name, id, None)))
    });
    let declared = || {
        let compiled = compiled?;
        let units = match compiled.service.display[..] {
            [] => Tree::default(),
            _ => compiled.units(layout, &context.target()),
        };
        Some((compiled.service.clone(), Environment::of(&units, name, &compiled.id, None)))
    };
    live.or_else(declared).map(|(service, environment)| display::values(&service, &environment)).unwrap_or_default()
}

fn route(route: &Route) -> String {
    format!("{}{}", route.host.as_deref().unwrap_or("*"), route.path)
}
