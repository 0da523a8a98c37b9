//! `conductor service history`

use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::outln;
use crate::cli::table;
use crate::live::Target;
use crate::names::ServiceName;
use crate::service::history::{self, PastGeneration};
use crate::service::parts::members;
use crate::source::search::{self, Location};

/// A generation that has served.
#[derive(Serialize)]
struct Row {
    service: ServiceName,
    generation: String,
    /// When it last came into service, in seconds since 1970.
    since: u64,
    serves: bool,
    /// The keys and files in which it differs from the declaration; null if that cannot be read or nothing is declared.
    differs_in: Option<Vec<String>>,
}

pub(crate) fn run(context: &Context, name: &ServiceName, json: bool) -> Outcome {
    let mut rows = Vec::new();
    for service in members(&context.layout, name)? {
        rows.extend(of_service(context, service)?);
    }
    if rows.is_empty() {
        context.location(name.as_str())?;
    }
    if json {
        return table::print_json(&rows);
    }
    if rows.is_empty() {
        outln!("{name}: no generation has served yet");
        return Ok(());
    }
    let has_parts = rows.iter().any(|row| row.service != *name);
    let headers = ["SERVICE", "GENERATION", "SINCE", "", "DIFFERS IN"];
    let cells = |row: &Row| {
        let differs = row.differs_in.as_ref().map_or_else(|| "-".to_owned(), |keys| keys.join(", "));
        let since = UNIX_EPOCH + std::time::Duration::from_secs(row.since);
        let since = humantime::format_rfc3339_seconds(since).to_string();
        let mark = if row.serves { "serves" } else { "" };
        let cells = vec![row.service.to_string(), row.generation.clone(), since, mark.to_owned(), differs];
        cells.into_iter().skip(usize::from(!has_parts)).collect()
    };
    table::print(&headers[usize::from(!has_parts)..], rows.iter().map(cells).collect());
    Ok(())
}

fn of_service(context: &Context, service: ServiceName) -> Result<Vec<Row>, Failure> {
    let layout = &context.layout;
    let location = search::find_one(layout, &service).ok().flatten();
    let serving = Target::read(layout, &service)?.map(|target| target.generation);
    let row = |past: PastGeneration| Row {
        service: service.clone(),
        generation: past.id.to_string(),
        since: past.served.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        serves: Some(&past.id) == serving.as_ref(),
        differs_in: location.as_ref().and_then(|location| differences(context, &past, location)),
    };
    Ok(history::all(layout, &service)?.into_iter().map(row).collect())
}

fn differences(context: &Context, past: &PastGeneration, location: &Location) -> Option<Vec<String>> {
    past.differences(&context.layout, location).ok().map(|keys| keys.into_iter().collect())
}
