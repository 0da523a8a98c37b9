//! Remedies for text that is not TOML.
//!
//! The `toml` crate reports an error as a sentence. Its parser reports the expected tokens as data, so the text is
//! parsed once more, and nothing here depends on how a sentence is worded.

use std::borrow::Cow;

use toml_parser::decoder::Encoding;
use toml_parser::parser::{Event, EventKind, RecursionGuard, parse_document};
use toml_parser::{Expected, ParseError, Raw, Source};

use crate::diagnostic::Position;

/// Returns a message for the error at a position, where it can be clearer than the parser's own.
pub(super) fn message(at: &Position, parsers: &str) -> String {
    match fault(at) {
        Fault::NoValue => "a value is missing".to_owned(),
        _ => parsers.to_owned(),
    }
}

/// Returns the remedy for the text at a position.
pub(super) fn remedy(at: &Position) -> &'static str {
    match fault(at) {
        Fault::Template => {
            "templates are filled in by `conductor service declare DIR VAR=VAL`; outside it, write the value"
        }
        Fault::Twice => "keep one of the two",
        Fault::Escape => "write a backslash twice, or the whole string in single quotes",
        Fault::NoValue => "write the value behind the =, or take the line out",
        Fault::Text => "write strings in double quotes: key = \"value\"",
        Fault::NoEquals => "write key = \"value\"",
        Fault::Array => "put a comma between the values of an array, and ] behind the last",
        Fault::Header => "close the section's header: [section], or [[section]]",
        Fault::Other => "write `key = value` lines and [section] headers as TOML has them: https://toml.io",
    }
}

/// Levels of arrays and inline tables, as many as the `toml` crate reads: each takes some of the stack.
const DEPTH: u32 = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Template,
    /// A key or section that is there already.
    Twice,
    Escape,
    NoValue,
    /// A string that is not quoted, or not to its end.
    Text,
    NoEquals,
    Array,
    Header,
    Other,
}

fn fault(at: &Position) -> Fault {
    let line = at.line();
    if line.contains("{{") || line.contains("{%") {
        return Fault::Template;
    }
    let source = Source::new(&at.source.text);
    let tokens = source.lex().into_vec();
    let (mut events, mut errors) = (Vec::<Event>::new(), Vec::<ParseError>::new());
    parse_document(&tokens, &mut RecursionGuard::new(&mut events, DEPTH), &mut errors);
    let is_here = |error: &ParseError| error.unexpected().is_some_and(|span| span.start() == at.span.start);
    if let Some(error) = errors.iter().find(|error| is_here(error)) {
        return structure(error, line);
    }
    for event in events.iter().filter(|event| event.kind() == EventKind::Scalar) {
        let (Some(raw), mut found) = (source.get(event), Vec::<ParseError>::new()) else { continue };
        let _ = raw.decode_scalar(&mut Cow::Borrowed(""), &mut found);
        if let Some(error) = found.iter().find(|error| is_here(error)) {
            return scalar(error, event.encoding(), raw);
        }
    }
    // The text has the syntax of TOML, but its content is invalid.
    if errors.is_empty() { Fault::Twice } else { Fault::Other }
}

fn structure(error: &ParseError, line: &str) -> Fault {
    let expects = |literal| error.expected().is_some_and(|all| all.contains(&Expected::Literal(literal)));
    let is_header = line.trim_start().starts_with('[') && !line.contains('=');
    match () {
        () if expects("=") => Fault::NoEquals,
        () if (expects("]") || expects("]]")) && is_header => Fault::Header,
        () if expects(",") || expects("]") => Fault::Array,
        () => Fault::Other,
    }
}

fn scalar(error: &ParseError, encoding: Option<Encoding>, raw: Raw<'_>) -> Fault {
    let expects = |literal| error.expected().is_some_and(|all| all.contains(&Expected::Literal(literal)));
    match encoding {
        None if raw.is_empty() => Fault::NoValue,
        None if raw.as_str().starts_with(char::is_alphabetic) => Fault::Text,
        None => Fault::Other,
        // The letters that can follow a backslash, or the digits that follow one of them.
        Some(Encoding::BasicString | Encoding::MlBasicString) if expects("u") || !expects("\"") && !expects("\\") => {
            Fault::Escape
        }
        Some(_) => Fault::Text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::diagnostic::Source;
    use crate::document::Node;

    #[test]
    fn nesting_without_end_is_refused() {
        for (open, close) in [("[", "]"), ("{a=", "}"), ("[", "")] {
            let text = format!("a = {}1{}", open.repeat(100_000), close.repeat(100_000));
            let refused = Node::parse(&Arc::new(Source { path: "a.toml".into(), text })).expect_err("too deep");
            assert!(refused.to_string().contains("not valid TOML"), "{refused}");
        }
    }
}
