//! Errors of declarations: the place, the message and the remedy.

#[cfg(feature = "cli")]
mod render;

use std::collections::BTreeSet;
#[cfg(feature = "cli")]
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

#[cfg(feature = "cli")]
use crate::diagnostic::render::Colours;

/// A file's text together with the path that people know it by.
#[derive(Debug)]
pub struct Source {
    pub path: Utf8PathBuf,
    pub text: String,
}

/// A stretch of a source, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) source: Arc<Source>,
    pub(crate) span: Range<usize>,
}

impl Position {
    /// The beginning of a source, for what has no better place.
    pub(crate) fn start_of(source: &Arc<Source>) -> Self {
        Self { source: source.clone(), span: 0..0 }
    }

    /// Line and column, both from 1; the column counts characters.
    pub(crate) fn position(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The line that it begins in.
    pub(crate) fn line(&self) -> &str {
        let text = &self.source.text;
        let at = self.span.start.min(text.len());
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        text[start..].lines().next().unwrap_or("")
    }

    /// The part of the stretch that is on its first line.
    #[cfg(feature = "cli")]
    fn first_line(&self) -> Range<usize> {
        let text = &self.source.text;
        let start = self.span.start.min(text.len());
        let length = text.get(start..self.span.end).and_then(|text| text.lines().next()).map_or(0, str::len);
        start..start + length
    }
}

#[derive(Debug, Clone)]
enum Location {
    Position(Position),
    File(Utf8PathBuf),
}

/// One error of a declaration.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    location: Location,
    key: String,
    message: String,
    remedy: String,
}

impl Diagnostic {
    /// An error at a place in a file. `key` is the dotted key it concerns, or empty.
    pub(crate) fn at(
        position: Position,
        key: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { location: Location::Position(position), key: key.into(), message: message.into(), remedy: remedy.into() }
    }

    /// An error of a file or directory, without a position in it.
    pub(crate) fn of_file(path: &Utf8Path, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            location: Location::File(path.to_owned()),
            key: String::new(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// The dotted key that it concerns, or empty.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    fn position(&self) -> (&Utf8Path, usize) {
        match &self.location {
            Location::Position(position) => (&position.source.path, position.span.start),
            Location::File(path) => (path, 0),
        }
    }

    /// The error in one line, as a log wants it.
    pub fn headline(&self) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        match &self.location {
            Location::Position(position) => {
                let (line, column) = position.position();
                format!("{}:{line}:{column}: {key}{}", position.source.path, self.message)
            }
            Location::File(path) => format!("{path}: {key}{}", self.message),
        }
    }

    /// The remedy: what to write or do instead.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

#[cfg(feature = "cli")]
impl Diagnostic {
    fn render(&self, label: bool, colours: Colours) -> String {
        let marked = match &self.location {
            Location::Position(position) => Some((position.source.text.as_str(), position.first_line())),
            Location::File(_) => None,
        };
        render::render(&self.headline(), marked, &self.remedy, label, colours)
    }
}

#[cfg(feature = "cli")]
impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(true, Colours::None))
    }
}

/// One or more errors: what a compilation that fails returns.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Sorts errors by file and position.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|one, other| one.position().cmp(&other.position()));
    }

    /// Each once: what stands outside of a declaration's parts is wrong for all of them.
    pub(crate) fn distinct(mut self) -> Self {
        let mut seen = BTreeSet::new();
        self.0.retain(|one| seen.insert((one.headline(), one.remedy.clone())));
        self
    }

    /// Ok if there is no error.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

#[cfg(feature = "cli")]
impl Diagnostics {
    /// All errors, for a terminal.
    pub(crate) fn coloured(&self) -> String {
        self.0.iter().map(|one| one.render(true, Colours::Terminal)).collect::<Vec<_>>().join("\n\n")
    }

    /// Writes all errors; the caller writes `error: ` before the first.
    pub(crate) fn without_label(&self) -> String {
        let texts = self.0.iter().enumerate().map(|(index, one)| one.render(index > 0, Colours::None));
        texts.collect::<Vec<_>>().join("\n\n")
    }
}

#[cfg(feature = "cli")]
impl fmt::Display for Diagnostics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(out, "{gap}{diagnostic}")?;
        }
        Ok(())
    }
}

#[cfg(feature = "cli")]
impl std::error::Error for Diagnostics {}
