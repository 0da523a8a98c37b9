//! `conductor cgi logs`

use std::process::Stdio;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::journal;
use crate::function::find::{DIGITS, find};
use crate::layout::Scope;
use crate::names::{FUNCTIONS_SLICE, FunctionId, is_hex};

/// The field of what a function's processes log.
const FIELD: &str = "CONDUCTOR_FUNCTION";

/// Shows what the function's gateway and programs logged, and what systemd logged about its units.
pub(crate) fn run(context: &Context, word: &str, options: &journal::Options) -> Outcome {
    let id = of_word(context, word)?;
    let (unit, requests) = (id.unit(), id.request_unit());
    let all: Vec<String> = match context.layout.scope {
        // Any user can write an entry with any field, but not with those that journald adds itself, systemd.journal-fields(7).
        Scope::System => [
            format!("{FIELD}={id}"),
            format!("_SYSTEMD_SLICE={FUNCTIONS_SLICE}"),
            format!("_SYSTEMD_SLICE={unit}.slice"),
            "+".to_owned(),
            // journald has no slice of a process that ended at once. Neither transport lets its sender add fields.
            format!("{FIELD}={id}"),
            "_TRANSPORT=stdout".to_owned(),
            "_TRANSPORT=syslog".to_owned(),
            "+".to_owned(),
            "_PID=1".to_owned(),
            format!("UNIT={unit}.service"),
            format!("UNIT={unit}.socket"),
        ]
        .to_vec(),
        // A user's manager cannot mark what its services log.
        Scope::User => [format!("--unit={unit}.service"), format!("--unit={requests}@*.service")].to_vec(),
    };
    journal::show(context, &all, options)
}

/// Returns the function that a word names. One that was removed is known to the journal.
fn of_word(context: &Context, word: &str) -> Result<FunctionId, Failure> {
    if let Some(id) = FunctionId::new(word) {
        return Ok(id);
    }
    let failure = match find(&context.layout, word) {
        Ok((id, _)) => return Ok(id),
        Err(failure) => failure,
    };
    if !is_hex(word) || word.len() < DIGITS {
        return Err(failure.into());
    }
    let mut command = context.manager.journalctl();
    let output = command.arg(format!("--field={FIELD}")).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut ids = text.lines().filter_map(FunctionId::new).filter(|id| id.as_str().starts_with(word));
    match (ids.next(), ids.next()) {
        (Some(id), None) => Ok(id),
        _ => Err(failure.into()),
    }
}
