//! YAML whose values remember where they were written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_path_to_error::Segment;
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use super::text::Text;
use crate::diagnostic::Diagnostic;
use crate::document::{Path, Step};
use crate::path;

/// One document of a YAML stream.
#[derive(Debug)]
pub(crate) struct Document {
    text: Arc<Text>,
    root: Node,
}

/// The mismatch of a document and a type.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) path: Path,
    /// serde's description, for shapes that have no description of their own.
    pub(crate) message: String,
}

impl Document {
    /// Parses a stream; documents that are empty or null are left out.
    ///
    /// # Errors
    /// Text that is not YAML, and values that JSON cannot express.
    pub(crate) fn parse(text: Text) -> Result<Vec<Self>, Diagnostic> {
        let text = Arc::new(text);
        let roots = parse(text.parsed()).map_err(|error| {
            let error = error.without_snippet();
            let span = error.location().map_or(0..0, |location| range(text.parsed(), location));
            let message = format!("not YAML: {}", text.fill(&UserMessageFormatter.format_message(error)));
            let remedy = "check the indentation, and quote texts that contain `: `, ` #` or begin with a sign";
            Diagnostic::at(text.position(span), "", message, remedy)
        })?;
        let mut documents = Vec::new();
        for root in roots {
            let root = root.filled(&text)?;
            if root.value != Shape::Scalar(Value::Null) {
                documents.push(Self { text: text.clone(), root });
            }
        }
        Ok(documents)
    }

    /// Takes a list of Kubernetes apart, such as `kind: List`; another object is alone.
    pub(crate) fn flattened(mut self) -> Vec<Self> {
        let kind = self.get(&path!["kind"]);
        let is_list = kind.as_ref().and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        if let Shape::Map(entries) = &mut self.root.value
            && is_list
            && matches!(entries.get("items"), Some(Node { value: Shape::List(_), .. }))
            && let Some(Node { value: Shape::List(items), .. }) = entries.remove("items")
        {
            let of_item = |root| Self { text: self.text.clone(), root }.flattened();
            return items.into_iter().flat_map(of_item).collect();
        }
        vec![self]
    }

    /// The document without its places.
    pub(crate) fn value(&self) -> Value {
        self.root.plain()
    }

    /// The value at a path, if there is one.
    pub(crate) fn get(&self, path: &Path) -> Option<Value> {
        path.0.iter().try_fold(&self.root, |node, step| node.child(step)).map(Node::plain)
    }

    /// Reads the document into a type.
    ///
    /// # Errors
    /// The first value that the type does not take.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Misfit> {
        serde_path_to_error::deserialize(self.value()).map_err(|error| {
            let steps = error.path().iter().filter_map(|segment| match segment {
                Segment::Seq { index } => Some(Step::Index(*index)),
                Segment::Map { key } => Some(Step::Key(key.clone())),
                Segment::Enum { .. } | Segment::Unknown => None,
            });
            Misfit { path: Path(steps.collect()), message: error.inner().to_string() }
        })
    }

    /// An error about the value at `path`, or the nearest one above it that exists.
    pub(crate) fn error(&self, path: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        let mut node = &self.root;
        for step in &path.0 {
            let Some(child) = node.child(step) else { break };
            node = child;
        }
        let place = self.text.position(range(self.text.parsed(), node.location));
        Diagnostic::at(place, path.to_string(), message, remedy)
    }
}

fn parse(text: &str) -> Result<Vec<Node>, serde_saphyr::Error> {
    // Kubernetes reads YAML 1.1: a mode of 0644 is octal.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options)
}

/// The bytes that a location covers; errors of the parser know only the line and the column.
fn range(text: &str, location: Location) -> Range<usize> {
    let number = |number: u64| usize::try_from(number).ok();
    let bytes = location.span().byte_offset().zip(location.span().byte_len());
    let covered = bytes.and_then(|(start, length)| Some(number(start)?..number(start.checked_add(length)?)?));
    let at = || {
        let (line, column) = (number(location.line())?.checked_sub(1)?, number(location.column())?.checked_sub(1)?);
        let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        let inside: usize = text[before..].chars().take(column).map(char::len_utf8).sum();
        Some(before + inside..before + inside)
    };
    covered.filter(|range| text.get(range.clone()).is_some()).or_else(at).unwrap_or(0..0)
}

/// A value and where it is.
#[derive(Debug)]
struct Node {
    location: Location,
    value: Shape,
}

#[derive(Debug, PartialEq)]
enum Shape {
    Scalar(Value),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (Shape::Map(entries), Step::Key(key)) => entries.get(key),
            (Shape::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// Puts the values of a template into texts and keys.
    ///
    /// # Errors
    /// A value that makes a key the same as another.
    fn filled(self, text: &Text) -> Result<Self, Diagnostic> {
        let Self { location, value } = self;
        let value = match value {
            Shape::Scalar(Value::String(parsed)) if text.has_values(&parsed) => {
                let value = text.fill(&parsed);
                let is_quoted = text.parsed()[range(text.parsed(), location)].starts_with(['"', '\'', '|', '>']);
                Shape::Scalar(if is_quoted { Value::String(value) } else { plain_scalar(value) })
            }
            Shape::Scalar(value) => Shape::Scalar(value),
            Shape::List(items) => {
                Shape::List(items.into_iter().map(|item| item.filled(text)).collect::<Result<_, _>>()?)
            }
            Shape::Map(entries) => {
                let mut map = BTreeMap::new();
                for (key, node) in entries {
                    let (key, place) = (text.fill(&key), node.location);
                    if map.insert(key.clone(), node.filled(text)?).is_some() {
                        let at = text.position(range(text.parsed(), place));
                        let message = format!("the key {key:?} is there twice");
                        return Err(Diagnostic::at(at, "", message, "give the variable another value"));
                    }
                }
                Shape::Map(map)
            }
        };
        Ok(Self { location, value })
    }

    fn plain(&self) -> Value {
        match &self.value {
            Shape::Scalar(value) => value.clone(),
            Shape::List(items) => items.iter().map(Self::plain).collect(),
            Shape::Map(entries) => entries.iter().map(|(key, node)| (key.clone(), node.plain())).collect(),
        }
    }
}

/// Reads a scalar without quotes as YAML does: `80` is a number.
fn plain_scalar(text: String) -> Value {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
    let parsed = if text.chars().all(is_word) { parse(&text).unwrap_or_default() } else { Vec::new() };
    match <[Node; 1]>::try_from(parsed) {
        Ok([Node { value: Shape::Scalar(value), .. }]) => value,
        _ => Value::String(text),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Where an anchor defines the value, not where an alias uses it: the text to mend is there.
        Spanned::<Shape>::deserialize(deserializer).map(|one| Self { location: one.defined, value: one.value })
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shapes)
    }
}

struct Shapes;

impl<'de> Visitor<'de> for Shapes {
    type Value = Shape;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value that JSON has, too")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom(format!("{value} is not a number of JSON")))?;
        Ok(Shape::Scalar(Value::Number(number)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Shape::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(Shape::Map(map))
    }
}
