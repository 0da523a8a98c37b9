//! A pod's file after rendering. Its parser reads a token in place of each value, so that no value is taken for YAML.

use std::ops::Range;
use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::diagnostic::{Position, Source};
use crate::template::Piece;

/// A rendered file.
#[derive(Debug)]
pub(crate) struct Text {
    /// The file as errors show it.
    shown: Arc<Source>,
    parsed: String,
    /// The character before and after the number of a value, which the template does not have.
    sign: char,
    values: Vec<Placed>,
}

/// A value of a rendered file.
#[derive(Debug)]
struct Placed {
    /// Its token in what is parsed.
    token: Range<usize>,
    /// Where it begins in what is shown, and its length there.
    shown: usize,
    length: usize,
    value: String,
}

impl Text {
    /// Joins the pieces of a rendered file; `path` is what errors call it.
    pub(crate) fn new(path: Utf8PathBuf, pieces: Vec<Piece>) -> Self {
        let is_free = |sign: &char| pieces.iter().all(|piece| !piece.text().contains(*sign));
        // Private characters are letters to YAML. A file that has all 6,400 is not a pod's.
        let sign = ('\u{E000}'..='\u{F8FF}').find(is_free).unwrap_or('\u{F8FF}');
        let (mut shown, mut parsed, mut values) = (String::new(), String::new(), Vec::<Placed>::new());
        for piece in pieces {
            match piece {
                Piece::Template(template) => {
                    shown.push_str(&template);
                    parsed.push_str(&template);
                }
                Piece::Value(value) => {
                    let start = (parsed.len(), shown.len());
                    parsed.push_str(&format!("{sign}{}{sign}", values.len()));
                    shown.push_str(&value.replace(char::is_control, " "));
                    values.push(Placed {
                        token: start.0..parsed.len(),
                        shown: start.1,
                        length: shown.len() - start.1,
                        value,
                    });
                }
            }
        }
        Self { shown: Arc::new(Source { path, text: shown }), parsed, sign, values }
    }

    /// Returns what the parser reads.
    pub(crate) fn parsed(&self) -> &str {
        &self.parsed
    }

    /// Returns whether a text that was parsed has values in it.
    pub(crate) fn has_values(&self, text: &str) -> bool {
        !self.values.is_empty() && text.contains(self.sign)
    }

    /// Puts the values into a text that was parsed.
    pub(crate) fn fill(&self, text: &str) -> String {
        if !self.has_values(text) {
            return text.to_owned();
        }
        // Each second part is a number.
        let parts = text.split(self.sign).enumerate();
        let filled = parts.map(|(index, part)| match part.parse::<usize>().ok().filter(|_| index % 2 == 1) {
            Some(number) => self.values.get(number).map_or(part, |placed| &placed.value),
            None => part,
        });
        filled.collect()
    }

    /// Returns the position that errors show for a range of what was parsed.
    pub(crate) fn position(&self, parsed: Range<usize>) -> Position {
        let span = self.shown_at(parsed.start, false)..self.shown_at(parsed.end, true);
        Position { source: self.shown.clone(), span }
    }

    fn shown_at(&self, offset: usize, is_end: bool) -> usize {
        match self
            .values
            .iter()
            .rev()
            .find(|placed| placed.token.start < offset || !is_end && placed.token.start == offset)
        {
            None => offset,
            Some(placed) if offset < placed.token.end => placed.shown + if is_end { placed.length } else { 0 },
            Some(placed) => placed.shown + placed.length + (offset - placed.token.end),
        }
    }
}
