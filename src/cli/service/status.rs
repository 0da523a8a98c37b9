//! `conductor service status`

use camino::Utf8PathBuf;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::row::{self, Row};
use crate::cli::service::jobs;
use crate::cli::table;
use crate::compile;
use crate::live::{self, Target};
use crate::names::ServiceName;
use crate::service::condition::held_back;
use crate::service::job::timetable::{self, Entry};
use crate::service::notes;
use crate::service::parts::members;
use crate::service::share::Share;
use crate::source::{self, search};

/// `status` of one service.
#[derive(Serialize)]
struct Status {
    name: ServiceName,
    state: String,
    /// The declared generation.
    declared: Option<String>,
    /// The generation that serves.
    generation: Option<String>,
    /// The share of its canary; null if it has none.
    canary: Option<Share>,
    description: String,
    source: Option<Utf8PathBuf>,
    deployments: Vec<Row>,
    jobs: Vec<Entry>,
    /// Why the last start or reload failed, or why the declaration does not compile.
    failure: Option<String>,
}

/// `status` of a service in parts.
#[derive(Serialize)]
struct InParts {
    name: ServiceName,
    /// `ActiveState=` of the unit that its parts have together.
    state: String,
    parts: Vec<Status>,
}

pub(crate) fn run(context: &Context, name: &ServiceName, json: bool) -> Outcome {
    let members = members(&context.layout, name)?;
    if members.contains(name) {
        let status = status(context, name)?;
        return if json { table::print_json(&status) } else { print_status(&status) };
    }
    let state = context.manager.property(&name.unit(), "ActiveState")?;
    let parts = members.iter().map(|part| status(context, part)).collect::<Result<Vec<_>, Failure>>()?;
    if json {
        return table::print_json(&InParts { name: name.clone(), state, parts });
    }
    outln!("{name}: in {} parts\n   state: {state}", parts.len());
    for part in &parts {
        outln!();
        print_status(part)?;
    }
    Ok(())
}

fn status(context: &Context, name: &ServiceName) -> Result<Status, Failure> {
    let Context { layout, manager } = context;
    let location = search::find_one(layout, name);
    if matches!(location, Ok(None)) && live::of(layout, name)?.is_none() {
        context.location(name.as_str())?;
    }
    let compiled = match &location {
        Ok(Some(location)) => Some(compile::compile_located(layout, location, &context.target())),
        Ok(None) => None,
        Err(unknown) => Some(Err(unknown.clone())),
    };
    let (compiled, broken) = match compiled {
        Some(Ok(compiled)) => (Some(compiled), None),
        Some(Err(errors)) => (None, Some(errors.to_string())),
        None => (None, Some("no longer declared; `conductor daemon-reload` stops it".to_owned())),
    };
    let state = manager.property(&name.unit(), "ActiveState")?;
    let jobs = timetable::of_services(*manager, compiled.as_ref().map(|compiled| &compiled.service))?;
    let held_back = compiled.as_ref().and_then(|compiled| held_back(layout.scope, &compiled.service, &state));
    Ok(Status {
        state: held_back.unwrap_or(state),
        declared: compiled.as_ref().map(|compiled| compiled.id.to_string()),
        generation: Target::read(layout, name)?.map(|target| target.generation.to_string()),
        canary: Share::read(layout, name)?,
        description: compiled.as_ref().map_or_else(String::new, |compiled| compiled.service.description.clone()),
        source: location.ok().flatten().map(|location| location.dir.join(source::DECLARATION)),
        deployments: row::of_services(context, std::slice::from_ref(name))?,
        jobs,
        failure: broken.or_else(|| notes::failure(layout, name)),
        name: name.clone(),
    })
}

fn print_status(status: &Status) -> Outcome {
    let gap = if status.description.is_empty() { "" } else { ": " };
    outln!("{}{gap}{}", status.name, status.description);
    outln!("   state: {}", status.state);
    if let Some(source) = &status.source {
        outln!("declared: {source}");
    }
    match (&status.generation, &status.declared) {
        (Some(runs), Some(_)) if status.canary.is_some() => outln!("  serves: generation {runs}"),
        (Some(runs), Some(declared)) if runs != declared => {
            outln!("   serves: generation {runs}; {declared} is declared, `conductor service reload {}`", status.name);
        }
        (Some(runs), _) => outln!("  serves: generation {runs}"),
        (None, Some(declared)) => outln!("  would serve generation {declared}"),
        (None, None) => {}
    }
    if let Some(share) = &status.canary {
        outln!("  canary: generation {}: {share}", share.generation);
    }
    if !status.deployments.is_empty() {
        outln!();
        let rows =
            status.deployments.iter().map(|row| vec![row.unit.clone(), row.state.clone(), row.pid(), row.slots()]);
        table::print(&["DEPLOYMENT", "STATE", "PID", "SLOTS"], rows.collect());
    }
    for row in &status.deployments {
        if let Some(missed) = &row.missed {
            outln!("\n{}: {} live checks in a row failed: {}", row.unit, missed.failures, missed.answer);
        }
    }
    if !status.jobs.is_empty() {
        outln!();
        jobs::print(&status.jobs);
        status.jobs.iter().for_each(jobs::print_failure);
    }
    if let Some(failure) = &status.failure {
        outln!("\n{failure}");
    }
    Ok(())
}
