//! Variables in the words of commands and in values of `environment`. In commands `${NAME}` is replaced by the value of a variable and `$$` by a dollar sign, as in
//! systemd.service(5). Unlike there, every other `$` is itself, also in a word that is only `$NAME`: hashes of
//! passwords, regular expressions and scripts of the shell arrive as they were written.

/// A piece of a word.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// `$$`, or a `$` that begins nothing.
    Dollar,
    /// `${NAME}`
    Variable(&'a str),
}

fn pieces(word: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        let (before, found) = rest.split_at(at);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let (piece, length) = match found.as_bytes().get(1) {
            Some(b'$') => (Piece::Dollar, 2),
            Some(b'{') => match found[2..].split_once('}') {
                Some((name, _)) if is_name(name) => (Piece::Variable(name), name.len() + 3),
                _ => (Piece::Dollar, 1),
            },
            _ => (Piece::Dollar, 1),
        };
        pieces.push(piece);
        rest = &found[length..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// Returns whether a text is the name of a variable, environ(7).
pub(crate) fn is_name(text: &str) -> bool {
    let ok = |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || index > 0 && c.is_ascii_digit();
    !text.is_empty() && text.chars().enumerate().all(ok)
}

/// Writes a word for a command line of systemd, which expands the same in it.
pub(crate) fn for_systemd(word: &str) -> String {
    let text = |piece: Piece<'_>| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Dollar => "$$".to_owned(),
        Piece::Variable(name) => format!("${{{name}}}"),
    };
    pieces(word).into_iter().map(text).collect()
}

/// Writes a word for a command of Kubernetes: `$(NAME)` is a variable there and `$$` a dollar sign. What `is_known` does not
/// name has no value, and is empty as systemd has it.
#[cfg(feature = "cli")]
pub(crate) fn for_kubernetes(word: &str, is_known: impl Fn(&str) -> bool) -> String {
    let text = |piece: Piece<'_>| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Dollar => "$$".to_owned(),
        Piece::Variable(name) if is_known(name) => format!("$({name})"),
        Piece::Variable(_) => String::new(),
    };
    pieces(word).into_iter().map(text).collect()
}

/// Lists the variables of a word.
#[cfg(feature = "cli")]
pub(crate) fn variables(word: &str) -> Vec<&str> {
    let name = |piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Text(_) | Piece::Dollar => None,
    };
    pieces(word).into_iter().filter_map(name).collect()
}

/// Expands the variables of a word; one without a value is empty, as systemd has it.
pub(crate) fn expand(word: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let text = |piece: Piece<'_>| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Dollar => "$".to_owned(),
        Piece::Variable(name) => value(name).unwrap_or_default(),
    };
    pieces(word).into_iter().map(text).collect()
}

/// A part of a value of `environment`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Text(&'a str),
    /// `${NAME}`
    Variable(&'a str),
}

/// Takes a value of `environment` apart: `${NAME}` is a variable if its name `is_known`, and `$${NAME}` is the text
/// `${NAME}` then. Every other character is text, because values have formats of their own, as `${time}` of a log.
pub(crate) fn parts(value: &str, is_known: impl Fn(&str) -> bool) -> Vec<Part<'_>> {
    let (mut parts, mut from, mut at) = (Vec::new(), 0, 0);
    while let Some(found) = value[at..].find("${") {
        let start = at + found;
        at = start + 2;
        let Some((name, _)) = value[at..].split_once('}').filter(|(name, _)| is_known(name)) else { continue };
        let end = at + name.len() + 1;
        let is_text = start > from && value.as_bytes()[start - 1] == b'$';
        parts.push(Part::Text(&value[from..start - usize::from(is_text)]));
        parts.push(if is_text { Part::Text(&value[start..end]) } else { Part::Variable(name) });
        (from, at) = (end, end);
    }
    parts.push(Part::Text(&value[from..]));
    parts.retain(|part| *part != Part::Text(""));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_names_in_braces_and_doubled_dollars_are_expanded() {
        let value = |name: &str| (name == "PORT").then(|| "8080".to_owned());
        for (word, arrives, to_systemd) in [
            ("$2y$10$abc", "$2y$10$abc", "$$2y$$10$$abc"),
            ("$PORT", "$PORT", "$$PORT"),
            ("a${PORT}b", "a8080b", "a${PORT}b"),
            ("${NONE}", "", "${NONE}"),
            ("cost: $$5, $", "cost: $5, $", "cost: $$5, $$"),
            ("${#a} ${a:-b} ${} ${1} ${", "${#a} ${a:-b} ${} ${1} ${", "$${#a} $${a:-b} $${} $${1} $${"),
            ("$${PORT}", "${PORT}", "$${PORT}"),
            ("$$$${PORT}", "$${PORT}", "$$$${PORT}"),
            ("ü$ü", "ü$ü", "ü$$ü"),
        ] {
            assert_eq!(expand(word, value), arrives, "{word}");
            assert_eq!(for_systemd(word), to_systemd, "{word}");
        }
    }

    #[test]
    fn only_known_variables_of_values_are_expanded() {
        for (value, arrives) in [
            ("127.0.0.1:${PORT}", "127.0.0.1:8080"),
            ("${PORT}${PORT}", "80808080"),
            ("$${PORT} ${PORT}", "${PORT} 8080"),
            ("$$${PORT}", "$${PORT}"),
            ("${time} $$ $PORT ${PORT ${} ${PORT-1} $${time}", "${time} $$ $PORT ${PORT ${} ${PORT-1} $${time}"),
            ("${${PORT}", "${8080"),
            ("", ""),
        ] {
            let text = |part: Part<'_>| match part {
                Part::Text(text) => text.to_owned(),
                Part::Variable(_) => "8080".to_owned(),
            };
            let expanded: String = parts(value, |name| name == "PORT").into_iter().map(text).collect();
            assert_eq!(expanded, arrives, "{value}");
        }
    }

    proptest! {
        #[test]
        fn values_without_known_variables_stay(value in "[$a{}_ü]{0,24}") {
            let text: String = parts(&value, |_| false).into_iter().map(|part| match part {
                Part::Text(text) | Part::Variable(text) => text,
            }).collect();
            prop_assert_eq!(text, value);
        }

        #[test]
        fn what_systemd_gets_means_the_same(word in "[$a{}_ü]{0,24}") {
            let value = |name: &str| Some(format!("<{name}>"));
            prop_assert_eq!(expand(&for_systemd(&word), value), expand(&word, value));
            prop_assert_eq!(for_systemd(&for_systemd(&word)), for_systemd(&word), "nothing is left to double");
        }
    }
}
