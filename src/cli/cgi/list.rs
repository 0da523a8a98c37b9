//! `conductor cgi list`

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::cli::table;
use crate::compile::functions::load_stored_function;
use crate::diagnostic::Diagnostic;
use crate::function::state::{State, states};
use crate::log::note;
use crate::model::function::{Interface, Mode};
use crate::names::FunctionId;
use crate::source::functions;

/// A function in a listing.
#[derive(Serialize)]
pub(crate) struct Row {
    id: FunctionId,
    name: Option<String>,
    mode: Option<Mode>,
    interface: Option<Interface>,
    /// Aliases that lead to it now.
    aliases: Vec<String>,
    state: State,
    /// Why it does not compile.
    error: Option<String>,
}

/// Lists the declared functions.
///
/// # Errors
/// If a directory of functions or aliases cannot be listed.
pub(crate) fn rows(context: &Context) -> Result<Vec<Row>, Diagnostic> {
    let layout = &context.layout;
    let found = functions::find(layout)?;
    let ids: Vec<_> = found.keys().cloned().collect();
    let is_running = context.machine().is_running();
    let states = if is_running { states(context.manager, &ids) } else { vec![State::Unknown; ids.len()] };
    let aliases = functions::aliases(layout)?;
    let rows = found.into_iter().zip(states).map(|((id, dir), state)| {
        let loaded = load_stored_function(layout, &id, &dir, context.systemd());
        let function = loaded.as_ref().ok().map(|compiled| &compiled.function);
        let owned = aliases.iter().filter(|(_, owned)| owned.id == id);
        Row {
            name: function.map(|function| function.name.clone()),
            mode: function.map(|function| function.mode),
            interface: function.map(|function| function.interface),
            aliases: owned.map(|(alias, _)| alias.to_string()).collect(),
            state,
            error: loaded.err().and_then(|errors| errors.0.first().map(|first| first.headline())),
            id,
        }
    });
    Ok(rows.collect())
}

/// Prints functions as a table.
pub(crate) fn print(rows: &[Row]) {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    let cells = rows.iter().map(|row| {
        vec![
            row.id.short().to_owned(),
            or_unknown(row.name.clone()),
            or_unknown(row.mode.map(|mode| mode.to_string())),
            or_unknown(row.interface.map(|interface| interface.to_string())),
            row.state.to_string(),
            row.aliases.join(" "),
        ]
    });
    table::print(&["ID", "NAME", "MODE", "INTERFACE", "STATE", "ALIASES"], cells.collect());
    for row in rows {
        if let Some(error) = &row.error {
            note!("{}: does not compile: {error}", row.id.short());
        } else if row.state == State::Failing {
            outln!("\n{}: failing\n  conductor cgi logs {}", row.name.as_deref().unwrap_or("?"), row.id.short());
        }
    }
}

pub(crate) fn run(context: &Context, json: bool) -> Outcome {
    let rows = rows(context)?;
    if json {
        return table::print_json(&rows);
    }
    if rows.is_empty() {
        outln!("no function is declared; `conductor cgi declare MANIFEST` declares one");
        return Ok(());
    }
    print(&rows);
    Ok(())
}
