//! Texts of routes, in which `{NAME}` stands for a part of the request.

/// A part of a request that a text may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    /// The client's address.
    Client,
    /// The host that was asked for, without a port.
    Host,
    Method,
    /// The path, without the query.
    Path,
    /// What follows the `?`.
    Query,
    /// `http` or `https`.
    Scheme,
    /// Path and query.
    Uri,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Literal(&'a str),
    Variable(Variable),
}

impl Variable {
    const ALL: [(&'static str, Self); 7] = [
        ("client", Self::Client),
        ("host", Self::Host),
        ("method", Self::Method),
        ("path", Self::Path),
        ("query", Self::Query),
        ("scheme", Self::Scheme),
        ("uri", Self::Uri),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable)
    }
}

/// Splits a text into its literal parts and its variables. A brace that begins no name stands for itself, as in JSON.
pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut literal = 0;
    for (start, _) in text.match_indices('{') {
        if let Some((name, variable)) = name_at(text, start).and_then(|name| Some((name, Variable::named(name)?))) {
            if literal < start {
                pieces.push(Piece::Literal(&text[literal..start]));
            }
            pieces.push(Piece::Variable(variable));
            literal = start + name.len() + 2;
        }
    }
    if literal < text.len() {
        pieces.push(Piece::Literal(&text[literal..]));
    }
    pieces
}

/// Returns what is wrong with a text, and what to write instead; None if every proxy can be told it.
pub(crate) fn mistake(text: &str) -> Option<(String, String)> {
    if text.contains("{$") {
        // Caddy replaces it by a variable of its own environment before all else.
        return Some(("\"{$\" cannot be in it".to_owned(), "write a space between both".to_owned()));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Some(("control characters cannot be in it".to_owned(), "remove them".to_owned()));
    }
    let names = text.match_indices('{').filter_map(|(start, _)| name_at(text, start));
    let unknown = names.into_iter().find(|name| Variable::named(name).is_none())?;
    let known: Vec<_> = Variable::ALL.iter().map(|(name, _)| format!("{{{name}}}")).collect();
    Some((format!("{{{unknown}}} is nothing of a request"), format!("write one of {}", known.join(", "))))
}

/// Returns the name in braces that begin at an index.
fn name_at(text: &str, start: usize) -> Option<&str> {
    let (name, _) = text[start + 1..].split_once('}')?;
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_between_literal_text() {
        use Piece::{Literal as L, Variable as V};
        assert_eq!(pieces("https://www.{host}{uri}"), [L("https://www."), V(Variable::Host), V(Variable::Uri)]);
        assert_eq!(pieces("{\"error\": \"{method}\"}"), [L("{\"error\": \""), V(Variable::Method), L("\"}")]);
        assert_eq!(pieces("{}{ {"), [L("{}{ {")]);
        assert_eq!(pieces(""), []);
    }

    #[test]
    fn what_a_proxy_would_take_otherwise_is_refused() {
        assert!(mistake("{\"error\": 1} {host}").is_none());
        assert!(mistake("{hots}").is_some_and(|(_, remedy)| remedy.contains("{host}")));
        assert!(mistake("{$HOME}").is_some());
        assert!(mistake("a\rb").is_some());
        assert!(mistake("{http.request.host}").is_some());
    }
}
