//! What people type.

mod cgi;
mod check;
mod complete;
mod daemon_reload;
mod declare;
mod deployment;
mod display;
mod doctor;
mod environment;
mod explain;
mod journal;
mod new;
mod output;
mod paint;
mod plan;
mod progress;
mod proxy;
mod render;
mod run;
mod service;
mod status;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{CommandFactory, Parser, Subcommand};

use crate::diagnostic::Diagnostics;
use crate::error::Error;
use crate::layout::{Layout, Scope};
use crate::log;
use crate::names::ServiceName;
use crate::source::search::{self, Location};
use crate::systemd::{self, Manager};

/// Compiles service declarations into systemd units and reverse-proxy configuration.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Work with the calling user's manager instead of the system's
    #[arg(long, global = true)]
    user: bool,
    /// Read and write files below DIR; for commands that need no running systemd
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide_default_value = true)]
    root: Utf8PathBuf,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Subcommand)]
enum Noun {
    /// Write a declaration to begin with, commented and working as it is
    New(new::Arguments),
    /// Reload systemd and bring every service to what is declared
    DaemonReload,
    /// Show everything that is declared and runs, on one page
    Status(status::Arguments),
    /// Show what daemon-reload would do, and which input makes it so
    Plan(plan::Arguments),
    /// Say of each declared key which lines of units and of the proxy's configuration it became
    Explain(explain::Arguments),
    /// Show what a declaration compiles to
    Render(render::Arguments),
    /// Say everything that is wrong with declarations, systemd's own opinion included
    Check(check::Arguments),
    /// Declare, look at, change and remove services
    #[command(subcommand)]
    Service(service::Verb),
    /// Run one of a service's commands as its deployments run, or list them
    Run(run::Arguments),
    /// Say whether this host is ready, and what to do if not
    Doctor(doctor::Arguments),
    /// List and look at deployments
    #[command(subcommand)]
    Deployment(deployment::Verb),
    /// Declare, list, remove and serve CGI functions
    #[command(subcommand)]
    Cgi(cgi::Verb),
    /// Print what makes a shell complete this command's words: `. <(conductor completions bash)`
    Completions { shell: complete::Shell },
    /// What conductor-proxy.service runs
    #[command(subcommand, hide = true)]
    Proxy(proxy::Verb),
}

/// How a command ends when it does not end well.
pub enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Declaration(Diagnostics),
    /// An exit code that says it all: of a command that was run, or 4 for a plan with changes.
    Exit(u8),
}

type Outcome = Result<(), Failure>;

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Declaration(_) => 3,
            Self::Exit(code) => *code,
        }
    }

    /// What is told of it, for a terminal.
    fn coloured(&self) -> String {
        match self {
            Self::Failed(why) | Self::Usage(why) => format!("{} {why}", paint::error_label()),
            Self::Declaration(errors) => errors.coloured(),
            Self::Exit(_) => String::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) | Self::Usage(why) => write!(out, "error: {why}"),
            Self::Declaration(errors) => errors.fmt(out),
            Self::Exit(code) => write!(out, "exit code {code}"),
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(errors: Diagnostics) -> Self {
        Self::Declaration(errors)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let is_others = error.kind() == std::io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root();
        let help = "\n  help: the system's services are root's; with --user they are your own manager's";
        Self::Failed(format!("{error}{}", if is_others { help } else { "" }))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<systemd::Error> for Failure {
    fn from(error: systemd::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What every command works with.
struct Context {
    layout: Layout,
    manager: Manager,
}

impl Context {
    fn new(cli: &Cli) -> Result<Self, Failure> {
        if !cli.root.is_dir() {
            return Err(Failure::Usage(format!("--root {}: there is no such directory", cli.root)));
        }
        let scope = if cli.user { Scope::User } else { Scope::System };
        let layout = match scope {
            Scope::System => Layout::system(&cli.root),
            Scope::User => Layout::user(&cli.root, |name| std::env::var(name).ok()).map_err(Failure::Failed)?,
        };
        Ok(Self { layout, manager: Manager::new(scope) })
    }

    /// For what talks to the running systemd: that one is not below another root.
    fn must_be_this_machine(&self) -> Outcome {
        if self.layout.root() == "/" {
            return Ok(());
        }
        Err(Failure::Usage("--root is for commands that only read or write files".to_owned()))
    }

    /// The version of the systemd that will read the units.
    fn systemd(&self) -> Option<u16> {
        crate::directive::systemd_version(self.layout.root().as_std_path())
    }

    /// A declared service, by name.
    fn location(&self, name: &str) -> Result<Location, Failure> {
        let name = ServiceName::new(name).map_err(Failure::Usage)?;
        search::find_one(&self.layout, &name).ok_or_else(|| {
            let dirs: Vec<_> = self.layout.declaration_dirs().iter().map(|dir| dir.as_str()).collect();
            Failure::Failed(format!("no service {name} is declared in {}", dirs.join(", ")))
        })
    }
}

/// The command line, for whoever writes about it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Hooks inherit the sandbox's UMask=0077, but the proxy has to walk through the slots.
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    complete::answer();
    let outcome = run();
    let written = output::finish();
    match outcome.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Exit(code)) => ExitCode::from(code),
        Err(failure) => {
            log::line(format_args!("{}", failure.coloured()));
            ExitCode::from(failure.code())
        }
    }
}

fn run() -> Outcome {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => error.exit(),
        // What was asked for: help, or the version.
        Err(asked) => {
            output::write_coloured(format_args!("{}", asked.render().ansi()));
            return Ok(());
        }
    };
    Context::new(&cli).and_then(|context| match cli.noun {
        Noun::DaemonReload => context.must_be_this_machine().and_then(|()| daemon_reload::run(&context)),
        Noun::Doctor(arguments) => context.must_be_this_machine().and_then(|()| doctor::run(&context, &arguments)),
        Noun::New(arguments) => new::run(&arguments),
        Noun::Status(arguments) => context.must_be_this_machine().and_then(|()| status::run(&context, &arguments)),
        Noun::Plan(arguments) => context.must_be_this_machine().and_then(|()| plan::run(&context, &arguments)),
        Noun::Explain(arguments) => explain::run(&context, &arguments),
        Noun::Render(arguments) => render::run(&context, &arguments),
        Noun::Check(arguments) => check::run(&context, &arguments),
        Noun::Service(verb) => service::run(&context, verb),
        Noun::Run(arguments) => context.must_be_this_machine().and_then(|()| run::run(&context, &arguments)),
        Noun::Deployment(verb) => deployment::run(&context, verb),
        Noun::Cgi(verb) => cgi::run(&context, verb),
        Noun::Completions { shell } => complete::print(shell),
        Noun::Proxy(verb) => proxy::run(&context, verb),
    })
}

/// `VAR=VAL` words.
fn variables(words: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(Failure::Usage(format!("{word:?} is not VAR=VAL")));
        };
        let ok = |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit();
        if name.is_empty() || !name.chars().enumerate().all(ok) {
            return Err(Failure::Usage(format!("{name:?} is not a name of a variable: use letters, digits and _")));
        }
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// Words that name something to work on, apart from `VAR=VAL` words.
fn split_words(words: &[String]) -> (Vec<String>, Vec<String>) {
    words.iter().cloned().partition(|word| word.contains('/') || !word.contains('='))
}

/// The service's name that a declared directory stands for.
fn name_of(dir: &Utf8Path, given: Option<&str>) -> Result<ServiceName, Failure> {
    if let Some(name) = given {
        return ServiceName::new(name).map_err(Failure::Usage);
    }
    let full = dir.canonicalize_utf8().map_err(|error| Failure::Failed(format!("{dir}: {error}")))?;
    let name = full.file_name().unwrap_or("");
    ServiceName::new(name).map_err(|why| Failure::Usage(format!("{why}; give one with --name")))
}
