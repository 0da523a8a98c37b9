//! Listings: aligned columns for people, JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::{Failure, Outcome};

/// Prints rows under headers; on a terminal they fit its width.
pub fn print(headers: &[&str], rows: Vec<Vec<String>>) {
    print!("{}", text(headers, rows));
}

/// The lines of such a table.
pub fn text(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

pub fn print_json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))?;
    println!("{text}");
    Ok(())
}
