//! An error as people read it: what is wrong and where, the line itself, and what to write instead.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};

const HELP: Style = AnsiColor::Cyan.on_default();
/// Wider lines are cut around what is marked.
const WIDTH: usize = 140;

/// The colours of a rendered error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    None,
    Terminal,
}

/// One error, without a line break behind it. `label` starts the title with `error: `.
pub(super) fn render(
    headline: &str,
    marked: Option<(&str, Range<usize>)>,
    remedy: &str,
    label: bool,
    colours: Colours,
) -> String {
    let level = if label { Level::ERROR } else { Level::ERROR.no_name() };
    let mut error = Group::with_title(level.primary_title(headline));
    if let Some((text, span)) = &marked {
        let span = AnnotationKind::Primary.span(span.clone());
        error = error.element(Snippet::source(*text).annotation(span));
    }
    let renderer = match colours {
        Colours::None => Renderer::plain(),
        Colours::Terminal => Renderer::styled(),
    };
    let error = renderer.term_width(WIDTH).render(&[error]);
    // The library sets help off by a line of its own, which is the one that a short message can do without.
    let (on, off) = match colours {
        Colours::None => (String::new(), String::new()),
        Colours::Terminal => (HELP.to_string(), format!("{HELP:#}")),
    };
    format!("{error}\n  {on}help:{off} {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\nname = \"日本\u{1b}[31m\" x\n";

    fn rendered(label: bool, colours: Colours) -> String {
        let at = TEXT.find('x').expect("it is there");
        render("a.toml:2:17: no", Some((TEXT, at..at + 1)), "remove it", label, colours)
    }

    #[test]
    fn marks_stand_below_what_is_marked_and_control_characters_reach_no_terminal() {
        let expected =
            "error: a.toml:2:17: no\n  |\n2 | name = \"日本␛[31m\" x\n  |                    ^\n  help: remove it";
        assert_eq!(rendered(true, Colours::None), expected);
        assert_eq!(rendered(false, Colours::None), expected.trim_start_matches("error: "));
    }

    #[test]
    fn a_terminal_gets_the_same_text_in_colours() {
        let coloured = rendered(true, Colours::Terminal);
        assert!(coloured.contains("\u{1b}["), "{coloured:?}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), rendered(true, Colours::None));
    }
}
