//! Command lines as a shell of POSIX splits them into words.

/// Characters that only a shell understands, outside of quotes.
const OF_SHELL: &[char] = &['|', '&', ';', '<', '>', '(', ')', '`', '*', '?', '[', '#', '~', '\n'];

/// A command line, split.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) words: Vec<String>,
    /// Whether the line has what only a shell understands, variables aside.
    pub(crate) needs_shell: bool,
}

/// Splits a command line. Backslashes and quotes are those of sh(1); a variable stays as it is written.
///
/// # Errors
/// A quote that has no end.
pub(crate) fn split(line: &str) -> Result<Words, String> {
    let (mut words, mut word, mut needs_shell) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a quote has no end".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("a quote has no end".to_owned()),
                        },
                        Some('`') => {
                            needs_shell = true;
                            word.push('`');
                        }
                        Some('$') => {
                            needs_shell |= chars.peek() == Some(&'(');
                            word.push('$');
                        }
                        Some(c) => word.push(c),
                        None => return Err("a quote has no end".to_owned()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() && c != '\n' => words.extend(word.take()),
            c => {
                // A comment begins a word, and a tilde too.
                let is_inside = word.is_some();
                needs_shell |= OF_SHELL.contains(&c) && !(is_inside && matches!(c, '#' | '~'));
                needs_shell |= c == '$' && chars.peek() == Some(&'(');
                if c == '\n' {
                    words.extend(word.take());
                } else {
                    word.get_or_insert_default().push(c);
                }
            }
        }
    }
    words.extend(word);
    Ok(Words { words, needs_shell })
}

/// Writes a word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_split_as_a_shell_splits_them() {
        for (line, words, needs_shell) in [
            ("a  b\tc", &["a", "b", "c"][..], false),
            (r#"a "b c" 'd "e' f\ g"#, &["a", "b c", "d \"e", "f g"], false),
            (r#"--x="$PORT" \"y"#, &["--x=$PORT", "\"y"], false),
            ("a && b", &["a", "&&", "b"], true),
            ("a $(b)", &["a", "$(b)"], true),
            ("a#b ''", &["a#b", ""], false),
        ] {
            let split = split(line).expect("words");
            assert_eq!(
                (split.words, split.needs_shell),
                (words.iter().map(ToString::to_string).collect(), needs_shell)
            );
        }
        assert!(split("a 'b").is_err());
    }

    proptest! {
        #[test]
        fn quoted_words_arrive(word in "[a'\"$\\\\ é;]{0,12}") {
            let split = split(&quoted(&word)).expect("a word");
            prop_assert_eq!((split.words, split.needs_shell), (vec![word], false));
        }
    }
}
