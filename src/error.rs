//! Errors of operations on the machine, as text for people.

use std::fmt;
use std::io;

use crate::diagnostic::Diagnostics;

#[derive(Debug)]
pub struct Error(pub String);

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<Diagnostics> for Error {
    fn from(errors: Diagnostics) -> Self {
        Self(errors.without_label())
    }
}

/// Returns the cause in the text of a failure: the last line that is neither indented nor a line of a declaration.
pub(crate) fn cause(text: &str) -> &str {
    let is_source = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(" |");
    let is_cause = |line: &&str| !line.is_empty() && !line.starts_with(' ') && !is_source(line);
    text.lines().rev().find(is_cause).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_stands_last() {
        assert_eq!(cause("it failed"), "it failed");
        assert_eq!(cause("1 failed; log:\n  | a line\nexited with status 1\n  help: do that"), "exited with status 1");
        assert_eq!(cause("a.toml:3:1: no\n  |\n3 | x = 1\n  | ^\n  help: remove it"), "a.toml:3:1: no");
    }
}
