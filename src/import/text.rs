//! Texts of a declaration, with the variables that `conductor service declare` is given.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::expansion::is_name;

/// Names that conductor replaces in values of `environment`, as docs/service-toml.md lists them.
const OF_CONDUCTOR: &[&str] = &["PORT", "HOME", "POD_NAME", "CREDENTIALS_DIRECTORY"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// A variable of the declaration's templates. Without a default it must be given.
    Variable {
        name: String,
        default: Option<String>,
    },
}

/// A text that may have variables in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Piece>);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(vec![Piece::Literal(text.to_owned())])
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(vec![Piece::Literal(text)])
    }
}

impl Text {
    pub(crate) fn variable(name: &str, default: Option<String>) -> Self {
        Self(vec![Piece::Variable { name: name.to_owned(), default }])
    }

    /// Reads a text of docker compose, in which `${NAME}` and `$NAME` are variables and `$$` is a dollar sign. `known` are
    /// the defaults of variables.
    ///
    /// # Errors
    /// What is no variable of compose.
    pub(crate) fn interpolated(text: &str, known: &BTreeMap<String, String>) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Self::default(), text);
        while let Some(at) = rest.find('$') {
            pieces.push(Self::from(&rest[..at]));
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('$') {
                pieces.push(Self::from("$"));
                rest = after;
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = closing(inner).ok_or_else(|| format!("${{{inner} has no closing brace"))?;
                pieces.push(braced(&inner[..end], known)?);
                rest = &inner[end + 1..];
            } else {
                let length = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(after.len());
                let name = &after[..length];
                if is_name(name) {
                    pieces.push(Self::variable(name, known.get(name).cloned()));
                    rest = &after[length..];
                } else {
                    pieces.push(Self::from("$"));
                    rest = after;
                }
            }
        }
        pieces.push(Self::from(rest));
        Ok(pieces)
    }

    pub(crate) fn push(&mut self, other: Self) {
        for piece in other.0 {
            match (self.0.last_mut(), piece) {
                (_, Piece::Literal(text)) if text.is_empty() => {}
                (Some(Piece::Literal(last)), Piece::Literal(text)) => last.push_str(&text),
                (_, piece) => self.0.push(piece),
            }
        }
    }

    /// The text, if it has no variables.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with the defaults of its variables; None if one has no default.
    pub(crate) fn with_defaults(&self) -> Option<String> {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => Some(text.clone()),
                Piece::Variable { default, .. } => default.clone(),
            })
            .collect()
    }

    /// The text, in which a variable without a default is its own reference.
    pub(crate) fn shown(&self) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Variable { name, default } => match default {
                    Some(default) => text.push_str(default),
                    None => text.push_str(&format!("${{{name}}}")),
                },
            }
        }
        text
    }

    /// Changes the parts that are no variables.
    pub(crate) fn map(self, change: impl Fn(&str) -> String) -> Self {
        let change = |piece| match piece {
            Piece::Literal(text) => Piece::Literal(change(&text)),
            variable @ Piece::Variable { .. } => variable,
        };
        Self(self.0.into_iter().map(change).collect())
    }

    /// Splits the text at a character outside of variables.
    pub(crate) fn split(&self, separator: char) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => {
                    for (index, part) in text.split(separator).enumerate() {
                        if index > 0 {
                            parts.push(Self::default());
                        }
                        if let Some(last) = parts.last_mut() {
                            last.push(Self::from(part));
                        }
                    }
                }
                variable @ Piece::Variable { .. } => {
                    if let Some(last) = parts.last_mut() {
                        last.0.push(variable.clone());
                    }
                }
            }
        }
        parts
    }

    pub(crate) fn joined(parts: &[Self], separator: &str) -> Self {
        let mut text = Self::default();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                text.push(Self::from(separator));
            }
            text.push(part.clone());
        }
        text
    }

    /// A word of a command line whose dollar signs are text: conductor would replace `${NAME}`.
    pub(crate) fn into_word(self) -> Self {
        self.map(|text| text.replace("$$", "$$$$").replace("${", "$${"))
    }

    /// A value of `environment` whose dollar signs are text.
    pub(crate) fn into_value(self) -> Self {
        self.map(|text| {
            let mut out = String::new();
            let mut rest = text;
            while let Some(at) = rest.find("${") {
                let name = rest[at + 2..].split('}').next().unwrap_or_default();
                let is_known =
                    OF_CONDUCTOR.contains(&name) || name.starts_with("CONDUCTOR_") || name.ends_with("_DIRECTORY");
                out.push_str(&rest[..at]);
                out.push_str(if is_known { "$${" } else { "${" });
                rest = &rest[at + 2..];
            }
            out + rest
        })
    }

    /// Adds the names of the variables that have no default.
    pub(crate) fn required(&self, names: &mut BTreeSet<String>) {
        names.extend(self.0.iter().filter_map(|piece| match piece {
            Piece::Variable { name, default: None } => Some(name.clone()),
            _ => None,
        }));
    }

    /// Writes the text as a string of TOML, which the declaration's templates leave as it is but for variables.
    pub(crate) fn to_toml(&self) -> String {
        let mut toml = String::from("\"");
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => escape(text, &mut toml),
                Piece::Variable { name, default: None } => {
                    let _ = write!(toml, "{{{{ {name} }}}}");
                }
                Piece::Variable { name, default: Some(default) } => {
                    let _ = write!(toml, "{{{{ {name} | default('{}') }}}}", in_template(default));
                }
            }
        }
        toml.push('"');
        toml
    }
}

/// Escapes a text for a basic string of TOML. A brace that would begin an expression of the template engine is escaped.
fn escape(text: &str, toml: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let begins = c == '{' && matches!(chars.peek(), Some('{' | '%' | '#'));
        match c {
            '"' => toml.push_str("\\\""),
            '\\' => toml.push_str("\\\\"),
            '\n' => toml.push_str("\\n"),
            '\t' => toml.push_str("\\t"),
            '\r' => toml.push_str("\\r"),
            c if begins || c.is_control() => {
                let _ = write!(toml, "\\u{:04X}", u32::from(c));
            }
            c => toml.push(c),
        }
    }
}

/// Escapes a text for a string in single quotes of the template engine.
fn in_template(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\r', "\\r")
}

/// The position of the brace that closes one that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Reads what stands in the braces of `${…}`.
fn braced(inner: &str, known: &BTreeMap<String, String>) -> Result<Text, String> {
    let length = inner.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
    let (name, operator) = inner.split_at(length);
    if !is_name(name) {
        return Err(format!("${{{inner}}} is no variable"));
    }
    let value = known.get(name).cloned();
    let nested = |text: &str| Text::interpolated(text, known).map(|text| text.with_defaults().unwrap_or_default());
    let (operator, argument) =
        operator.split_at(operator.find(|c| !matches!(c, ':' | '-' | '?' | '+')).unwrap_or(operator.len()).min(2));
    Ok(match operator {
        "" => Text::variable(name, value),
        ":-" => {
            Text::variable(name, Some(value.filter(|value| !value.is_empty()).map_or_else(|| nested(argument), Ok)?))
        }
        "-" => Text::variable(name, Some(value.map_or_else(|| nested(argument), Ok)?)),
        ":?" | "?" => Text::variable(name, value),
        // What is set is known when the declaration is written.
        ":+" | "+" => Text::from(if value.is_some() { nested(argument)? } else { String::new() }),
        _ => return Err(format!("${{{inner}}} is no variable")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variables_of_compose_become_those_of_templates() {
        let known = BTreeMap::from([("TAG".to_owned(), "1.4".to_owned())]);
        for (text, toml) in [
            ("app:${TAG}", r#""app:{{ TAG | default('1.4') }}""#),
            ("$TAG-$$x", r#""{{ TAG | default('1.4') }}-$x""#),
            ("${NONE}", r#""{{ NONE }}""#),
            ("${A:-it's}", r#""{{ A | default('it\'s') }}""#),
            ("${A-${TAG}}!", r#""{{ A | default('1.4') }}!""#),
            ("${TAG:+on}${NONE:+on}", r#""on""#),
            ("${A:?needed}", r#""{{ A }}""#),
            ("{{.Name}} {%x {# \"\\", "\"\\u007B{.Name}} \\u007B%x \\u007B# \\\"\\\\\""),
            ("1$ $1", r#""1$ $1""#),
        ] {
            assert_eq!(Text::interpolated(text, &known).map(|text| text.to_toml()), Ok(toml.to_owned()), "{text}");
        }
        assert!(Text::interpolated("${A", &known).is_err());
        assert!(Text::interpolated("${!A}", &known).is_err());
    }

    proptest! {
        #[test]
        fn every_text_arrives(text in "[a{}%#$\"'\\\\\n\té]{0,20}") {
            let toml = format!("value = {}", Text::from(text.as_str()).to_toml());
            prop_assert!(!toml.contains("{{") && !toml.contains("{%") && !toml.contains("{#"), "{toml}");
            let read: toml::Table = toml.parse().expect("TOML");
            prop_assert_eq!(read["value"].as_str(), Some(text.as_str()));
        }

        #[test]
        fn no_text_panics(text in "[A1${}:?+-]{0,20}") {
            let _ = Text::interpolated(&text, &BTreeMap::new()).map(|text| text.to_toml());
        }
    }
}
