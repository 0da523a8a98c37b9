//! `conductor service …`

mod declare;
mod env;
mod history;
pub(crate) mod jobs;
mod list;
mod logs;
mod rollback;
mod set;
mod show;
mod status;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use clap::Subcommand;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::{journal, words};
use crate::deployment::announce;
use crate::deployment::queue::{self, Queue};
use crate::deployment::slot;
use crate::names::{GenerationId, ServiceName};
use crate::service::hook::Hook;
use crate::service::modify::{self, Installed};
use crate::service::parts::{group_of, members};
use crate::service::{job, lifecycle, liveness, promote, remove};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Declare a service or a new version of it, and apply it
    Declare(declare::Arguments),
    /// List the declared services and their deployments
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a service, its deployments and the slots they hold
    Status {
        /// Name of the service
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show when jobs ran, how they ended, and when they run next
    Jobs {
        /// Names of services [default: all]
        names: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the declaration in force, drop-ins included, as TOML
    Show {
        /// Name of the service
        name: String,
        /// Show the file that each value comes from
        #[arg(long)]
        sources: bool,
    },
    /// Print the environment of its processes and hooks, systemd.exec(5)
    Env {
        /// Name of the service
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the log of its deployments, journalctl(1)
    Logs {
        /// Name of the service
        name: String,
        /// Show this generation only
        #[arg(long)]
        generation: Option<GenerationId>,
        #[command(flatten)]
        options: journal::Options,
    },
    /// Start a service and wait until it serves
    Start {
        /// Name of the service
        name: String,
    },
    /// Stop a service and wait until its last request is answered
    Stop {
        /// Name of the service
        name: String,
    },
    /// Apply the declaration to a service that runs
    Reload {
        /// Name of the service
        name: String,
    },
    /// Replace all deployments by new ones of the same configuration
    Restart {
        /// Name of the service
        name: String,
    },
    /// Change the number of deployments
    Scale {
        /// Name of the service
        name: String,
        /// Number of deployments, from 1 to the service's slots
        #[arg(value_name = "N")]
        concurrency: u32,
    },
    /// Start a service at boot; starts nothing now
    Enable {
        /// Name of the service
        name: String,
    },
    /// Do not start a service at boot; stops nothing now
    Disable {
        /// Name of the service
        name: String,
    },
    /// Override declared values and apply them
    Set(set::Arguments),
    /// List the generations that have served and can be rolled back to
    History {
        /// Name of the service
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Roll back to a generation that has served before
    Rollback {
        /// Name of the service
        name: String,
        /// ID of the generation, or its beginning [default: the previous one]
        generation: Option<String>,
    },
    /// Take the next step of a canary now
    Promote {
        /// Name of the service
        name: String,
        /// Give the new generation all slots, whatever steps are left
        #[arg(long)]
        all: bool,
    },
    /// Give the slots of a canary back to the old generation, and stop the new one
    Abort {
        /// Name of the service
        name: String,
    },
    /// Stop a service and remove its declaration
    Rm {
        /// Name of the service
        name: String,
    },
    /// Run ExecStart= of a service
    #[command(name = "_start", hide = true)]
    StartHook {
        /// Stored directory of the service
        dir: Utf8PathBuf,
    },
    /// Run ExecReload= of a service
    #[command(name = "_reload", hide = true)]
    ReloadHook {
        /// Stored directory of the service
        dir: Utf8PathBuf,
    },
    /// Run ExecStop= of a service
    #[command(name = "_stop", hide = true)]
    StopHook {
        /// Stored directory of the service
        dir: Utf8PathBuf,
    },
    /// Run ExecStopPost= of a service
    #[command(name = "_cleanup", hide = true)]
    CleanupHook {
        /// Stored directory of the service
        dir: Utf8PathBuf,
    },
    /// Run ExecStart= of a job: its command, of the generation that serves
    #[command(name = "_job", hide = true)]
    JobHook {
        /// Stored directory of the service
        dir: Utf8PathBuf,
        /// Name of the job
        job: String,
    },
    /// Run ExecStart= of a canary's next step
    #[command(name = "_step", hide = true)]
    StepHook {
        /// Stored directory of the service
        dir: Utf8PathBuf,
    },
    /// Run ExecStart= of a queue: wait until a deployment serves, then become a command that connects to it
    #[command(name = "_queue", hide = true)]
    QueueHook {
        /// Limit the time that this takes, systemd.time(7)
        #[arg(long, value_parser = words::span)]
        timeout: Duration,
        /// Stored directory of the service
        dir: Utf8PathBuf,
        /// Number of the queue, and its listener
        queue: String,
        /// Command to become
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Ask deployments whose live checks are this far apart whether they live
    #[command(name = "_live", hide = true)]
    LiveHook {
        /// Time between two checks
        #[arg(value_parser = words::span)]
        interval: Duration,
    },
    /// Run ExecStart= of a port: connect the callers of the socket at standard input, and announce their addresses
    #[command(name = "_announce", hide = true)]
    AnnounceHook {
        /// Unix socket of the first slot
        slot: Utf8PathBuf,
    },
    /// Run ExecStopPost= of a queue: close it if callers have waited in vain
    #[command(name = "_unqueue", hide = true)]
    UnqueueHook {
        /// Stored directory of the service
        dir: Utf8PathBuf,
        /// Number of the queue, and its listener
        queue: String,
    },
}

impl Verb {
    /// Returns whether it works without the running systemd.
    fn works_on_files(&self) -> bool {
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

pub(crate) fn run(context: &Context, verb: Verb) -> Outcome {
    if !verb.works_on_files() {
        context.must_be_this_machine()?;
    }
    match verb {
        Verb::List { json } => list::run(context, json),
        Verb::Status { name, json } => status::run(context, &words::service(&name)?, json),
        Verb::Jobs { names, json } => jobs::run(context, &names, json),
        Verb::Show { name, sources } => show::run(context, &name, sources),
        Verb::Env { name, json } => env::run(context, &words::service(&name)?, json),
        Verb::Logs { name, generation, options } => {
            logs::run(context, &words::service(&name)?, generation.as_ref(), &options)
        }
        Verb::StartHook { dir } => Ok(Hook::new(context.machine(), &dir)?.start()?),
        Verb::ReloadHook { dir } => Ok(Hook::new(context.machine(), &dir)?.reload()?),
        Verb::StopHook { dir } => Ok(Hook::new(context.machine(), &dir)?.stop()?),
        Verb::CleanupHook { dir } => Ok(Hook::new(context.machine(), &dir)?.cleanup()?),
        Verb::QueueHook { timeout, dir, queue, command } => {
            let queue = queue_of(context, &dir, &queue)?;
            let Err(error) = queue::relay(&context.layout, &queue, timeout, &command);
            Err(error.into())
        }
        Verb::LiveHook { interval } => Ok(liveness::run(&context.machine(), interval)?),
        Verb::AnnounceHook { slot } => {
            let Err(error) = announce::relay(&slot);
            Err(error.into())
        }
        Verb::JobHook { dir, job } => {
            let name = context.layout.service_of(&dir).map_err(Failure::Usage)?;
            exit(job::run(&context.machine(), &name, &job)?)
        }
        Verb::StepHook { dir } => {
            let name = context.layout.service_of(&dir).map_err(Failure::Usage)?;
            exit(promote::step(&context.machine(), &name)?)
        }
        Verb::UnqueueHook { dir, queue } => unqueue(context, &queue_of(context, &dir, &queue)?),
        verb => change(context, verb),
    }
}

fn exit(code: u8) -> Outcome {
    if code == 0 { Ok(()) } else { Err(Failure::Exit(code)) }
}

/// Closes a queue whose relay has failed, by systemd's `$SERVICE_RESULT`. One that was killed starts again with its callers.
fn unqueue(context: &Context, queue: &Queue) -> Outcome {
    let Context { layout, manager } = context;
    if std::env::var("SERVICE_RESULT").is_ok_and(|result| result == "exit-code") {
        slot::close_queue(layout, *manager, queue).map_err(crate::error::Error::from)?;
    }
    Ok(())
}

/// Returns the queue that its units name.
fn queue_of(context: &Context, dir: &Utf8Path, instance: &str) -> Result<Queue, Failure> {
    let name = context.layout.service_of(dir).map_err(Failure::Usage)?;
    Queue::from_instance(&name, instance).ok_or_else(|| Failure::Usage(format!("{instance:?} is not a queue")))
}

/// Runs a verb that changes a service.
fn change(context: &Context, verb: Verb) -> Outcome {
    let machine = &context.machine();
    match verb {
        Verb::Declare(arguments) => declare::run(context, arguments),
        Verb::Start { name } => Ok(lifecycle::start(machine, &words::service(&name)?)?),
        Verb::Stop { name } => {
            let ran = lifecycle::stop(machine, &words::service(&name)?)?;
            outln!("{name}: {}", if ran { "stopped" } else { "was not running" });
            Ok(())
        }
        Verb::Reload { name } => Ok(lifecycle::reload(machine, &words::service(&name)?)?),
        Verb::Restart { name } => Ok(modify::restart(machine, &words::service(&name)?)?),
        Verb::Scale { name, concurrency } => Ok(modify::scale(machine, &without_parts(context, &name)?, concurrency)?),
        Verb::Enable { name } => {
            let Installed { wanted_by, is_unchanged } = modify::enable(machine, &group(context, &name, "enable")?)?;
            let already = if is_unchanged { " already" } else { "" };
            outln!("{name}: enabled{already}: {} starts it; nothing was started now", wanted_by.join(", "));
            Ok(())
        }
        Verb::Disable { name } => {
            let Installed { is_unchanged, .. } = modify::disable(machine, &group(context, &name, "disable")?)?;
            let already = if is_unchanged { " already" } else { "" };
            outln!("{name}: disabled{already}: nothing starts it at boot; nothing was stopped now");
            Ok(())
        }
        Verb::Set(arguments) => set::run(context, &arguments),
        Verb::History { name, json } => history::run(context, &words::service(&name)?, json),
        Verb::Rollback { name, generation } => rollback::run(context, &words::service(&name)?, generation.as_deref()),
        Verb::Promote { name, all } => Ok(promote::promote(machine, &words::service(&name)?, all)?),
        Verb::Abort { name } => Ok(promote::abort(machine, &words::service(&name)?)?),
        Verb::Rm { name } => Ok(remove::remove(machine, &group(context, &name, "rm")?)?),
        _ => Ok(()),
    }
}

/// Parses the name of a service without parts.
///
/// # Errors
/// If the service has parts: each has a value of its own.
fn without_parts(context: &Context, name: &str) -> Result<ServiceName, Failure> {
    let name = words::service(name)?;
    let members = members(&context.layout, &name)?;
    if members.contains(&name) {
        return Ok(name);
    }
    let names: Vec<_> = members.iter().map(ServiceName::as_str).collect();
    Err(Failure::Usage(format!("{name} has parts; name one of them: {}", names.join(", "))))
}

/// Parses the name of a service that is not a part of another.
///
/// # Errors
/// If it is a part: the verb applies to all parts together.
fn group(context: &Context, name: &str, verb: &str) -> Result<ServiceName, Failure> {
    let name = words::service(name)?;
    match group_of(&context.layout, &name)? {
        Some(group) => {
            let why = format!("{name} is a part of {group}; `conductor service {verb} {group}` applies to all parts");
            Err(Failure::Usage(why))
        }
        None => Ok(name),
    }
}
