//! `conductor service show`

use crate::cli::context::Context;
use crate::cli::failure::Outcome;
use crate::cli::output::outln;
use crate::diagnostic::{Diagnostics, Position};
use crate::document::{Node, Value};
use crate::source::DECLARATION;
use crate::source::search::{self, Location};

pub(crate) fn run(context: &Context, name: &str, sources: bool) -> Outcome {
    let layout = &context.layout;
    let location = context.location(name)?;
    let document = search::stored_document(layout, &location).map_err(Diagnostics::from)?;
    if sources {
        print_files(context, &location);
    }
    let mut lines = Vec::new();
    section(&document, "", &mut lines);
    let width = lines.iter().map(Line::width).max().unwrap_or(0);
    for Line { text, place } in &lines {
        match place.as_ref().filter(|_| sources) {
            Some(place) => {
                let gap = " ".repeat(width.saturating_sub(text.chars().count()));
                outln!("{text}{gap}  # {}:{}", place.source.path, place.position().0);
            }
            None => outln!("{text}"),
        }
    }
    Ok(())
}

/// Prints the files that a declaration consists of, the one with the highest precedence last.
fn print_files(context: &Context, location: &Location) {
    for shadowed in location.shadowed(&context.layout) {
        outln!("# shadowed:     {shadowed}");
    }
    outln!("# declared in:  {}", location.dir.join(DECLARATION));
    for file in location.drop_ins() {
        let what = if file.as_str().ends_with(".toml") { "overridden by:" } else { "unit drop-in: " };
        outln!("# {what} {file}");
    }
    outln!();
}

struct Line {
    text: String,
    /// Where the value comes from, for a line with a value.
    place: Option<Position>,
}

impl Line {
    /// Columns up to the position; long values do not move the positions of other lines.
    fn width(&self) -> usize {
        if self.place.is_some() { self.text.chars().count().min(60) } else { 0 }
    }
}

/// Adds the lines of a table: its values, then the tables below it.
fn section(table: &Node, path: &str, lines: &mut Vec<Line>) {
    let Value::Table(entries) = &table.value else { return };
    for (key, node) in entries.iter().filter(|(_, node)| !is_section(node)) {
        let text = format!("{} = {}", quoted(key), written(node));
        lines.push(Line { text, place: Some(node.position.clone()) });
    }
    for (key, node) in entries.iter().filter(|(_, node)| is_section(node)) {
        let path = if path.is_empty() { quoted(key) } else { format!("{path}.{}", quoted(key)) };
        if !is_array_of_tables(node) {
            if has_values(node) {
                header(format!("[{path}]"), lines);
            }
            section(node, &path, lines);
        }
        for item in node.items() {
            header(format!("[[{path}]]"), lines);
            section(item, &path, lines);
        }
    }
}

fn is_section(node: &Node) -> bool {
    matches!(node.value, Value::Table(_)) || is_array_of_tables(node)
}

fn header(text: String, lines: &mut Vec<Line>) {
    if !lines.is_empty() {
        lines.push(Line { text: String::new(), place: None });
    }
    lines.push(Line { text, place: None });
}

fn is_array_of_tables(node: &Node) -> bool {
    !node.items().is_empty() && node.items().iter().all(|item| matches!(item.value, Value::Table(_)))
}

/// Returns whether a table needs a header of its own, because it has values or is empty.
fn has_values(node: &Node) -> bool {
    let Value::Table(entries) = &node.value else { return false };
    entries.is_empty() || entries.values().any(|node| !is_section(node))
}

fn quoted(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) {
        return key.to_owned();
    }
    in_one_line(key)
}

/// Writes a value in one line, so that its position fits behind it.
fn written(node: &Node) -> String {
    match &node.value {
        Value::String(text) if text.contains('\n') => in_one_line(text),
        _ => node.plain().to_string(),
    }
}

/// Writes a string in one line; JSON's strings are TOML's basic strings.
fn in_one_line(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use std::sync::Arc;

    fn parse(text: &str) -> Node {
        Node::parse(&Arc::new(Source { path: "service.toml".into(), text: text.to_owned() })).expect("TOML")
    }

    fn shown(document: &Node) -> String {
        let mut lines = Vec::new();
        section(document, "", &mut lines);
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    #[test]
    fn what_is_shown_is_the_same_document() {
        let text = r#"a = "line\nline\t'\""
t = { "key \n" = 1, "" = true }
[exec]
command = ["./x", "{{"]
environment = { N = 1.5, E = "" }
[[route]]
host = ["a"]
headers = [{ name = "x" }, { name = "y" }]
[[route]]
[systemd.service]
Environment = ["A=1", "B=2"]
[empty]
[date]
d = 2026-11-23T15:00:00Z
"#;
        let document = parse(text);
        let again = shown(&document);
        assert_eq!(parse(&again).plain(), document.plain(), "{again}");
        assert!(again.contains("\n[exec.environment]\nE = \"\"\nN = 1.5\n"), "{again}");
        assert!(!again.contains("[systemd]"), "{again}");
        assert!(again.contains("a = \"line\\nline"), "{again}");
    }
}
