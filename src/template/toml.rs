//! Values in TOML: each is escaped for the place it stands in, and adds no key.

use super::mark::Piece;

/// The place of the next character in a TOML document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Outside of strings: a key, a number, a sign.
    Bare,
    Comment,
    /// In a string in double quotes; `escaped` behind a backslash.
    Basic {
        is_long: bool,
        escaped: bool,
    },
    /// In a string in single quotes.
    Literal {
        is_long: bool,
    },
}

/// A value that cannot stand where the template has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misplaced {
    /// The index of its piece.
    pub(super) index: usize,
    pub(super) message: String,
    pub(super) remedy: &'static str,
}

/// Joins pieces to a TOML document.
///
/// # Errors
/// The first value that its place cannot express.
pub(super) fn join(pieces: &[Piece]) -> Result<String, Misplaced> {
    let mut place = Place::Bare;
    let mut text = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Template(template) => {
                place = place.after(template);
                text.push_str(template);
            }
            Piece::Value(value) => {
                let misplaced = |(message, remedy)| Misplaced { index, message, remedy };
                text.push_str(&place.escape(value).map_err(misplaced)?);
            }
        }
    }
    Ok(text)
}

impl Place {
    /// Returns the place behind a text that begins here.
    fn after(mut self, text: &str) -> Self {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let length = if matches!(c, '"' | '\'') { rest.len() - rest.trim_start_matches(c).len() } else { 1 };
            let (next, taken) = self.behind(c, length);
            self = next;
            rest = &rest[if taken == 1 { c.len_utf8() } else { taken }..];
        }
        self
    }

    /// Returns the place behind a character that occurs `run` times from here, and how many of them lead there.
    fn behind(self, c: char, run: usize) -> (Self, usize) {
        match (self, c) {
            (Self::Bare, '#') => (Self::Comment, 1),
            (Self::Bare, '"' | '\'') => {
                // Two are an empty string, three begin a long one; up to two more are its first characters.
                let is_long = (3..6).contains(&run);
                let opened = if c == '"' { Self::Basic { is_long, escaped: false } } else { Self::Literal { is_long } };
                (if run == 1 || is_long { opened } else { Self::Bare }, run)
            }
            (Self::Basic { is_long, escaped: true }, _) => (Self::Basic { is_long, escaped: false }, 1),
            (Self::Basic { is_long, escaped: false }, '\\') => (Self::Basic { is_long, escaped: true }, 1),
            (Self::Basic { is_long: true, .. }, '"') | (Self::Literal { is_long: true }, '\'') => {
                (if run >= 3 { Self::Bare } else { self }, run)
            }
            (Self::Basic { .. }, '"') | (Self::Literal { .. }, '\'') => (Self::Bare, 1),
            (Self::Comment | Self::Basic { is_long: false, .. } | Self::Literal { is_long: false }, '\n') => {
                (Self::Bare, 1)
            }
            _ => (self, 1),
        }
    }

    /// Writes a value for this place.
    fn escape(self, value: &str) -> Result<String, (String, &'static str)> {
        match self {
            Self::Bare if is_word(value) => Ok(value.to_owned()),
            Self::Bare => Err((
                format!("the value {value:?} stands outside of a string"),
                "put double quotes around {{ … }}, or write {{ … | safe }} if the value is TOML",
            )),
            Self::Basic { escaped: true, .. } => {
                Err(("a backslash stands before a value".to_owned(), "write the backslash twice"))
            }
            Self::Basic { .. } | Self::Comment => Ok(value.chars().map(escaped).collect()),
            Self::Literal { is_long } => {
                let is_plain = |c: char| c != '\'' && (!c.is_control() || c == '\t' || is_long && c == '\n');
                if value.chars().all(is_plain) {
                    return Ok(value.to_owned());
                }
                let message = format!("a string in single quotes cannot express the value {value:?}");
                Err((message, "put double quotes around {{ … }}"))
            }
        }
    }
}

/// Returns whether a value is one word of TOML: a number, true or false, or a key without a dot.
fn is_word(value: &str) -> bool {
    let is_key = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    is_key || value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-')) && value.parse::<f64>().is_ok()
}

/// Writes a character of a string in double quotes.
fn escaped(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Templates, each with the value at its mark.
    const TEMPLATES: &[&str] = &[
        "a = \"x@y\"\nb = 1\n",
        "a = '@'\nb = 1\n",
        "a = \"\"\"\n\"@\"\"\"\"\nb = 1\n",
        "a = '''\n'@''''\nb = 1\n",
        "a = @\nb = 1\n",
        "# it's @\na = \"\\\"@\"\nb = ''\n",
        "a = [\"\", '', \"\"\"\"\"\", \"@\"] # \"\nb = '\"'\n",
        "[a]\n\"@\" = 1\n[b]\nc = '''it's \"@'''\n",
    ];

    fn rendered(template: &str, value: &str) -> Result<String, Misplaced> {
        let mut pieces = Vec::new();
        for (index, part) in template.split('@').enumerate() {
            let value = (index > 0).then(|| Piece::Value(value.to_owned()));
            pieces.extend(value.into_iter().chain([Piece::Template(part.to_owned())]));
        }
        join(&pieces)
    }

    /// The document's tables, arrays and keys, without the value and without what scalars say.
    fn shape(value: &toml::Value, given: &str) -> String {
        match value {
            toml::Value::Table(table) => {
                let name = |key: &str| if key == given { "@".to_owned() } else { key.to_owned() };
                let mut entries: Vec<_> =
                    table.iter().map(|(key, value)| format!("{}={}", name(key), shape(value, given))).collect();
                entries.sort();
                format!("{{{}}}", entries.join(","))
            }
            toml::Value::Array(items) => {
                format!("[{}]", items.iter().map(|item| shape(item, given)).collect::<Vec<_>>().join(","))
            }
            _ => "scalar".to_owned(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_value_adds_a_key(
            index in 0..TEMPLATES.len(),
            value in prop_oneof![any::<String>(), "[\"'\\\\\n\r\t #=\\[\\]{}a1.,-]{0,12}"],
        ) {
            prop_assume!(!["a", "b", "c"].contains(&&*value));
            let template = TEMPLATES[index];
            let Ok(text) = rendered(template, &value) else { return Ok(()) };
            let Ok(document) = toml::from_str::<toml::Value>(&text) else { return Ok(()) };
            let harmless = toml::from_str::<toml::Value>(&template.replace('@', "7")).unwrap();
            prop_assert_eq!(shape(&document, &value), shape(&harmless, "7"), "{}", text);
        }

        #[test]
        fn a_value_in_double_quotes_arrives(value in any::<String>()) {
            for template in ["a = \"@\"", "a = \"\"\"@\"\"\"", "# \"\na = \"@\" # @", "a.b = ''\nc = \"\"\na = \"@\""] {
                let text = rendered(&template.replace("a.b = ''\n", ""), &value).unwrap();
                let document: toml::Table = toml::from_str(&text).unwrap();
                prop_assert_eq!(document["a"].as_str(), Some(&*value));
            }
        }
    }

    #[test]
    fn outside_of_strings_a_value_is_one_word() {
        for word in ["3", "-1.5", "true", "web", "1e3"] {
            assert_eq!(rendered("a = @\n", word).unwrap(), format!("a = {word}\n"));
        }
        for value in ["", "1\nb = 2", "[1]", "\"x\"", "a.b", "x y", "# x"] {
            assert!(rendered("a = @\n", value).is_err(), "{value}");
        }
    }

    #[test]
    fn what_a_place_cannot_express_is_an_error() {
        assert!(rendered("a = '@'\n", "it's").is_err());
        assert!(rendered("a = '@'\n", "a\nb").is_err());
        assert_eq!(rendered("a = '''@'''\n", "a\nb").unwrap(), "a = '''a\nb'''\n");
        assert_eq!(rendered("a = \"\\@\"\n", "\"").unwrap_err().index, 1);
    }
}
