//! `conductor service …`

mod env;
pub mod image;
mod lifecycle;
mod list;
mod logs;
mod overrides;
pub mod remove;
mod rollback;
mod show;
mod status;

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use clap::Subcommand;

use crate::cli::{Context, Failure, Outcome, declare};
use crate::layout::Layout;
use crate::live;
use crate::model::Service;
use crate::names::{GenerationId, ServiceName};
use crate::service::condition;
use crate::service::hook::Hook;
use crate::source::search;

pub use lifecycle::{bring, report};

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
    /// Show the declaration as it is in force, drop-ins included, as TOML
    Show {
        name: String,
        /// Say of each value which file it comes from
        #[arg(long)]
        sources: bool,
    },
    /// Print the environment that all its processes and hooks get; systemd adds its own, systemd.exec(5)
    Env {
        name: String,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Show the log of all its deployments, journalctl(1)
    Logs {
        name: String,
        /// Only of this generation
        #[arg(long)]
        generation: Option<GenerationId>,
        #[command(flatten)]
        options: super::journal::Options,
    },
    /// Start a service and wait until it serves: `systemctl start`, and why if it fails
    Start { name: String },
    /// Stop a service and wait until the last request is answered: `systemctl stop`
    Stop { name: String },
    /// Bring a running service to what is declared: `systemctl reload`, and why if it fails
    Reload { name: String },
    /// Roll the same configuration: new deployments take over from those that run
    Restart { name: String },
    /// Run another number of deployments side by side
    Scale {
        name: String,
        /// How many, 1 to the service's slots
        #[arg(value_name = "N")]
        concurrency: u32,
    },
    /// Have a service started at boot; starts nothing now
    Enable { name: String },
    /// Have a service not started at boot; stops nothing now
    Disable { name: String },
    /// Lay values over the declaration, and bring the service to them
    Set(overrides::SetArguments),
    /// Go back to a generation that has served before
    Rollback {
        name: String,
        /// Its name or the beginning of it; the one before the present one when left out
        generation: Option<String>,
    },
    /// Stop a service and remove its declaration
    Rm { name: String },
    /// ExecStart= of a service
    #[command(name = "_start", hide = true)]
    StartHook { dir: Utf8PathBuf },
    /// ExecReload= of a service
    #[command(name = "_reload", hide = true)]
    ReloadHook { dir: Utf8PathBuf },
    /// ExecStop= of a service
    #[command(name = "_stop", hide = true)]
    StopHook { dir: Utf8PathBuf },
    /// ExecStopPost= of a service
    #[command(name = "_cleanup", hide = true)]
    CleanupHook { dir: Utf8PathBuf },
}

impl Verb {
    /// Whether it does not talk to the running systemd, or need not.
    fn is_only_about_files(&self) -> bool {
        match self {
            Self::Declare(arguments) => arguments.no_start,
            Self::Set(arguments) => arguments.no_start,
            Self::List { .. } | Self::Show { .. } | Self::Env { .. } | Self::Enable { .. } | Self::Disable { .. } => {
                true
            }
            _ => false,
        }
    }
}

pub fn run(context: &Context, verb: Verb) -> Outcome {
    if !verb.is_only_about_files() {
        context.must_be_this_machine()?;
    }
    let hook = |dir: &Utf8PathBuf| Hook::new(&context.layout, context.manager, dir);
    let named = |name: &str| ServiceName::new(name).map_err(Failure::Usage);
    match verb {
        Verb::Declare(arguments) => declare::run(context, &arguments),
        Verb::List { json } => list::run(context, json),
        Verb::Status { name, json } => status::run(context, &named(&name)?, json),
        Verb::Show { name, sources } => show::run(context, &name, sources),
        Verb::Env { name, json } => env::run(context, &named(&name)?, json),
        Verb::Logs { name, generation, options } => logs::run(context, &named(&name)?, generation.as_ref(), &options),
        Verb::Start { name } => lifecycle::start(context, &named(&name)?),
        Verb::Stop { name } => lifecycle::stop(context, &named(&name)?),
        Verb::Reload { name } => lifecycle::reload(context, &named(&name)?),
        Verb::Restart { name } => overrides::restart(context, &named(&name)?),
        Verb::Scale { name, concurrency } => {
            let name = named(&name)?;
            must_be_one(context, &name)?;
            overrides::scale(context, &name, concurrency)
        }
        Verb::Enable { name } => {
            let name = named(&name)?;
            must_be_whole(context, &name, "enable")?;
            overrides::enable(context, &name)
        }
        Verb::Disable { name } => {
            let name = named(&name)?;
            must_be_whole(context, &name, "disable")?;
            overrides::disable(context, &name)
        }
        Verb::Set(arguments) => overrides::set(context, &arguments),
        Verb::Rollback { name, generation } => rollback::run(context, &named(&name)?, generation.as_deref()),
        Verb::Rm { name } => {
            let name = named(&name)?;
            must_be_whole(context, &name, "rm")?;
            remove::run(context, &name)
        }
        Verb::StartHook { dir } => Ok(hook(&dir)?.start()?),
        Verb::ReloadHook { dir } => Ok(hook(&dir)?.reload()?),
        Verb::StopHook { dir } => Ok(hook(&dir)?.stop()?),
        Verb::CleanupHook { dir } => Ok(hook(&dir)?.cleanup()?),
    }
}

/// The services that a name stands for: its parts, declared or running, where it has some, else itself.
pub fn members(layout: &Layout, name: &ServiceName) -> Vec<ServiceName> {
    let mut parts: BTreeSet<_> = live::parts_of(layout, name).into_iter().collect();
    // Parts that cannot be told are told of where somebody compiles them.
    let location = search::find_one(layout, name);
    parts.extend(location.and_then(|location| search::parts(layout, &location).ok()).unwrap_or_default());
    if parts.is_empty() { vec![name.clone()] } else { parts.into_iter().collect() }
}

/// # Errors
/// If the service has parts: what is asked for has one answer for each.
fn must_be_one(context: &Context, name: &ServiceName) -> Outcome {
    let members = members(&context.layout, name);
    if members.contains(name) {
        return Ok(());
    }
    let names: Vec<_> = members.iter().map(ServiceName::as_str).collect();
    Err(Failure::Usage(format!("{name} has parts; name one of them: {}", names.join(", "))))
}

/// # Errors
/// If the service is a part of another: what is asked for is for all parts together.
fn must_be_whole(context: &Context, name: &ServiceName, verb: &str) -> Outcome {
    match search::find_one(&context.layout, name).and_then(|location| location.group) {
        Some(group) => {
            let group = &group.name;
            let why = format!("{name} is a part of {group}; `conductor service {verb} {group}` is for all of it");
            Err(Failure::Usage(why))
        }
        None => Ok(()),
    }
}

/// What stands for the state of a service that is not running and may not, on this machine.
pub fn held_back(context: &Context, service: &Service, state: &str) -> Option<String> {
    let why = (state == "inactive").then(|| condition::held_back(context.layout.scope, service))??;
    Some(format!("held back: {why}"))
}
