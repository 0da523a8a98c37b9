//! `conductor service list`

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::thread;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::{display, table, words};
use crate::compile;
use crate::compile::host::{Compiled, Host};
use crate::deployment::state;
use crate::environment::Environment;
use crate::layout::Layout;
use crate::live::{self, Live, Target};
use crate::log::note;
use crate::model::Route;
use crate::names::{Deployment, ServiceName};
use crate::service::condition::held_back;
use crate::systemd::Listing;
use crate::target::systemd::Units;
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
    let seen = Seen::read(context)?;
    let rows = seen.rows()?;
    if json {
        table::print_json(&rows)?;
    } else if !rows.is_empty() {
        print(&rows);
    } else if seen.host.is_complete {
        outln!("no service is declared; `conductor service declare DIR` declares one");
    }
    Ok(seen.host.must_be_complete()?)
}

/// What is declared and what is there, read once for all rows.
struct Seen<'a> {
    layout: &'a Layout,
    target: Units,
    host: Host,
    live: BTreeMap<ServiceName, Live>,
    deployments: BTreeMap<ServiceName, Vec<Deployment>>,
    listing: Option<Listing>,
}

impl<'a> Seen<'a> {
    fn read(context: &'a Context) -> Result<Self, Failure> {
        let Context { layout, manager } = context;
        let target = context.target();
        // Without a running systemd (`--root`, a build machine) the declarations can still be listed.
        let has_systemd = context.machine().is_running();
        let (host, listing) = thread::scope(|scope| {
            let listing = scope.spawn(|| has_systemd.then(|| manager.listing().ok()).flatten());
            let host = compile::compile(layout, &target);
            (host, listing.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        Ok(Self { layout, target, host, live: live::all(layout)?, deployments: state::all(layout)?, listing })
    }

    /// Collects the services that are declared or run.
    fn rows(&self) -> Result<Vec<Row>, Failure> {
        let mut names: BTreeSet<&ServiceName> = self.host.services.keys().collect();
        names.extend(self.host.errors.keys().flatten());
        names.extend(self.live.keys());
        names.into_iter().map(|name| self.row(name)).collect()
    }

    fn row(&self, name: &ServiceName) -> Result<Row, Failure> {
        let layout = self.layout;
        let compiled = self.host.services.get(name);
        let target = Target::read(layout, name)?;
        let shown = compiled.map(|compiled| compiled.service.clone()).or_else(|| {
            let live = self.live.get(name)?;
            live.service(layout, live.current(layout)).ok()
        });
        let state = self.listing.as_ref().map_or("unknown", |listing| listing.state(name));
        let held_back = shown.as_ref().and_then(|service| held_back(layout.scope, service, state));
        let errors = self.host.errors.get(&Some(name.clone()));
        let there = self.deployments.get(name).map_or(&[][..], Vec::as_slice);
        let ready = state::count_ready(layout, there, self.listing.as_ref());
        let declared = shown.as_ref().map_or(0, |service| service.concurrency);
        let concurrency = target.as_ref().map_or(declared, Target::deployments);
        Ok(Row {
            state: held_back.unwrap_or_else(|| words::state(state, ready, concurrency).to_owned()),
            generation: target.as_ref().map(|target| target.generation.to_string()),
            ready,
            display: self.displayed(name, target.as_ref(), compiled),
            concurrency,
            routes: shown.iter().flat_map(|service| &service.routes).map(route).collect(),
            description: shown.map_or_else(String::new, |service| service.description),
            error: errors.and_then(|errors| errors.0.first()).map(|first| first.headline()),
            name: name.clone(),
        })
    }

    /// Returns the values of displayed variables, of the generation that serves, or else of the declared one.
    fn displayed(
        &self,
        name: &ServiceName,
        target: Option<&Target>,
        compiled: Option<&Compiled>,
    ) -> BTreeMap<String, String> {
        let layout = self.layout;
        // Where what serves is what is declared, its snapshot need not be read.
        let is_declared = compiled.is_some_and(|it| target.is_some_and(|target| target.digests == it.digests));
        let live = self.live.get(name).filter(|_| !is_declared).and_then(|live| {
            let id = live.current(layout);
            let model = live.service(layout, id).ok()?;
            let units = if model.display.is_empty() { Tree::default() } else { live.units(layout, id).ok()? };
            Some(display::values(&model, &Environment::of(&units, name, id, None)))
        });
        let declared = || {
            let Compiled { service, id, .. } = compiled.filter(|it| !it.service.display.is_empty())?;
            let units = compiled?.units(layout, &self.target);
            Some(display::values(service, &Environment::of(&units, name, id, None)))
        };
        live.or_else(declared).unwrap_or_default()
    }
}

fn print(rows: &[Row]) {
    let columns = display::columns(rows.iter().map(|row| &row.display));
    let headers = [&["NAME", "STATE", "GENERATION", "READY"], columns.as_slice(), &["ROUTES", "DESCRIPTION"]].concat();
    let cells = rows.iter().map(|row| {
        let mut cells = vec![
            row.name.to_string(),
            row.state.clone(),
            row.generation.clone().unwrap_or_else(|| "-".to_owned()),
            words::ready(row.ready, row.concurrency),
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

fn route(route: &Route) -> String {
    format!("{}{}", route.host.as_deref().unwrap_or("*"), route.matching.path)
}
