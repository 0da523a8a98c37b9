//! Unit files as systemd reads them, systemd.syntax(7).

/// The characters that end a line.
const ENDS: [char; 3] = ['\n', '\r', '\0'];

/// A `Key=value` line, with its continuation lines joined by spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without its brackets; empty above the first section.
    pub(crate) section: String,
    pub(crate) key: String,
    pub(crate) value: String,
    /// The number of the row in which it ends, from 1.
    pub(crate) row: usize,
}

/// Reads the assignments of a unit file or a drop-in. What is no assignment is left out, as systemd does with a
/// warning.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let (mut lines, mut section, mut unfinished) = (Vec::new(), String::new(), String::new());
    // Comments neither end nor begin a continuation. The newline behind all ends the last line, finished or not.
    let is_comment = |line: &&str| line.trim_ascii_start().starts_with(['#', ';']);
    let numbered = rows(text).enumerate().filter(|(_, line)| !is_comment(line));
    for (index, line) in numbered.map(|(index, line)| (index, Some(line))).chain([(0, None)]) {
        unfinished.push_str(line.unwrap_or_default());
        if line.is_some() && is_continued(&unfinished) {
            unfinished.pop();
            unfinished.push(' ');
            continue;
        }
        let line = std::mem::take(&mut unfinished);
        let line = line.trim_ascii();
        if let Some(name) = line.strip_prefix('[') {
            section = name.strip_suffix(']').unwrap_or_default().to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, value) = (key.trim_ascii_end().to_owned(), value.trim_ascii_start().to_owned());
            lines.push(Line { section: section.clone(), key, value, row: index + 1 });
        }
    }
    lines
}

/// Splits a text where systemd does: at a newline, a carriage return or a NUL, or at several of them that differ, `read_line`
/// of its src/basic/fileio.c.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (row, mut end) = text.split_at(text.find(ENDS).unwrap_or(text.len()));
        rest = (!end.is_empty()).then(|| {
            let mut ends = Vec::from(ENDS);
            while let Some(found) = ends.iter().position(|one| end.starts_with(*one)) {
                ends.swap_remove(found);
                end = &end[1..];
            }
            end
        });
        Some(row)
    })
}

/// Returns whether the last backslash of a line is not escaped by another.
fn is_continued(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

/// Splits a value into words, without their quotes and C escapes. systemd ignores what follows an escape or a quote
/// that is not valid; so does this.
pub(crate) fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            _ if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            '\\' => match escape(&mut chars) {
                Some(bytes) => word.get_or_insert_default().extend(bytes),
                None => return words,
            },
            c if c.is_ascii_whitespace() && quote.is_none() => words.extend(word.take().map(|bytes| text(&bytes))),
            c => word.get_or_insert_default().extend(c.to_string().bytes()),
        }
    }
    words.extend(word.filter(|_| quote.is_none()).map(|bytes| text(&bytes)));
    words
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The bytes of what follows a backslash; None if that is no escape, or a NUL.
fn escape(chars: &mut std::str::Chars<'_>) -> Option<Vec<u8>> {
    let byte = match chars.next()? {
        'a' => 0x7,
        'b' => 0x8,
        'f' => 0xc,
        'n' => b'\n',
        'r' => b'\r',
        's' => b' ',
        't' => b'\t',
        'v' => 0xb,
        quoted @ ('\\' | '"' | '\'') => quoted as u8,
        'x' => u8::try_from(number(chars, "", 2, 16)?).ok()?,
        octal @ '0'..='7' => u8::try_from(number(chars, &octal.to_string(), 2, 8)?).ok()?,
        'u' => return character(number(chars, "", 4, 16)?),
        'U' => return character(number(chars, "", 8, 16)?),
        _ => return None,
    };
    (byte != 0).then(|| vec![byte])
}

fn character(code: u32) -> Option<Vec<u8>> {
    char::from_u32(code).filter(|c| *c != '\0').map(|c| c.to_string().into_bytes())
}

/// A number whose first digit is read already, and whose others follow.
fn number(chars: &mut std::str::Chars<'_>, first: &str, digits: usize, radix: u32) -> Option<u32> {
    let (text, rest) = chars.as_str().split_at_checked(digits)?;
    let is_number = text.chars().all(|c| c.is_digit(radix)); // Rust would take a sign here
    let number = is_number.then(|| u32::from_str_radix(&format!("{first}{text}"), radix).ok())??;
    *chars = rest.chars();
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<String> {
        lines(text).iter().map(|line| format!("[{}] {}={}", line.section, line.key, line.value)).collect()
    }

    #[test]
    fn lines_are_read_as_systemd_reads_them() {
        for (text, expected) in [
            ("A=1\n[Service]\n B = 2 \n[Install]\nC=3", &["[] A=1", "[Service] B=2", "[Install] C=3"][..]),
            ("[Service]\r\nA=1\r\n", &["[Service] A=1"]),
            ("[Service]\rA=1\rB=2\0C=3\0\nD=\0", &["[Service] A=1", "[Service] B=2", "[Service] C=3", "[Service] D="]),
            ("A=1\\\r\n2\nB=3\\\n\n4=5", &["[] A=1 2", "[] B=3", "[] 4=5"]),
            ("[S]\nA=1 \\\n  2\\\n3\nB=\n", &["[S] A=1    2 3", "[S] B="]),
            ("[S]\nA=1\\\n# comment \\\n; another\n2\nB=3\n", &["[S] A=1 2", "[S] B=3"]),
            ("[S]\n# comment \\\nA=1\n", &["[S] A=1"]),
            ("[S]\nA=1\\\\\nB=2\\\\\\\n3", &["[S] A=1\\\\", "[S] B=2\\\\ 3"]),
            ("[S]\nA=1\\", &["[S] A=1"]),
            ("[S]\nno assignment\n\nA=b=c\n", &["[S] A=b=c"]),
            ("[S]\nA=1 \\\n[T]\nB=2", &["[S] A=1  [T]", "[S] B=2"]),
            ("[broken\nA=1", &["[] A=1"]),
            ("", &[]),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn words_are_split_as_systemd_splits_them() {
        for (value, expected) in [
            ("a b\tc", &["a", "b", "c"][..]),
            ("\"two words\" 'it''s' \"it's\" ''", &["two words", "its", "it's", ""]),
            ("mid\"dle q\"uote", &["middle quote"]),
            (r"\x41\102\n\u00e9\U0001f600\s", &["AB\né😀 "]),
            (r"\xc3\xa9", &["é"]),
            (r"a \q b", &["a"]),
            (r"a \x00 b", &["a"]),
            (r"a \777 b", &["a"]),
            (r"a \x+1 b", &["a"]),
            (r"a b\", &["a"]),
            ("a \"open b", &["a"]),
        ] {
            assert_eq!(words(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]=#;\\\\ \\r\\nA-C\"'xuU0-9é]{0,60}") {
            for line in lines(&text) {
                words(&line.value);
            }
        }
    }
}
