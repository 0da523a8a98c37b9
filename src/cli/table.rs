//! Listings: aligned columns, or JSON.

use anstream::{AutoStream, ColorChoice};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{out, outln};
use crate::cli::paint;

/// Prints rows under headers; on a terminal they fit its width.
pub(crate) fn print(headers: &[&str], rows: Vec<Vec<String>>) {
    out!("{}", text(headers, rows));
}

/// Returns the lines of a table.
pub(crate) fn text(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let coloured = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
    let title =
        |header: &&str| Cell::new(header).add_attributes(coloured.then_some(Attribute::Bold).into_iter().collect());
    table.set_header(headers.iter().map(title));
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|text| cell(text, coloured)).collect::<Vec<_>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn cell(text: String, coloured: bool) -> Cell {
    let colour = match paint::of_state(&text).get_fg_color() {
        Some(anstyle::Color::Ansi(anstyle::AnsiColor::Green)) => Color::DarkGreen,
        Some(anstyle::Color::Ansi(anstyle::AnsiColor::Red)) => Color::DarkRed,
        Some(anstyle::Color::Ansi(anstyle::AnsiColor::Yellow)) => Color::DarkYellow,
        _ => return Cell::new(text),
    };
    if coloured { Cell::new(text).fg(colour) } else { Cell::new(text) }
}

pub(crate) fn print_json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))?;
    outln!("{text}");
    Ok(())
}
