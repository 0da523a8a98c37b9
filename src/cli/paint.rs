//! Colours of what people read on a terminal. Whoever prints it takes them out elsewhere, and where NO_COLOR is set.

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();

/// The label of an error that has no declaration to show.
pub(crate) fn error_label() -> String {
    format!("{ERROR}error:{ERROR:#}")
}

/// The style of a word that says how something is: a unit's state, a finding's verdict.
pub fn of_state(word: &str) -> Style {
    match word {
        "active" | "ready" | "ok" => GOOD,
        "failed" | "BAD" | "broken" => ERROR,
        "activating" | "reloading" | "deactivating" | "starting" | "draining" | "note" => WARNING,
        _ => Style::new(),
    }
}
