//! `conductor deployment list` and `show`

use std::time::{Duration, UNIX_EPOCH};

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::cli::row::{self, Row};
use crate::cli::{display, table, words};
use crate::deployment::state;
use crate::layout::Layout;
use crate::live::{self, main_alone};
use crate::names::Deployment;
use crate::service::parts::members;

pub(crate) fn list(context: &Context, service: Option<&str>, json: bool) -> Outcome {
    let names = match service {
        Some(name) => {
            let name = words::service(name)?;
            let names = members(&context.layout, &name)?;
            let live = live::all(&context.layout)?;
            if !names.iter().any(|name| live.contains_key(name)) {
                context.location(name.as_str())?;
            }
            names
        }
        None => live::all(&context.layout)?.into_keys().collect(),
    };
    let rows = row::of_services(context, &names)?;
    if json {
        return table::print_json(&rows);
    }
    if rows.is_empty() {
        outln!("no deployment runs");
        return Ok(());
    }
    let columns = display::columns(rows.iter().map(|row| &row.display));
    let headers = [&["DEPLOYMENT", "STATE", "PID", "STARTED", "SLOTS"], columns.as_slice()].concat();
    let cells = rows.iter().map(|row| {
        let mut cells = vec![row.unit.clone(), row.state.clone(), row.pid(), started(row), row.slots()];
        cells.extend(display::cells(&columns, &row.display));
        cells
    });
    table::print(&headers, cells.collect());
    Ok(())
}

/// Lists the sockets at which callers reach a deployment.
fn sockets(layout: &Layout, deployment: &Deployment) -> String {
    let listeners = state::read(layout, deployment).map_or_else(main_alone, |runtime| runtime.listeners);
    let paths = listeners.iter().map(|listener| deployment.socket(layout, listener.as_ref()).into_string());
    paths.collect::<Vec<_>>().join(" ")
}

fn started(row: &Row) -> String {
    let time = |seconds| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    row.started_at.map_or_else(|| "-".to_owned(), time)
}

pub(crate) fn show(context: &Context, deployment: &Deployment, json: bool) -> Outcome {
    let layout = &context.layout;
    if !state::list(layout, &deployment.service)?.contains(deployment) {
        return Err(row::unknown(deployment));
    }
    let state = match context.manager.property(&deployment.unit(), "ActiveState") {
        Ok(state) if layout.root() == "/" => state,
        _ => "unknown".to_owned(),
    };
    let row = Row::new(context, deployment, state);
    if json {
        return table::print_json(&row);
    }
    outln!("{}", row.unit);
    let lines = [
        ("service", row.service.to_string()),
        ("generation", row.generation.clone()),
        ("instance", row.instance.to_string()),
        ("state", row.state.clone()),
        ("pid", row.pid()),
        ("started", started(&row)),
        ("slots", row.slots()),
        ("socket", sockets(layout, deployment)),
        ("listens", state::read(layout, deployment).and_then(|runtime| runtime.endpoint).unwrap_or_default()),
        ("files", layout.files(&deployment.service, &deployment.generation).to_string()),
        ("directory", deployment.dir(layout).to_string()),
    ];
    for (name, value) in lines {
        outln!("{name:>10}: {}", if value.is_empty() { "-" } else { value.as_str() });
    }
    for (name, value) in &row.display {
        outln!("{name:>10}: {value}");
    }
    if let Some(failure) = state::failure(layout, deployment) {
        outln!("\n{}", failure.text());
    }
    Ok(())
}
