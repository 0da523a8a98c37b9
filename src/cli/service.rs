//! `conductor service …`

use std::collections::BTreeSet;
use std::fs;

use camino::Utf8PathBuf;
use clap::Subcommand;
use serde::Serialize;

use super::{Context, Failure, Outcome, declare, table};
use crate::compile;
use crate::deployment::{Deployment, runtime, slot};
use crate::live::{self, Target};
use crate::model::ServiceName;
use crate::service::hook::{self, Hook};
use crate::{atomic, sources};

#[derive(Subcommand)]
pub enum Verb {
    /// Declare a service, or a new version of it, and bring it into service
    Declare(declare::Arguments),
    /// List the declared services and what runs of them
    List {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show one service: its deployments and who holds the slots
    Status {
        name: String,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Bring a running service to what is declared: `systemctl reload`, and why if it fails
    Reload { name: String },
    /// Stop a service and remove its declaration
    Rm { name: String },
    /// ExecStart= of a service
    #[command(name = "_start", hide = true)]
    Start { dir: Utf8PathBuf },
    /// ExecReload= of a service
    #[command(name = "_reload", hide = true)]
    ReloadHook { dir: Utf8PathBuf },
    /// ExecStop= of a service
    #[command(name = "_stop", hide = true)]
    Stop { dir: Utf8PathBuf },
    /// ExecStopPost= of a service
    #[command(name = "_cleanup", hide = true)]
    Cleanup { dir: Utf8PathBuf },
}

pub fn run(context: &Context, verb: Verb) -> Outcome {
    let only_files =
        matches!(&verb, Verb::List { .. }) || matches!(&verb, Verb::Declare(arguments) if arguments.no_start);
    if !only_files {
        context.must_be_this_machine()?;
    }
    let hook = |dir: &Utf8PathBuf| Hook::new(&context.layout, context.manager, dir);
    match verb {
        Verb::Declare(arguments) => declare::run(context, &arguments),
        Verb::List { json } => list(context, json),
        Verb::Status { name, json } => status(context, &name, json),
        Verb::Reload { name } => reload(context, &name),
        Verb::Rm { name } => remove(context, &name),
        Verb::Start { dir } => Ok(hook(&dir)?.start()?),
        Verb::ReloadHook { dir } => Ok(hook(&dir)?.reload()?),
        Verb::Stop { dir } => Ok(hook(&dir)?.stop()?),
        Verb::Cleanup { dir } => Ok(hook(&dir)?.cleanup()?),
    }
}

/// One row of `list`.
#[derive(Serialize)]
struct Row {
    name: ServiceName,
    /// `ActiveState=` of its unit.
    state: String,
    /// What it is brought to, or would be.
    generation: Option<String>,
    ready: usize,
    concurrency: u32,
    routes: Vec<String>,
    description: String,
    /// Why the declaration does not compile.
    error: Option<String>,
}

fn list(context: &Context, json: bool) -> Outcome {
    let Context { layout, manager } = context;
    let host = compile::compile(layout, context.systemd());
    let mut names: BTreeSet<ServiceName> = host.services.keys().cloned().collect();
    names.extend(host.errors.keys().flatten().cloned());
    names.extend(live::all(layout).into_keys());
    let units: Vec<_> = names.iter().map(|name| format!("{name}.service")).collect();
    // Without a running systemd (`--root`, a build machine) the declarations can still be listed.
    let states = if layout.root() == "/" { manager.states(&units).ok() } else { None };
    let states = states.unwrap_or_else(|| vec!["unknown".to_owned(); units.len()]);
    let mut rows = Vec::new();
    for (name, state) in names.into_iter().zip(states) {
        let compiled = host.services.get(&name);
        let target = Target::read(layout, &name)?;
        let shown = compiled.map(|compiled| compiled.service.clone()).or_else(|| {
            let live = live::of(layout, &name)?;
            live.model(layout, live.current(layout)).ok()
        });
        rows.push(Row {
            state,
            generation: target.as_ref().map(|target| target.generation.to_string()),
            ready: ready(context, &name)?.len(),
            concurrency: target
                .map_or_else(|| shown.as_ref().map_or(0, |service| service.concurrency), |t| t.concurrency),
            routes: shown.iter().flat_map(|service| &service.routes).map(route).collect(),
            description: shown.map_or_else(String::new, |service| service.description),
            error: host
                .errors
                .get(&Some(name.clone()))
                .and_then(|errors| errors.0.first())
                .map(|first| first.headline()),
            name,
        });
    }
    if json {
        return print_json(&rows);
    }
    if rows.is_empty() {
        println!("no service is declared; `conductor service declare DIR` declares one");
        return Ok(());
    }
    let cells = rows.iter().map(|row| {
        vec![
            row.name.to_string(),
            row.state.clone(),
            row.generation.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{}/{}", row.ready, row.concurrency),
            row.routes.join(" "),
            row.description.clone(),
        ]
    });
    table::print(&["NAME", "STATE", "GENERATION", "READY", "ROUTES", "DESCRIPTION"], cells.collect());
    for row in &rows {
        if let Some(error) = &row.error {
            eprintln!("{}: does not compile: {error}", row.name);
        }
    }
    Ok(())
}

fn route(route: &crate::model::Route) -> String {
    format!("{}{}", route.host.as_deref().unwrap_or("*"), route.path)
}

fn print_json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// Deployments that may hold slots.
fn ready(context: &Context, name: &ServiceName) -> Result<Vec<Deployment>, Failure> {
    let all = runtime::list(&context.layout, name)?;
    let is_ready = |deployment: &Deployment| {
        runtime::read(&context.layout, deployment).is_some_and(|runtime| runtime.state == runtime::State::Ready)
    };
    Ok(all.into_iter().filter(is_ready).collect())
}

/// `status` of one service.
#[derive(Serialize)]
struct Status {
    name: ServiceName,
    state: String,
    /// What is declared.
    declared: Option<String>,
    /// What runs.
    generation: Option<String>,
    description: String,
    source: Option<Utf8PathBuf>,
    deployments: Vec<DeploymentRow>,
    /// Why the last start or reload failed, or why the declaration does not compile.
    failure: Option<String>,
}

#[derive(Serialize)]
struct DeploymentRow {
    unit: String,
    generation: String,
    instance: u32,
    state: String,
    main_pid: Option<u32>,
    /// Seconds since 1970.
    started_at: Option<u64>,
    slots: Vec<u32>,
}

fn status(context: &Context, name: &str, json: bool) -> Outcome {
    let Context { layout, manager } = context;
    let name = ServiceName::new(name).map_err(Failure::Usage)?;
    let site = sources::find_one(layout, &name);
    if site.is_none() && live::of(layout, &name).is_none() {
        context.site(name.as_str())?;
    }
    let compiled = site.as_ref().map(|site| compile::compile_site(layout, site, context.systemd()));
    let (compiled, broken) = match compiled {
        Some(Ok(compiled)) => (Some(compiled), None),
        Some(Err(errors)) => (None, Some(errors.to_string())),
        None => (None, Some("it is not declared any more; `conductor daemon-reload` stops it".to_owned())),
    };
    let held = slot::held(layout, &name);
    let mut deployments = Vec::new();
    for (deployment, state) in manager.deployments(&name)? {
        let runtime = runtime::read(layout, &deployment);
        deployments.push(DeploymentRow {
            unit: deployment.unit(),
            generation: deployment.generation.to_string(),
            instance: deployment.instance,
            state,
            main_pid: runtime.as_ref().and_then(|runtime| runtime.main_pid),
            started_at: runtime.map(|runtime| runtime.started_at),
            slots: held.iter().filter(|(_, holder)| *holder == deployment).map(|(slot, _)| *slot).collect(),
        });
    }
    deployments.sort_by(|one, other| (&one.generation, one.instance).cmp(&(&other.generation, other.instance)));
    let status = Status {
        state: manager.property(&format!("{name}.service"), "ActiveState")?,
        declared: compiled.as_ref().map(|compiled| compiled.id.to_string()),
        generation: Target::read(layout, &name)?.map(|target| target.generation.to_string()),
        description: compiled.as_ref().map_or_else(String::new, |compiled| compiled.service.description.clone()),
        source: site.map(|site| site.dir.join(sources::DECLARATION)),
        deployments,
        failure: broken.or_else(|| hook::failure(layout, &name)),
        name,
    };
    if json { print_json(&status) } else { print_status(&status) }
}

fn print_status(status: &Status) -> Outcome {
    let gap = if status.description.is_empty() { "" } else { ": " };
    println!("{}{gap}{}", status.name, status.description);
    println!("   state: {}", status.state);
    if let Some(source) = &status.source {
        println!("declared: {source}");
    }
    match (&status.generation, &status.declared) {
        (Some(runs), Some(declared)) if runs != declared => {
            println!(
                "   serves: generation {runs}; {declared} is declared, `conductor service reload {}`",
                status.name
            );
        }
        (Some(runs), _) => println!("  serves: generation {runs}"),
        (None, Some(declared)) => println!("  would serve generation {declared}"),
        (None, None) => {}
    }
    if !status.deployments.is_empty() {
        println!();
        let rows = status.deployments.iter().map(|row| {
            let slots: Vec<_> = row.slots.iter().map(u32::to_string).collect();
            let pid = row.main_pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            vec![row.unit.clone(), row.state.clone(), pid, slots.join(" ")]
        });
        table::print(&["DEPLOYMENT", "STATE", "PID", "SLOTS"], rows.collect());
    }
    if let Some(failure) = &status.failure {
        println!("\n{failure}");
    }
    Ok(())
}

fn reload(context: &Context, name: &str) -> Outcome {
    let name = ServiceName::new(name).map_err(Failure::Usage)?;
    bring(context, &name)?;
    report(context, &name)
}

/// Starts a service, or reloads it if it runs; waits, and says why when it fails.
pub fn bring(context: &Context, name: &ServiceName) -> Outcome {
    let unit = format!("{name}.service");
    let state = context.manager.property(&unit, "ActiveState")?;
    let units = [unit];
    let outcome = match state.as_str() {
        "active" | "reloading" => context.manager.reload(&units),
        _ => context.manager.start(&units),
    };
    outcome.map_err(|error| {
        let why = hook::failure(&context.layout, name).unwrap_or_else(|| error.to_string());
        Failure::Failed(why)
    })
}

/// One line about what serves now.
pub fn report(context: &Context, name: &ServiceName) -> Outcome {
    if let Some(target) = Target::read(&context.layout, name)? {
        let ready = ready(context, name)?.len();
        println!("{name}: generation {} serves with {ready} of {} deployments", target.generation, target.concurrency);
    }
    Ok(())
}

fn remove(context: &Context, name: &str) -> Outcome {
    let Context { layout, manager } = context;
    let name = ServiceName::new(name).map_err(Failure::Usage)?;
    let site = sources::find_one(layout, &name);
    let own = layout.declaration(&name);
    if let Some(site) = site.as_ref().filter(|site| site.dir != own) {
        let remedy = format!("ln -s /dev/null {own}");
        return Err(Failure::Failed(format!("{} belongs to a package; mask it: {remedy}", site.dir)));
    }
    if site.is_none() && live::of(layout, &name).is_none() && !layout.at(&own).exists() {
        context.site(name.as_str())?;
    }
    manager.stop(&[format!("{name}.service")])?;
    let _lock = declare::lock(context, &name)?;
    atomic::remove_dir(&layout.at(&own))?;
    atomic::remove_dir(&layout.at(&layout.declaration_dirs()[0].join(format!("{name}.d"))))?;
    manager.daemon_reload()?;
    manager.reset_failed(&[format!("{name}.service")]);
    hook::forget(layout, *manager, &name)?;
    atomic::remove_dir(&layout.at(&layout.kept(&name)))?;
    let _ = fs::remove_file(layout.at(&declare::lock_path(context, &name)));
    println!("{name}: removed");
    Ok(())
}
