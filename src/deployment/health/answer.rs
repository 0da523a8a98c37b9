//! The answer to an attempt of a health check, as text for messages.

use std::io;

/// The length of an excerpt in messages, in bytes.
pub(crate) const EXCERPT: usize = 200;

/// The answer to an attempt; `Err` if the attempt failed.
pub(crate) type Answer = Result<String, String>;

/// Returns the beginning of an answer as one line without control characters.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT)]);
    let complete = text.trim_end_matches(char::REPLACEMENT_CHARACTER); // the excerpt may end within a character
    complete
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Appends a detail to an answer: `ANSWER: DETAIL`.
pub(crate) fn joined(mut answer: String, detail: &str) -> String {
    if !detail.is_empty() {
        answer.push_str(": ");
        answer.push_str(detail);
    }
    answer
}

/// Describes an error of a connection.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::NotFound => "no such socket".into(),
        io::ErrorKind::WouldBlock => "the socket's queue of connections is full".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_clean_line() {
        assert_eq!(excerpt(b" a\r\n\x1b]0;b\x07 \tc\n"), "a ]0;b c");
        let long = "é".repeat(EXCERPT);
        assert_eq!(excerpt(&long.as_bytes()[1..]).chars().filter(|c| *c == 'é').count(), EXCERPT / 2 - 1);
    }
}
