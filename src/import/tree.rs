//! YAML and JSON as a tree in which every key and value knows its place, and scalars are as they were written.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use crate::diagnostic::{Diagnostic, Position, Source};
use crate::import::note::Report;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) position: Position,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Scalar { text: String, is_text: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map, with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) position: Position,
    pub(crate) node: Node,
}

/// Parses the documents of a stream of YAML.
///
/// # Errors
/// If the text is not YAML.
pub(crate) fn documents(source: &Arc<Source>) -> Result<Vec<Node>, Diagnostic> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: false
    };
    let parsed: Result<Vec<Raw>, _> = serde_saphyr::from_multiple_with_options(&source.text, options);
    let parsed = parsed.map_err(|error| {
        let error = error.without_snippet();
        let span = error.location().map_or(0..0, |location| range(&source.text, location));
        let message = UserMessageFormatter.format_message(error).into_owned();
        let position = Position { source: source.clone(), span };
        Diagnostic::at(position, "", format!("not valid YAML: {message}"), "correct the file first")
    })?;
    Ok(parsed.into_iter().map(|raw| raw.placed(source)).filter(|node| !matches!(node.value, Value::Null)).collect())
}

impl Node {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The last value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().rev().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The value at the end of a way of keys.
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    pub(crate) fn text_at(&self, keys: &[&str]) -> Option<&str> {
        self.at(keys)?.text()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.text().is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "on"))
    }

    pub(crate) fn number(&self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// The texts of a list, or the one of a scalar.
    pub(crate) fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::List(items) => items.iter().filter_map(Self::text).collect(),
            _ => self.text().into_iter().collect(),
        }
    }

    /// The name of the value's type, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// The keys of a map, of which an importer takes those that it knows.
pub(crate) struct Keys<'a> {
    pub(crate) path: String,
    entries: Vec<(&'a Entry, Cell<bool>)>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(path: impl Into<String>, node: &'a Node) -> Self {
        Self { path: path.into(), entries: node.entries().iter().map(|entry| (entry, Cell::new(false))).collect() }
    }

    /// Takes the value of a key and counts it as translated; null is no value.
    pub(crate) fn take(&self, key: &str, report: &mut Report) -> Option<&'a Entry> {
        let (entry, taken) = self.entries.iter().rev().find(|(entry, _)| entry.key == key)?;
        taken.set(true);
        report.see(&entry.position);
        Some(*entry).filter(|entry| !matches!(entry.node.value, Value::Null))
    }

    /// Takes keys that need no translation.
    pub(crate) fn skip(&self, keys: &[&str], report: &mut Report) {
        for key in keys {
            self.take(key, report);
        }
    }

    /// The dotted path of a key.
    pub(crate) fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes that a value could not be translated.
    pub(crate) fn omit(&self, entry: &Entry, text: impl Into<String>, report: &mut Report) {
        report.omitted(&entry.position, self.dotted(&entry.key), text);
    }

    pub(crate) fn approximate(&self, entry: &Entry, text: impl Into<String>, report: &mut Report) {
        report.approximated(&entry.position, self.dotted(&entry.key), text);
    }

    /// Notes every key that was not taken; `reason` says why, for the keys that it knows.
    pub(crate) fn finish(self, report: &mut Report, reason: impl Fn(&str) -> Option<&'static str>) {
        for (entry, taken) in &self.entries {
            if !taken.get() && !entry.key.starts_with("x-") {
                let why = reason(&entry.key).unwrap_or("conductor has no such setting");
                report.omitted(&entry.position, self.dotted(&entry.key), why);
            }
        }
    }
}

/// The bytes that a location covers; errors of the parser know only the line and the column.
fn range(text: &str, location: Location) -> Range<usize> {
    let number = |number: u64| usize::try_from(number).ok();
    let bytes = location.span().byte_offset().zip(location.span().byte_len());
    let covered = bytes.and_then(|(start, length)| Some(number(start)?..number(start.checked_add(length)?)?));
    let at = || {
        let (line, column) = (number(location.line())?.checked_sub(1)?, number(location.column())?.checked_sub(1)?);
        let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let inside: usize = text.get(before..)?.chars().take(column).map(char::len_utf8).sum();
        Some(before + inside..before + inside)
    };
    covered.filter(|range| text.get(range.clone()).is_some()).or_else(at).unwrap_or(0..0)
}

/// A value as the parser gives it.
struct Raw {
    location: Location,
    shape: Shape,
}

enum Shape {
    Null,
    Scalar { text: String, is_text: bool },
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl Raw {
    fn placed(self, source: &Arc<Source>) -> Node {
        let position = |location| Position { source: source.clone(), span: range(&source.text, location) };
        let place = position(self.location);
        let value = match self.shape {
            Shape::Null => Value::Null,
            Shape::Scalar { text, is_text: false } => {
                // A number is written as the source has it: 1.10 is no 1.1.
                let written = source.text.get(place.span.clone()).unwrap_or_default().trim();
                let is_word = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
                let is_number = !written.is_empty() && written.chars().all(is_word);
                Value::Scalar { text: if is_number { written.to_owned() } else { text }, is_text: false }
            }
            Shape::Scalar { text, is_text } => Value::Scalar { text, is_text },
            Shape::List(items) => Value::List(items.into_iter().map(|item| item.placed(source)).collect()),
            Shape::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Entry {
                        position: position(key.defined),
                        key: key.value,
                        node: value.placed(source),
                    })
                    .collect(),
            ),
        };
        Node { position: place, value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<Shape>::deserialize(deserializer).map(|one| Self { location: one.defined, shape: one.value })
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shapes)
    }
}

struct Shapes;

fn plain<E>(text: impl ToString) -> Result<Shape, E> {
    Ok(Shape::Scalar { text: text.to_string(), is_text: false })
}

impl<'de> Visitor<'de> for Shapes {
    type Value = Shape;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        plain(value)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        plain(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        plain(value)
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Shape, E> {
        plain(value)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Shape, E> {
        plain(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        plain(value)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar { text: value.to_owned(), is_text: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Shape::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Shape::Map(map))
    }
}
