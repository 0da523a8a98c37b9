//! `conductor cgi list`

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::cli::table;
use crate::compile::functions::load_stored_function;
use crate::function::store;
use crate::log::note;
use crate::model::alias::Alias;
use crate::model::function::{Interface, Mode};
use crate::names::FunctionId;
use crate::source::functions;

/// One row of `list`.
#[derive(Serialize)]
struct Row {
    id: FunctionId,
    name: Option<String>,
    mode: Option<Mode>,
    interface: Option<Interface>,
    /// Aliases that lead to it now.
    aliases: Vec<String>,
    /// `running`, `idle`: it waits for a request, or `stopped`.
    state: String,
    /// Why it does not compile.
    error: Option<String>,
}

pub(crate) fn run(context: &Context, json: bool) -> Outcome {
    let layout = &context.layout;
    let mut rows = Vec::new();
    for (id, dir) in functions::find(layout)? {
        let loaded = load_stored_function(layout, &id, &dir, context.systemd());
        let function = loaded.as_ref().ok().map(|compiled| &compiled.function);
        rows.push(Row {
            name: function.map(|function| function.name.clone()),
            mode: function.map(|function| function.mode),
            interface: function.map(|function| function.interface),
            aliases: store::owned(layout, &id)?.iter().map(Alias::to_string).collect(),
            state: "unknown".to_owned(),
            error: loaded.err().and_then(|errors| errors.0.first().map(|first| first.headline())),
            id,
        });
    }
    if layout.root() == "/" {
        read_states(context, &mut rows);
    }
    if json {
        return table::print_json(&rows);
    }
    if rows.is_empty() {
        outln!("no function is declared; `conductor cgi declare MANIFEST` declares one");
        return Ok(());
    }
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    let cells = rows.iter().map(|row| {
        vec![
            row.id.short().to_owned(),
            or_unknown(row.name.clone()),
            or_unknown(row.mode.map(|mode| mode.to_string())),
            or_unknown(row.interface.map(|interface| interface.to_string())),
            row.state.clone(),
            row.aliases.join(" "),
        ]
    });
    table::print(&["ID", "NAME", "MODE", "INTERFACE", "STATE", "ALIASES"], cells.collect());
    for row in &rows {
        if let Some(error) = &row.error {
            note!("{}: does not compile: {error}", row.id.short());
        }
    }
    Ok(())
}

/// Fills in the states; they stay unknown where systemd does not answer.
fn read_states(context: &Context, rows: &mut [Row]) {
    let sockets: Vec<_> = rows.iter().map(|row| format!("{}.socket", row.id.unit())).collect();
    let (Ok(states), Ok(running)) =
        (context.manager.states(&sockets), context.manager.active("conductor-cgi-*.service"))
    else {
        return;
    };
    for (row, state) in rows.iter_mut().zip(states) {
        let unit = row.id.unit();
        let runs = running.iter().any(|running| running.starts_with(&unit));
        row.state = match (runs, state.as_str()) {
            (true, _) => "running",
            (false, "active") => "idle",
            (false, _) => "stopped",
        }
        .to_owned();
    }
}
