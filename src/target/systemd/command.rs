//! Declared commands as systemd's command lines, systemd.service(5).

use camino::Utf8Path;

use crate::escape::{CommandLine, DeclaredWord};
use crate::model::{Command, Hook, program_path};
use crate::target::systemd::unit::Argument;

/// Writes a declared command whose files are in `files`.
pub(super) fn declared_command(files: &Utf8Path, command: &Command) -> String {
    let Some((program, arguments)) = command.0.split_first() else { return String::new() };
    CommandLine { program: program_path(files, program).as_str(), arguments }.to_string()
}

/// Writes a declared command as arguments of another, so that systemd expands variables in its program's path.
pub(super) fn argument_command(files: &Utf8Path, command: &Command) -> String {
    let Some((program, arguments)) = command.0.split_first() else { return String::new() };
    format!("{}{}", Argument(&program_path(files, program)), words(arguments))
}

/// Writes declared words, each after a space.
pub(super) fn words(words: &[String]) -> String {
    words.iter().map(|word| format!(" {}", DeclaredWord(word))).collect()
}

/// Writes the time limit of a hook: timeout(1), which ends it and all that it started in its process group.
pub(super) fn limit(hook: &Hook) -> String {
    format!("timeout --verbose --kill-after=1s {}s", hook.timeout.as_secs_f64())
}

/// Writes a hook with its time limit.
pub(super) fn limited_command(files: &Utf8Path, hook: &Hook) -> String {
    format!("{} {}", limit(hook), argument_command(files, &hook.command))
}
