//! Texts of routes in nginx's words.

use crate::model::text::{Piece, Variable, pieces};

/// Writes a text as one word, with nginx's variables in it.
pub(super) fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for piece in pieces(text) {
        match piece {
            Piece::Literal(literal) => {
                let literal = literal.replace('\\', r"\\").replace('"', "\\\"");
                written.push_str(&literal.replace('$', "${conductor_dollar}"));
            }
            Piece::Variable(variable) => written.push_str(match variable {
                Variable::Client => "${remote_addr}",
                Variable::Host => "${host}",
                Variable::Method => "${request_method}",
                Variable::Path => "${conductor_path}",
                Variable::Query => "${args}",
                Variable::Scheme => "${scheme}",
                Variable::Uri => "${request_uri}",
            }),
        }
    }
    written.push('"');
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_word_without_variables_of_their_own() {
        assert_eq!(quoted("https://{host}{uri}"), r#""https://${host}${request_uri}""#);
        assert_eq!(quoted(r#"a "b" \ $c; }"#), r#""a \"b\" \\ ${conductor_dollar}c; }""#);
    }
}
