//! The template engine's settings.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

/// Work that one template may cause, in steps of the engine; one also pays for 64 bytes of text.
pub(super) const FUEL: u64 = 1_000_000;

/// Creates an environment that writes values as they are.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("jinja's own delimiters"));
    // Declarations are not HTML.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment
}
