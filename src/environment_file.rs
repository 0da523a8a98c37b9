//! Files for `EnvironmentFile=` as systemd reads them, systemd.exec(5).

/// The characters that a backslash keeps their meaning from within double quotes.
const ESCAPED: &[char] = &['"', '\\', '`', '$'];

/// Writes variables with values that arrive as they are.
pub(crate) fn write<'a>(variables: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let line = |(name, value): (&String, &String)| {
        if value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@[]".contains(c)) {
            return format!("{name}={value}\n");
        }
        let mut line = format!("{name}=\"");
        for c in value.chars() {
            if ESCAPED.contains(&c) {
                line.push('\\');
            }
            line.push(c);
        }
        line.push_str("\"\n");
        line
    };
    variables.into_iter().map(line).collect()
}

/// The place of a character in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Name,
    /// Before a value, or between its quoted parts.
    Between,
    Value,
    Escape,
    SingleQuotes,
    DoubleQuotes,
    EscapeInQuotes,
    Comment,
    EscapeInComment,
}

/// A file that is being read.
struct Reader {
    variables: Vec<(String, String)>,
    name: String,
    value: String,
    /// The length of the value without spaces at its end that are in no quotes.
    kept: usize,
}

/// Reads the variables of a file in their order. As systemd does, it leaves out what is no assignment.
pub(crate) fn read(text: &str) -> Vec<(String, String)> {
    let mut reader = Reader { variables: Vec::new(), name: String::new(), value: String::new(), kept: 0 };
    let last = text.chars().fold(State::Name, |state, c| reader.take(state, c));
    if !matches!(last, State::Name | State::Comment | State::EscapeInComment) {
        reader.end();
    }
    reader.variables
}

impl Reader {
    /// Takes the next character and returns the state after it.
    fn take(&mut self, state: State, c: char) -> State {
        let is_newline = matches!(c, '\n' | '\r');
        match (state, c) {
            (State::Name, '#' | ';') if self.name.is_empty() => State::Comment,
            (State::Name, '=') if !self.name.is_empty() => State::Between,
            (State::Name, _) if is_newline => {
                self.name.clear();
                State::Name
            }
            (State::Name, _) => {
                if !self.name.is_empty() || !c.is_ascii_whitespace() {
                    self.name.push(c);
                }
                State::Name
            }
            (State::Between | State::Value, _) if is_newline => self.end(),
            (State::Between, '\'') => State::SingleQuotes,
            (State::Between, '"') => State::DoubleQuotes,
            (State::Between | State::Value, '\\') => State::Escape,
            (State::Between, _) if c.is_ascii_whitespace() => State::Between,
            (State::Between | State::Value, _) => {
                self.value.push(c);
                if !c.is_ascii_whitespace() {
                    self.kept = self.value.len();
                }
                State::Value
            }
            (State::Escape, _) => {
                if !is_newline {
                    self.keep(c);
                }
                State::Value
            }
            (State::SingleQuotes, '\'') | (State::DoubleQuotes, '"') => State::Between,
            (State::DoubleQuotes, '\\') => State::EscapeInQuotes,
            (State::SingleQuotes | State::DoubleQuotes, _) => {
                self.keep(c);
                state
            }
            (State::EscapeInQuotes, _) => {
                if !ESCAPED.contains(&c) && c != '\n' {
                    self.keep('\\');
                }
                if c != '\n' {
                    self.keep(c);
                }
                State::DoubleQuotes
            }
            (State::Comment, '\\') => State::EscapeInComment,
            (State::Comment | State::EscapeInComment, _) if is_newline => State::Name,
            (State::Comment | State::EscapeInComment, _) => State::Comment,
        }
    }

    fn keep(&mut self, c: char) {
        self.value.push(c);
        self.kept = self.value.len();
    }

    /// Ends an assignment.
    fn end(&mut self) -> State {
        let (name, mut value) = (std::mem::take(&mut self.name), std::mem::take(&mut self.value));
        value.truncate(std::mem::take(&mut self.kept));
        let name = name.trim_ascii_end();
        if crate::expansion::is_name(name) {
            self.variables.push((name.to_owned(), value));
        }
        State::Name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_read_as_systemd_reads_them() {
        let text = "# a comment\n; B=2\n\nA=1\n A = two words \t\nB='it''s' \"a \\\"b\\\" \\x \\$\"\nC=a\\ \\\n  b\nD=\n\
                    no assignment\n1X=2\nE=\"two\nlines\"\r\nF=a#b;c\nG=\"open\n";
        let expected = [
            ("A", "1"),
            ("A", "two words"),
            ("B", "itsa \"b\" \\x $"),
            ("C", "a   b"),
            ("D", ""),
            ("E", "two\nlines"),
            ("F", "a#b;c"),
            ("G", "open\n"),
        ];
        let read = read(text);
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn any_value_arrives(values in proptest::collection::vec("[^\u{0}]{0,24}|[\"'\\\\`$# \t\n=;]{0,12}", 0..4)) {
            let variables: Vec<_> = values.into_iter().enumerate().map(|(n, value)| (format!("V{n}"), value)).collect();
            let text = write(variables.iter().map(|(name, value)| (name, value)));
            prop_assert_eq!(read(&text), variables);
        }

        #[test]
        fn no_text_panics(text in "[A='\"\\\\ #;\n\r$é]{0,60}") {
            read(&text);
        }
    }
}
