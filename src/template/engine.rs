//! The template engine's settings: the syntax of Jinja without its comments, which begin as `${#NAME}` of the shell does.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

/// Work that one template may cause, in steps of the engine; one also pays for 64 bytes of text.
pub(super) const FUEL: u64 = 1_000_000;

/// Delimiters of comments that no text has, since the engine always has some: noncharacters of Unicode.
const NO_COMMENTS: (&str, &str) = ("\u{FDD2}\u{FDD3}", "\u{FDD4}\u{FDD5}");

/// Creates an environment that writes values as they are.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true).comment_delimiters(NO_COMMENTS.0, NO_COMMENTS.1);
    environment.set_syntax(syntax.build().expect("different delimiters"));
    // Declarations are not HTML.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment
}
