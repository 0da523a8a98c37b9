//! What shells offer behind the cursor: `conductor completions SHELL`.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use crate::cli::output::out;
use crate::cli::{Cli, Context, Failure, Outcome, service};
use crate::live;
use crate::names::{GenerationId, ServiceName};
use crate::service::history;
use crate::source::{functions, search};

/// The shells that completions are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

impl Shell {
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Fish => "fish",
            Self::Zsh => "zsh",
        }
    }
}

impl ValueEnum for Shell {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Bash, Self::Fish, Self::Zsh]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// Prints what a shell reads; it asks this program again at each completion.
pub fn print(shell: Shell) -> Outcome {
    let shells = Shells::builtins();
    let completer = shells.completer(shell.name()).ok_or_else(|| Failure::Failed("no such shell".to_owned()))?;
    let mut script = Vec::new();
    completer.write_registration("COMPLETE", "conductor", "conductor", "conductor", &mut script)?;
    out!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

/// Answers a shell that asks, and ends then.
pub fn answer() {
    CompleteEnv::with_factory(command).complete();
}

/// The command line, and who knows its words.
fn command() -> Command {
    with_names(Cli::command())
}

fn with_names(command: Command) -> Command {
    command.mut_args(with_name).mut_subcommands(with_names)
}

/// Arguments are called by what they name.
fn with_name(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "name" if arg.is_positional() => arg.add(ArgValueCompleter::new(services)),
        "names" | "service" => arg.add(ArgValueCompleter::new(services)),
        "deployment" => arg.add(ArgValueCompleter::new(deployments)),
        "function" => arg.add(ArgValueCompleter::new(functions)),
        "generation" => arg.add(ArgValueCompleter::new(generations)),
        "of" => arg.add(ArgValueCompleter::new(|word: &OsStr| {
            services(word).into_iter().chain(deployments(word)).collect::<Vec<_>>()
        })),
        _ => arg,
    }
}

/// What can be asked without parsing a line that is not whole yet.
fn context() -> Option<Context> {
    let user = std::env::args().any(|word| word == "--user");
    Context::new(&Cli { user, root: "/".into(), noun: super::Noun::DaemonReload }).ok()
}

fn names(context: &Context) -> BTreeSet<ServiceName> {
    let layout = &context.layout;
    let declared = search::find(layout).0.into_iter().map(|location| location.name);
    let all: BTreeSet<_> = declared.chain(live::all(layout).into_keys()).collect();
    let parts: Vec<_> = all.iter().flat_map(|name| service::members(layout, name)).collect();
    all.into_iter().chain(parts).collect()
}

fn candidates(word: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    names.into_iter().filter(|name| name.starts_with(&*word)).map(CompletionCandidate::new).collect()
}

fn services(word: &OsStr) -> Vec<CompletionCandidate> {
    let names = context().map(|context| names(&context)).unwrap_or_default();
    candidates(word, names.iter().map(ToString::to_string))
}

fn deployments(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(context) = context() else { return Vec::new() };
    let of = |name: &ServiceName| crate::deployment::state::list(&context.layout, name).unwrap_or_default();
    let units = names(&context).iter().flat_map(of).map(|deployment| deployment.unit()).collect::<Vec<_>>();
    candidates(word, units)
}

/// Their IDs, and where they are reached.
fn functions(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(context) = context() else { return Vec::new() };
    let ids = functions::find(&context.layout).into_keys().map(|id| id.to_string());
    let aliases = functions::aliases(&context.layout).into_keys().map(|alias| alias.to_string());
    candidates(word, ids.chain(aliases))
}

/// Of the services on the line.
fn generations(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(context) = context() else { return Vec::new() };
    let words: BTreeSet<_> = std::env::args().skip(1).collect();
    let named = names(&context).into_iter().filter(|name| words.contains(name.as_str()));
    let kept = named.flat_map(|name| history::all(&context.layout, &name).unwrap_or_default());
    candidates(word, kept.map(|kept| GenerationId::to_string(&kept.id)))
}
