//! `conductor completions SHELL`, and the answers to shells that complete a command line.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap::builder::PossibleValue;
use clap::{Arg, Command, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::Shells;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::out;
use crate::compile::compile_located;
use crate::live;
use crate::names::{GenerationId, ServiceName};
use crate::service::history;
use crate::service::parts::members;
use crate::source::{functions, search};

/// Shells that completions are generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
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

/// Prints a script for the shell, which calls this program at each completion.
pub(crate) fn print(shell: Shell) -> Outcome {
    let shells = Shells::builtins();
    let completer = shells.completer(shell.name()).ok_or_else(|| Failure::Failed("no such shell".to_owned()))?;
    let mut script = Vec::new();
    completer.write_registration("COMPLETE", "conductor", "conductor", "conductor", &mut script)?;
    out!("{}", String::from_utf8_lossy(&script));
    Ok(())
}

/// Answers a shell that asks for completions of a command line, and ends this program then.
pub(crate) fn answer(command: impl Fn() -> Command) {
    CompleteEnv::with_factory(|| with_names(command())).complete();
}

/// Adds completers to the arguments of a command and its subcommands.
fn with_names(command: Command) -> Command {
    command.mut_args(with_name).mut_subcommands(with_names)
}

/// Adds the completer of an argument, which its name determines.
fn with_name(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "name" if arg.is_positional() => arg.add(ArgValueCompleter::new(services)),
        "names" | "service" => arg.add(ArgValueCompleter::new(services)),
        "deployment" => arg.add(ArgValueCompleter::new(deployments)),
        "function" => arg.add(ArgValueCompleter::new(functions)),
        "generation" => arg.add(ArgValueCompleter::new(generations)),
        "command" => arg.add(ArgValueCompleter::new(commands)),
        "of" => arg.add(ArgValueCompleter::new(|word: &OsStr| {
            services(word).into_iter().chain(deployments(word)).collect::<Vec<_>>()
        })),
        _ => arg,
    }
}

/// Creates a context without parsing the command line, which is not complete yet.
fn context() -> Option<Context> {
    let user = std::env::args().any(|word| word == "--user");
    Context::new(user, "/".into()).ok()
}

fn names(context: &Context) -> BTreeSet<ServiceName> {
    let layout = &context.layout;
    // The commands report what cannot be listed.
    let declared = search::find(layout).unwrap_or_default().locations.into_iter().map(|location| location.name);
    let all: BTreeSet<_> = declared.chain(live::known(layout).into_keys()).collect();
    let parts: Vec<_> = all.iter().filter_map(|name| members(layout, name).ok()).flatten().collect();
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

/// Commands of the services on the command line, as they are declared.
fn commands(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(context) = context() else { return Vec::new() };
    let words: BTreeSet<_> = std::env::args().skip(1).collect();
    let named = names(&context).into_iter().filter(|name| words.contains(name.as_str()));
    let declared = named.filter_map(|name| {
        let location = context.location(name.as_str()).ok()?;
        compile_located(&context.layout, &location, &context.target()).ok()
    });
    candidates(word, declared.flat_map(|compiled| compiled.service.commands.into_keys()))
}

/// IDs and aliases.
fn functions(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(context) = context() else { return Vec::new() };
    let ids = functions::find(&context.layout).unwrap_or_default().into_keys().map(|id| id.to_string());
    let aliases = functions::aliases(&context.layout).unwrap_or_default().into_keys().map(|alias| alias.to_string());
    candidates(word, ids.chain(aliases))
}

/// Generations of the services on the command line.
fn generations(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(context) = context() else { return Vec::new() };
    let words: BTreeSet<_> = std::env::args().skip(1).collect();
    let named = names(&context).into_iter().filter(|name| words.contains(name.as_str()));
    let past = named.flat_map(|name| history::all(&context.layout, &name).unwrap_or_default());
    candidates(word, past.map(|past| GenerationId::to_string(&past.id)))
}
