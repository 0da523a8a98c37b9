//! YAML of Kubernetes objects: values whose keys stay in the order in which they are written.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;
use serde_saphyr::DoubleQuoted;

/// A value of a Kubernetes object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Yaml {
    /// A value that is left out, with its key.
    Absent,
    Boolean(bool),
    Number(Number),
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

/// Creates a [`Yaml::Map`]: `map! { "name" => name, "port" => 80 }`. Keys of absent values are left out.
macro_rules! map {
    ($($key:expr => $value:expr),* $(,)?) => {
        $crate::target::kubernetes::yaml::Yaml::map([
            $((String::from($key), $crate::target::kubernetes::yaml::Yaml::from($value))),*
        ])
    };
}

/// Creates a [`Yaml::List`].
macro_rules! list {
    ($($item:expr),* $(,)?) => {
        $crate::target::kubernetes::yaml::Yaml::List(vec![$($crate::target::kubernetes::yaml::Yaml::from($item)),*])
    };
}

pub(crate) use {list, map};

impl Yaml {
    /// Creates a map; absent values are left out.
    pub(crate) fn map(entries: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self::Map(entries.into_iter().filter(|(_, value)| *value != Self::Absent).collect())
    }

    /// Returns this, or nothing if it has no entries.
    pub(crate) fn or_absent(self) -> Self {
        let is_empty = match &self {
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Absent | Self::Boolean(_) | Self::Number(_) | Self::Text(_) => false,
        };
        if is_empty { Self::Absent } else { self }
    }

    /// Returns the value of a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns the text at a path of keys.
    pub(crate) fn text_at(&self, path: &[&str]) -> Option<&str> {
        match path.iter().try_fold(self, |value, key| value.get(key))? {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Sets the value of a map's key, at its end if the map does not have it.
    pub(crate) fn set(&mut self, key: &str, value: Self) {
        let Self::Map(entries) = self else { return };
        match entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => entries.push((key.to_owned(), value)),
        }
    }
}

impl From<bool> for Yaml {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<u16> for Yaml {
    fn from(value: u16) -> Self {
        Self::Number(value.into())
    }
}

impl From<u32> for Yaml {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl From<u64> for Yaml {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}

impl From<&str> for Yaml {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Yaml {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for Yaml {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl<T: Into<Yaml>> From<Vec<T>> for Yaml {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Yaml>> From<Option<T>> for Yaml {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

impl From<serde_json::Value> for Yaml {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Absent,
            Value::Bool(truth) => Self::Boolean(truth),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(entries) => Self::map(entries.into_iter().map(|(key, value)| (key, Self::from(value)))),
        }
    }
}

impl Serialize for Yaml {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) if is_ambiguous(value) => DoubleQuoted(value).serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

/// Returns whether parsers of YAML 1.1 take a text for a date or a number to the base of 60, or give it a meaning of its own.
fn is_ambiguous(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || ":.-+TtZz _".contains(c);
    matches!(text, "=" | "<<")
        || text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) && text.chars().all(is_part)
}

/// Writes objects as a stream of YAML documents, for parsers of YAML 1.1 and 1.2.
pub(crate) fn write<'a>(objects: impl IntoIterator<Item = &'a Yaml>) -> String {
    let mut text = String::new();
    for object in objects {
        // Folded lines would be one more way to write a text.
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        text.push_str("---\n");
        serde_saphyr::to_fmt_writer_with_options(&mut text, object, options).expect("plain values serialize");
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(text: &str) -> serde_json::Value {
        serde_saphyr::from_str(text.trim_start_matches("---\n")).expect("YAML")
    }

    proptest! {
        #[test]
        fn texts_arrive_as_they_are(text in "[ -~äü\n\t:#'\"{}|>&*!%@`-]{0,40}") {
            let object = map! { "value" => text.as_str(), "list" => list![text.as_str()], text.clone() => "" };
            let back = read_back(&write([&object]));
            prop_assert_eq!(back["value"].as_str(), Some(text.as_str()));
            prop_assert_eq!(back["list"][0].as_str(), Some(text.as_str()));
        }
    }

    #[test]
    fn words_of_yaml_1_1_are_quoted() {
        for word in [
            "yes",
            "No",
            "on",
            "OFF",
            "y",
            "n",
            "~",
            "null",
            "1.0",
            "0644",
            "0x1f",
            "1e3",
            "1_000",
            ".5",
            "2001-01-01",
            "=",
            "<<",
            "1:30",
            "+1",
            "",
            " a",
            "a ",
            "- a",
            "a: b",
            "a #b",
        ] {
            let text = write([&map! { "v" => word }]);
            assert!(text.contains(&format!("'{word}'")) || text.contains(&format!("\"{word}\"")), "{text}");
        }
    }

    #[test]
    fn lines_are_lines() {
        let text = "#!/bin/sh\nset -e\n\n  indented\n";
        assert_eq!(write([&map! { "a.sh" => text }]), "---\na.sh: |\n  #!/bin/sh\n  set -e\n  \n    indented\n");
    }
}
