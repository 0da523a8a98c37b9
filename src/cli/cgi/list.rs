//! `conductor cgi list`

use serde::Serialize;

use crate::cgi::alias::Alias;
use crate::cgi::function::{Id, Interface, Mode};
use crate::cgi::source;
use crate::cgi::store;
use crate::cli::{Context, Outcome, table};
use crate::render::cgi::unit_name;

/// One row of `list`.
#[derive(Serialize)]
struct Row {
    id: Id,
    name: Option<String>,
    mode: Option<Mode>,
    interface: Option<Interface>,
    /// Those that lead to it now.
    aliases: Vec<String>,
    /// `running`, `idle`: it waits for a request, or `stopped`.
    state: String,
    /// Why it does not compile.
    error: Option<String>,
}

pub fn run(context: &Context, json: bool) -> Outcome {
    let layout = &context.layout;
    let mut rows = Vec::new();
    for (id, dir) in source::find(layout) {
        let loaded = source::load_stored(layout, &id, &dir, context.systemd());
        let function = loaded.as_ref().ok().map(|compiled| &compiled.function);
        rows.push(Row {
            name: function.map(|function| function.name.clone()),
            mode: function.map(|function| function.mode),
            interface: function.map(|function| function.interface),
            aliases: store::owned(layout, &id).iter().map(Alias::to_string).collect(),
            state: "unknown".to_owned(),
            error: loaded.err().and_then(|errors| errors.0.first().map(|first| first.headline())),
            id,
        });
    }
    if layout.root() == "/" {
        tell_states(context, &mut rows);
    }
    if json {
        return table::print_json(&rows);
    }
    if rows.is_empty() {
        println!("no function is declared; `conductor cgi declare MANIFEST` declares one");
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
            eprintln!("{}: does not compile: {error}", row.id.short());
        }
    }
    Ok(())
}

/// Without a systemd to ask, states stay unknown.
fn tell_states(context: &Context, rows: &mut [Row]) {
    let sockets: Vec<_> = rows.iter().map(|row| format!("{}.socket", unit_name(&row.id))).collect();
    let (Ok(states), Ok(running)) =
        (context.manager.states(&sockets), context.manager.active("conductor-cgi-*.service"))
    else {
        return;
    };
    for (row, state) in rows.iter_mut().zip(states) {
        let unit = unit_name(&row.id);
        let runs = running.iter().any(|running| running.starts_with(&unit));
        row.state = match (runs, state.as_str()) {
            (true, _) => "running",
            (false, "active") => "idle",
            (false, _) => "stopped",
        }
        .to_owned();
    }
}
