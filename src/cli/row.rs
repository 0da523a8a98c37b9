//! What listings show of a deployment.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::display;
use crate::cli::failure::Failure;
use crate::deployment;
use crate::deployment::liveness::Missed;
use crate::deployment::{endpoint, slot, state};
use crate::engine::environment::of_files;
use crate::environment::Environment;
use crate::live::Live;
use crate::names::{Deployment, ServiceName};
use crate::systemd::State;

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) unit: String,
    pub(crate) service: ServiceName,
    pub(crate) generation: String,
    pub(crate) instance: u32,
    /// `ActiveState=` of its unit; "idle" for one that waits for callers.
    pub(crate) state: String,
    pub(crate) main_pid: Option<u32>,
    /// Seconds since 1970.
    pub(crate) started_at: Option<u64>,
    pub(crate) slots: Vec<u32>,
    /// The live checks that have failed in a row, if the last one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missed: Option<Missed>,
    /// Values of the variables that its declaration lists under `display`.
    pub(crate) display: BTreeMap<String, String>,
}

impl Row {
    pub(crate) fn new(context: &Context, deployment: &Deployment, state: String) -> Self {
        let held = slot::held(&context.layout, &deployment.service);
        Self::with_slots(context, deployment, state, &held)
    }

    /// Returns the row of a deployment whose service's slots are `held`.
    fn with_slots(context: &Context, deployment: &Deployment, state: String, held: &[(u32, Deployment)]) -> Self {
        let layout = &context.layout;
        let runtime = state::read(layout, deployment);
        let rests =
            state != "deactivating" && runtime.as_ref().is_some_and(|runtime| runtime.state == state::State::Resting);
        Self {
            unit: deployment.unit(),
            service: deployment.service.clone(),
            generation: deployment.generation.to_string(),
            instance: deployment.instance,
            state: if rests { "idle".to_owned() } else { state },
            main_pid: runtime.as_ref().and_then(|runtime| runtime.main_pid),
            missed: runtime.as_ref().and_then(|runtime| Missed::of(layout, deployment, runtime.started_at)),
            started_at: runtime.map(|runtime| runtime.started_at),
            slots: held.iter().filter(|(_, holder)| holder == deployment).map(|(slot, _)| *slot).collect(),
            display: displayed(context, deployment).unwrap_or_default(),
        }
    }

    /// `1 4 7 10`
    pub(crate) fn slots(&self) -> String {
        self.slots.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The main process, `-` without one.
    pub(crate) fn pid(&self) -> String {
        self.main_pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string())
    }
}

/// The error for a deployment that does not run.
pub(crate) fn unknown(deployment: &Deployment) -> Failure {
    Failure::Failed(format!("{} does not run; `conductor deployment list` shows what does", deployment.unit()))
}

/// The values of the columns that the declaration chose; None if it chose none or is not live any more.
fn displayed(context: &Context, deployment: &Deployment) -> Option<BTreeMap<String, String>> {
    let layout = &context.layout;
    let model = deployment::model(layout, deployment).ok()?;
    if model.display.is_empty() {
        return None;
    }
    Some(display::values(&model, &environment(context, deployment).ok()?))
}

/// Returns the environment of a deployment's process and hooks.
///
/// # Errors
/// A generation that is not live.
pub(crate) fn environment(context: &Context, deployment: &Deployment) -> Result<Environment, Failure> {
    let Deployment { service, generation, instance } = deployment;
    let live = Live { name: service.clone(), generations: Vec::new() };
    let units = live.units(&context.layout, generation).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => unknown(deployment),
        _ => error.into(),
    })?;
    let mut environment = Environment::of(&units, service, generation, Some(*instance));
    let layout = &context.layout;
    environment.variables.extend(endpoint::declared(layout, deployment)?);
    let model = deployment::model(layout, deployment)?;
    let files = layout.at(&layout.files(service, generation));
    // One that is missing by now has been read by the process.
    let of_files = of_files(layout, &model, &files).unwrap_or_default();
    environment.variables.extend(of_files.into_iter().filter(|(name, _)| !name.starts_with("CONDUCTOR_")));
    let of_start = endpoint::variables(layout, deployment)?;
    environment.variables.extend(of_start.into_iter().filter(|(name, _)| !name.starts_with("CONDUCTOR_")));
    Ok(environment)
}

/// Returns the deployments of services, sorted by service, generation and number.
///
/// # Errors
/// If systemd refuses a job.
pub(crate) fn of_services(context: &Context, names: &[ServiceName]) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, deployments) in deployments(context, names)? {
        let held = slot::held(&context.layout, name);
        let of_it = deployments.into_iter().map(|(one, state)| Row::with_slots(context, &one, state, &held));
        rows.extend(of_it);
    }
    rows.sort_by(|one, other| {
        (&one.service, &one.generation, one.instance).cmp(&(&other.service, &other.generation, other.instance))
    });
    Ok(rows)
}

/// A service's deployments with their states.
type OfService<'a> = (&'a ServiceName, Vec<(Deployment, State)>);

/// Returns the deployments of services; without a running systemd (`--root`), those that have a directory.
fn deployments<'a>(context: &Context, names: &'a [ServiceName]) -> Result<Vec<OfService<'a>>, Failure> {
    let Context { layout, manager } = context;
    let mut there = state::all(layout)?;
    let mut there = |name: &ServiceName| there.remove(name).unwrap_or_default();
    if layout.root() != "/" {
        let unknown = |one: Deployment| (one, "unknown".to_owned());
        return Ok(names.iter().map(|name| (name, there(name).into_iter().map(unknown).collect())).collect());
    }
    let listing = manager.deployments_of(names)?;
    let of_service = |name: &'a ServiceName| {
        let mut deployments = listing.deployments(name).to_vec();
        let is_listed = |one: &Deployment| listing.deployments(name).iter().any(|(listed, _)| listed == one);
        let resting = there(name).into_iter().filter(|one| !is_listed(one) && state::is_resting(layout, one));
        deployments.extend(resting.map(|one| (one, "inactive".to_owned())));
        (name, deployments)
    };
    Ok(names.iter().map(of_service).collect())
}
