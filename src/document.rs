//! A TOML document that remembers where each of its values was written.
//!
//! Drop-ins are merged here, before anything has a type, so that an error in a merged declaration
//! still names the file that the offending value came from.

mod syntax;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Position, Source};

/// A value and where it is.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) position: Position,
    /// Where its key is; the value's own place for items of arrays and for the root.
    pub(crate) key_position: Position,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    String(String),
    /// A TOML date or time, as written; no key takes one.
    Datetime(String),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// Returns the type of a value, for messages.
    fn name(&self) -> String {
        match self {
            Self::Boolean(truth) => truth.to_string(),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::String(text) => format!("the string {text:?}"),
            Self::Datetime(date) => format!("the date {date}"),
            Self::Array(_) => "an array".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

/// One step on the way from the root to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The way from the root to a value: `route[0].host[1]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// This path, one step longer.
    pub(crate) fn join(&self, step: impl Into<Step>) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Self(steps)
    }

    /// Returns the keys on the way, without the indices.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        keys.collect()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(out, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if position == 0 { "" } else { "." };
                    let bare =
                        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                    if bare { write!(out, "{dot}{key}")? } else { write!(out, "{dot}{key:?}")? }
                }
            }
        }
        Ok(())
    }
}

/// `path!["route", 0, "host"]`
#[macro_export]
macro_rules! path {
    ($($step:expr),* $(,)?) => { $crate::document::Path(vec![$($crate::document::Step::from($step)),*]) };
}

impl Node {
    /// Parses a document.
    ///
    /// # Errors
    /// If the text is not TOML 1.0.
    pub fn parse(source: &Arc<Source>) -> Result<Self, Diagnostic> {
        let table = DeTable::parse(&source.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let position = Position { source: source.clone(), span };
            let message = syntax::message(&position, error.message());
            let remedy = syntax::remedy(&position);
            Diagnostic::at(position, "", format!("not valid TOML: {message}"), remedy)
        })?;
        let position = Position::start_of(source);
        let value = Value::Table(children(source, table.into_inner())?);
        Ok(Self { key_position: position.clone(), position, value })
    }

    /// Lays a drop-in over this document: tables are merged, everything else is replaced.
    pub(crate) fn merge(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(base), Value::Table(over)) => {
                for (key, node) in over {
                    match base.get_mut(&key) {
                        Some(existing) => existing.merge(node),
                        None => drop(base.insert(key, node)),
                    }
                }
            }
            (base, value) => {
                *base = value;
                self.position = over.position;
                self.key_position = over.key_position;
            }
        }
    }

    /// Lays defaults under this document: what it does not have is taken from them.
    pub(crate) fn lay_under(&mut self, defaults: Self) {
        if let (Value::Table(own), Value::Table(defaults)) = (&mut self.value, defaults.value) {
            for (key, node) in defaults {
                match own.get_mut(&key) {
                    Some(existing) => existing.lay_under(node),
                    None => drop(own.insert(key, node)),
                }
            }
        }
    }

    /// The node at `path`, or the nearest one above it that exists.
    pub(crate) fn find(&self, path: &Path) -> &Self {
        let mut node = self;
        for step in &path.0 {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// The node at `path`, if there is one.
    pub(crate) fn get(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, step| node.child(step))
    }

    fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (Value::Table(table), Step::Key(key)) => table.get(key),
            (Value::Array(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// The values that are no tables, each with its path.
    pub(crate) fn leaves(&self) -> Vec<(Path, &Self)> {
        let mut leaves = Vec::new();
        self.leaves_below(&Path::default(), &mut leaves);
        leaves
    }

    fn leaves_below<'a>(&'a self, here: &Path, leaves: &mut Vec<(Path, &'a Self)>) {
        match &self.value {
            Value::Table(table) => {
                table.iter().for_each(|(key, node)| node.leaves_below(&here.join(key.as_str()), leaves));
            }
            _ => leaves.push((here.clone(), self)),
        }
    }

    /// The value without its places.
    pub(crate) fn plain(&self) -> toml::Value {
        match &self.value {
            Value::Boolean(truth) => toml::Value::Boolean(*truth),
            Value::Integer(number) => toml::Value::Integer(*number),
            Value::Float(number) => toml::Value::Float(*number),
            Value::String(text) => toml::Value::String(text.clone()),
            Value::Datetime(text) => {
                text.parse().map_or_else(|_| toml::Value::String(text.clone()), toml::Value::Datetime)
            }
            Value::Array(items) => toml::Value::Array(items.iter().map(Self::plain).collect()),
            Value::Table(table) => {
                toml::Value::Table(table.iter().map(|(key, node)| (key.clone(), node.plain())).collect())
            }
        }
    }

    /// Removes the key at `path`, or the nearest one above it: items of arrays keep their places. Returns the path of what
    /// was removed.
    pub(crate) fn remove(&mut self, path: &Path) -> Option<Path> {
        let last = path.0.iter().rposition(|step| matches!(step, Step::Key(_)))?;
        let (Step::Key(key), above) = path.0[..=last].split_last()? else { return None };
        let parent = above.iter().try_fold(self, |node, step| match (&mut node.value, step) {
            (Value::Table(table), Step::Key(key)) => table.get_mut(key),
            (Value::Array(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        });
        match parent.map(|node| &mut node.value) {
            Some(Value::Table(table)) => table.remove(key).map(|_| Path(path.0[..=last].to_vec())),
            _ => None,
        }
    }

    /// Returns a text; another value is none.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of an array; another value has none.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// An error about the value at `path`.
    pub(crate) fn error(&self, path: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.find(path).position.clone(), path.to_string(), message, remedy)
    }

    /// An error about the key at `path` itself.
    pub(crate) fn key_error(&self, path: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.find(path).key_position.clone(), path.to_string(), message, remedy)
    }

    /// Reads the document into a type.
    ///
    /// # Errors
    /// The first key or value that the type does not take.
    pub fn read<T: de::DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(self)
    }
}

fn children(source: &Arc<Source>, table: DeTable<'_>) -> Result<BTreeMap<String, Node>, Diagnostic> {
    let mut nodes = BTreeMap::new();
    for (key, value) in table {
        let key_position = Position { source: source.clone(), span: key.span() };
        let node = node(source, Some(key_position), value)?;
        nodes.insert(key.into_inner().into_owned(), node);
    }
    Ok(nodes)
}

fn node(source: &Arc<Source>, key: Option<Position>, value: Spanned<DeValue<'_>>) -> Result<Node, Diagnostic> {
    let position = Position { source: source.clone(), span: value.span() };
    let value = match value.into_inner() {
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::String(value) => Value::String(value.into_owned()),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Integer(value) => {
            let number = i64::from_str_radix(value.as_str(), value.radix()).map_err(|_| {
                Diagnostic::at(position.clone(), "", "the number does not fit 64 bits", "write a smaller number")
            })?;
            Value::Integer(number)
        }
        DeValue::Float(value) => Value::Float(value.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Array(items) => {
            Value::Array(items.into_iter().map(|item| node(source, None, item)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Table(children(source, table)?),
    };
    Ok(Node { key_position: key.unwrap_or_else(|| position.clone()), position, value })
}

/// The mismatch of a document and a type; `path` grows on the way up.
#[derive(Debug)]
pub struct Error {
    pub(crate) path: Path,
    pub problem: Problem,
}

#[derive(Debug)]
pub enum Problem {
    /// A key that the type does not have, and those it has.
    UnknownKey { key: String, expected: &'static [&'static str] },
    /// A key that must be there.
    MissingKey(&'static str),
    /// One of a few words was expected.
    UnknownWord { word: String, expected: &'static [&'static str] },
    /// Another type was expected.
    WrongType { found: String, expected: String },
    /// Any other reason.
    Other(String),
}

impl Error {
    fn new(problem: Problem) -> Self {
        Self { path: Path::default(), problem }
    }

    fn below(mut self, step: impl Into<Step>) -> Self {
        self.path.0.insert(0, step.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {:?}", self.path, self.problem)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Other(message.to_string()))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownKey { key: field.to_owned(), expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::MissingKey(field))
    }

    fn unknown_variant(word: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Problem::UnknownWord { word: word.to_owned(), expected })
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Map => "a table".to_owned(),
            de::Unexpected::Seq => "an array".to_owned(),
            de::Unexpected::Str(text) => format!("the string {text:?}"),
            de::Unexpected::Signed(number) => format!("the number {number}"),
            de::Unexpected::Float(number) => format!("the number {number}"),
            de::Unexpected::Bool(truth) => truth.to_string(),
            other => other.to_string(),
        };
        Self::new(Problem::WrongType { found, expected: plain(&expected.to_string()) })
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            de::Unexpected::Signed(number @ 1..) => {
                Self::new(Problem::WrongType { found: format!("{number}"), expected: "a smaller number".to_owned() })
            }
            _ => Self::invalid_type(found, expected),
        }
    }
}

/// Translates Rust's names of types into terms of TOML.
fn plain(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

impl<'de> de::Deserializer<'de> for &Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::Datetime(_) => {
                Err(Error::new(Problem::WrongType { found: self.value.name(), expected: "a string in quotes".into() }))
            }
            Value::Array(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Table(table) => visitor.visit_map(Entries { entries: table.iter(), current: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let quoted = || words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
        match &self.value {
            Value::String(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            other => Err(Error::new(Problem::WrongType { found: other.name(), expected: quoted() })),
        }
    }

    /// Only from a table: serde would take an array for the values of the fields in their order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            Value::Table(_) => self.deserialize_any(visitor),
            other => Err(Error::new(Problem::WrongType { found: other.name(), expected: "a table".into() })),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.below(index))
    }
}

struct Entries<'a> {
    entries: std::collections::btree_map::Iter<'a, String, Node>,
    current: Option<(&'a String, &'a Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, node) = self.current.expect("a value follows its key");
        seed.deserialize(node).map_err(|error| error.below(key.as_str()))
    }
}
