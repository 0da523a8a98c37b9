//! YAML of Kubernetes objects: values whose keys stay in the order in which they are written.

use serde_json::Number;

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

/// Words that parsers of YAML 1.1 take for something else than a text, in lower case.
const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
/// The characters of texts without quotes, beside letters and digits. What has a meaning for YAML at any place is not among
/// them; a colon has one before a space or at the end.
const PLAIN: &str = "_./-$()+=@~;,: ";

/// Writes objects as a stream of YAML documents, for parsers of YAML 1.1 and 1.2.
pub(crate) fn write<'a>(objects: impl IntoIterator<Item = &'a Yaml>) -> String {
    let mut out = String::new();
    for object in objects {
        out.push_str("---\n");
        write_block(&mut out, object, 0);
    }
    out
}

/// Writes a value that begins a line, or goes on behind the `- ` of a list: its further lines are indented.
fn write_block(out: &mut String, value: &Yaml, indent: usize) {
    match value {
        Yaml::Map(entries) if !entries.is_empty() => {
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                write_scalar(out, key);
                out.push(':');
                match value {
                    Yaml::Map(entries) if !entries.is_empty() => {
                        out.push('\n');
                        pad(out, indent + 2);
                        write_block(out, value, indent + 2);
                    }
                    Yaml::List(items) if !items.is_empty() => {
                        out.push('\n');
                        pad(out, indent);
                        write_block(out, value, indent);
                    }
                    _ => {
                        out.push(' ');
                        write_inline(out, value, indent + 2);
                    }
                }
            }
        }
        Yaml::List(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                out.push_str("- ");
                write_block(out, item, indent + 2);
            }
        }
        _ => write_inline(out, value, indent),
    }
}

/// Writes a value that fits behind its key, with the end of its line. The lines of a text are indented.
fn write_inline(out: &mut String, value: &Yaml, indent: usize) {
    match value {
        Yaml::Absent => out.push_str("null"),
        Yaml::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Yaml::Number(number) => out.push_str(&number.to_string()),
        Yaml::Text(text) if are_lines(text) => return write_lines(out, text, indent),
        Yaml::Text(text) => write_scalar(out, text),
        Yaml::List(_) => out.push_str("[]"),
        Yaml::Map(_) => out.push_str("{}"),
    }
    out.push('\n');
}

/// Returns whether a text can be written line by line: its lines are more than one, and neither spaces nor line breaks at its
/// ends have to be told.
fn are_lines(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && !text.ends_with("\n\n")
        && text.chars().all(|c| c == '\n' || c == '\t' || is_printable(c))
}

fn write_lines(out: &mut String, text: &str, indent: usize) {
    out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
    for line in text.lines() {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// Returns whether a character is one of a text that people read: no parser takes it for a line break or refuses it.
pub(super) fn is_printable(c: char) -> bool {
    let is_break = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    let is_noncharacter = u32::from(c) & 0xfffe == 0xfffe || matches!(u32::from(c), 0xfdd0..=0xfdef);
    !c.is_control() && !is_break && !is_noncharacter
}

fn write_scalar(out: &mut String, text: &str) {
    if is_plain(text) {
        return out.push_str(text);
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
}

/// Returns whether a text is one without quotes: it begins with a letter, a path, a variable or an option, and no parser takes it
/// for something else.
fn is_plain(text: &str) -> bool {
    let mut start = text.chars();
    let begins = match start.next() {
        Some('-') => start.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '-') && !text.starts_with("---"),
        first => first.is_some_and(|c| c.is_ascii_alphabetic() || "/$(_".contains(c)),
    };
    begins
        && text.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c))
        && !text.contains(": ")
        && !text.ends_with([' ', ':'])
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
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
        fn texts_arrive_as_they_are(text in "[ -~äü\n\t:#'\"{}|>&*!%@`-]{0,40}|[a-z:\n \t-]{0,12}|\\PC{0,12}") {
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
            assert_eq!(text, format!("---\nv: \"{word}\"\n"));
        }
    }

    #[test]
    fn lines_are_lines() {
        let text = "#!/bin/sh\nset -e\n\n  indented\n";
        assert_eq!(write([&map! { "a.sh" => text }]), "---\na.sh: |\n  #!/bin/sh\n  set -e\n\n    indented\n");
    }
}
