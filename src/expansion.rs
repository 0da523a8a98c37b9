//! Variables in the words of commands: `${NAME}` is replaced by the value of a variable and `$$` by a dollar sign, as in
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

/// Expands the variables of a word; one without a value is empty, as systemd has it.
pub(crate) fn expand(word: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let text = |piece: Piece<'_>| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Dollar => "$".to_owned(),
        Piece::Variable(name) => value(name).unwrap_or_default(),
    };
    pieces(word).into_iter().map(text).collect()
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

    proptest! {
        #[test]
        fn what_systemd_gets_means_the_same(word in "[$a{}_ü]{0,24}") {
            let value = |name: &str| Some(format!("<{name}>"));
            prop_assert_eq!(expand(&for_systemd(&word), value), expand(&word, value));
            prop_assert_eq!(for_systemd(&for_systemd(&word)), for_systemd(&word), "nothing is left to double");
        }
    }
}
