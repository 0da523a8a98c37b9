//! `conductor service rollback`

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::table;
use crate::names::ServiceName;
use crate::service::history::PastGeneration;
use crate::service::rollback::Rollback;

pub(crate) fn run(context: &Context, name: &ServiceName, generation: Option<&str>) -> Outcome {
    let machine = context.machine();
    let rollback = Rollback::begin(&machine, name)?;
    let Some(prefix) = generation else { return Ok(rollback.run(rollback.previous()?)?) };
    match rollback.matching(prefix)[..] {
        [past] => Ok(rollback.run(past)?),
        [] => Err(Failure::Failed(format!("{name}: no stored generation begins with {prefix:?}\n{}", list(&rollback)))),
        _ => Err(Failure::Failed(format!("{name}: several generations begin with {prefix:?}\n{}", list(&rollback)))),
    }
}

/// The past generations, and in which keys and files each differs from the declaration.
fn list(rollback: &Rollback) -> String {
    let differences = |past: &PastGeneration| match rollback.differences(past) {
        Some(Ok(keys)) => keys.into_iter().collect::<Vec<_>>().join(", "),
        Some(Err(_)) => "not readable".to_owned(),
        None => "nothing is declared".to_owned(),
    };
    let rows = rollback.history.iter().map(|past| {
        let mark = if Some(&past.id) == rollback.current.as_ref() { "serves" } else { "" };
        let served = humantime::format_rfc3339_seconds(past.served).to_string();
        vec![past.id.to_string(), served, mark.to_owned(), differences(past)]
    });
    let text = table::text(&["GENERATION", "SINCE", "", "DIFFERS IN"], rows.collect());
    text.trim_end().lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}
