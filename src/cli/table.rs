//! Listings: aligned columns for people, everywhere the same.

use comfy_table::{ContentArrangement, Table, presets};

/// Prints rows under headers; on a terminal they fit its width.
pub fn print(headers: &[&str], rows: Vec<Vec<String>>) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    for line in text.lines() {
        println!("{}", line.trim_end());
    }
}
