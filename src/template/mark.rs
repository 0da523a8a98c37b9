//! Values in a rendered text, told apart from the template's own text.
//!
//! The engine writes each value between two noncharacters. Text that a template captures keeps these marks, so that a
//! value is known as one wherever it arrives; `| safe` writes a value without marks.

use std::sync::Arc;

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, Output, State, filters};

/// Noncharacters of Unicode, which stand in no text that people exchange.
const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';

/// A part of a rendered text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text of the template, or a value that it calls safe.
    Template(String),
    /// What an expression of the template evaluated to.
    Value(String),
}

impl Piece {
    /// Returns the piece's text.
    pub(crate) fn text(&self) -> &str {
        let (Self::Template(text) | Self::Value(text)) = self;
        text
    }
}

/// Returns whether a text has a mark in it, which no template and no variable may have.
pub(super) fn is_marked(text: &str) -> bool {
    text.contains(is_mark)
}

fn is_mark(c: char) -> bool {
    matches!(c, OPEN | CLOSE)
}

/// Makes an environment mark the values that it writes.
pub(super) fn mark_values(environment: &mut Environment) {
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("marks".into()));
    environment.set_formatter(write);
    // The engine's own would take a part of a captured text, which may lie between two marks, for the template's.
    environment.add_filter("split", |text: &str, separator: Option<Arc<str>>, limit: Option<i64>| {
        filters::split(&Value::from(unmarked(text)), separator, limit)
    });
    environment.add_filter("lines", |text: &str| filters::lines(&Value::from(unmarked(text))));
}

fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Ok(());
    }
    if value.is_safe() || matches!(state.auto_escape(), AutoEscape::None) {
        return Ok(write!(out, "{value}")?);
    }
    Ok(write!(out, "{OPEN}{}{CLOSE}", unmarked(&value.to_string()))?)
}

fn unmarked(text: &str) -> String {
    text.replace(is_mark, "")
}

/// Separates what the engine wrote; None if a filter has torn marks apart.
pub(super) fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (value, after) = after.split_once(CLOSE)?;
        if is_marked(before) || is_marked(value) {
            return None;
        }
        pieces.extend([Piece::Template(before.to_owned()), Piece::Value(value.to_owned())]);
        rest = after;
    }
    pieces.push(Piece::Template(rest.to_owned()));
    (!is_marked(rest)).then_some(pieces)
}
