//! Writing a tree as YAML, for the file of a pod.

use std::fmt::Write;

use crate::import::tree::{Entry, Node, Value};

/// Writes documents. Nothing in them begins an expression of the template engine.
pub(crate) fn write(documents: &[Node]) -> String {
    let mut out = String::new();
    for document in documents {
        out.push_str("---\n");
        block(document, 0, &mut out);
    }
    out
}

fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => entries.iter().for_each(|entry| map_entry(entry, indent, out)),
        Value::List(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                match &item.value {
                    Value::Map(entries) if !entries.is_empty() => {
                        let mut inner = String::new();
                        block(item, indent + 2, &mut inner);
                        let _ = write!(out, " {}", inner.trim_start());
                    }
                    Value::List(items) if !items.is_empty() => {
                        out.push('\n');
                        block(item, indent + 2, out);
                    }
                    _ => drop(writeln!(out, " {}", scalar(item))),
                }
            }
        }
        _ => drop(writeln!(out, "{:indent$}{}", "", scalar(node))),
    }
}

fn map_entry(entry: &Entry, indent: usize, out: &mut String) {
    let _ = write!(out, "{:indent$}{}:", "", text(&entry.key, true));
    match &entry.node.value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            block(&entry.node, indent + 2, out);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            block(&entry.node, indent, out);
        }
        _ => drop(writeln!(out, " {}", scalar(&entry.node))),
    }
}

fn scalar(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar { text: written, is_text } => text(written, *is_text),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// Writes a text, in quotes unless it is a word that no version of YAML takes for something else.
fn text(written: &str, is_text: bool) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let begins = written.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let others = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let is_plain = begins && written.chars().all(is_word) && !others.contains(&written.to_ascii_lowercase().as_str());
    if !is_text || is_plain {
        return written.to_owned();
    }
    let mut out = String::from("\"");
    let mut chars = written.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '{' if matches!(chars.peek(), Some('{' | '%' | '#')) => out.push_str("\\x7B"),
            c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
