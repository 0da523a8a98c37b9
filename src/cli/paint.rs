//! Colours of what people read on a terminal. Whoever prints it takes them out elsewhere, and where NO_COLOR is set.

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const MARK: Style = AnsiColor::Red.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const HELP: Style = AnsiColor::Cyan.on_default();

/// An error's label, what is marked in its line, and the help below.
pub fn error(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let (space, words) = line.split_at(indent);
    if let Some(rest) = words.strip_prefix("error:") {
        return format!("{space}{ERROR}error:{ERROR:#}{rest}");
    }
    if let Some(rest) = words.strip_prefix("help:") {
        return format!("{space}{HELP}help:{HELP:#}{rest}");
    }
    match words.strip_prefix("| ").map(|quoted| (quoted, quoted.trim_start())) {
        Some((quoted, marks)) if !marks.is_empty() && marks.bytes().all(|mark| mark == b'^') => {
            format!("{space}| {}{MARK}{marks}{MARK:#}", &quoted[..quoted.len() - marks.len()])
        }
        _ => line.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_marks_of_an_error_are_coloured_and_nothing_else() {
        let text = "error: a.toml:2:1: no\n  |\n2 | error: ^\n  | ^^^^\n  help: write error: less\nplain";
        let painted = error(text);
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), text);
        let coloured: Vec<_> = painted.lines().map(|line| line.contains('\x1b')).collect();
        assert_eq!(coloured, [true, false, false, true, true, false]);
    }
}
