//! Colours for a terminal. What prints them removes them elsewhere, and where NO_COLOR is set.

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();

/// The label of an error that has no declaration to show.
pub(crate) fn error_label() -> String {
    format!("{ERROR}error:{ERROR:#}")
}

/// Returns the style of a unit's state or a finding's verdict.
pub(crate) fn of_state(word: &str) -> Style {
    match word {
        "active" | "ready" | "ok" => GOOD,
        "failed" | "BAD" | "broken" => ERROR,
        "activating" | "reloading" | "deactivating" | "starting" | "draining" | "note" => WARNING,
        _ => Style::new(),
    }
}
