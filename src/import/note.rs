//! What became of the keys of a source: the report of an import.

use std::collections::BTreeSet;
use std::fmt;

use camino::Utf8PathBuf;

use crate::diagnostic::Position;

/// What became of a key that has a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// The declaration has something close to it.
    Approximated,
    /// The declaration has nothing of it.
    Omitted,
}

/// One key of a source, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) fate: Fate,
    position: Position,
    /// The dotted key.
    pub(crate) key: String,
    pub(crate) text: String,
}

impl Note {
    /// The line of the source, from 1.
    pub(crate) fn line(&self) -> usize {
        self.position.position().0
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}: {}", self.position.source.path, self.line(), self.key, self.text)
    }
}

/// The fate of every key of the sources.
#[derive(Debug, Default)]
pub(crate) struct Report {
    seen: BTreeSet<(Utf8PathBuf, usize)>,
    notes: Vec<Note>,
    /// Files of the source that were copied, and those that the declaration needs and that are not there.
    pub(crate) hints: Vec<String>,
}

impl Report {
    /// Counts a key as translated, as long as it has no note.
    pub(crate) fn see(&mut self, position: &Position) {
        self.seen.insert((position.source.path.clone(), position.span.start));
    }

    pub(crate) fn approximated(&mut self, position: &Position, key: impl Into<String>, text: impl Into<String>) {
        self.note(Fate::Approximated, position, key.into(), text.into());
    }

    pub(crate) fn omitted(&mut self, position: &Position, key: impl Into<String>, text: impl Into<String>) {
        self.note(Fate::Omitted, position, key.into(), text.into());
    }

    /// Adds a line about what to do before the service is declared.
    pub(crate) fn hint(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.hints.contains(&text) {
            self.hints.push(text);
        }
    }

    fn note(&mut self, fate: Fate, position: &Position, key: String, text: String) {
        self.see(position);
        let is_same = |note: &Note| note.key == key && note.text == text && note.line() == position.position().0;
        if !self.notes.iter().any(is_same) {
            self.notes.push(Note { fate, position: position.clone(), key, text });
        }
    }

    /// The notes of one fate, in the order of the sources.
    pub(crate) fn of(&self, fate: Fate) -> Vec<&Note> {
        let mut notes: Vec<_> = self.notes.iter().filter(|note| note.fate == fate).collect();
        notes.sort_by_key(|note| (note.position.source.path.clone(), note.position.span.start));
        notes
    }

    /// The number of keys that the declaration has as they were.
    pub(crate) fn translated(&self) -> usize {
        let noted: BTreeSet<_> =
            self.notes.iter().map(|note| (note.position.source.path.clone(), note.position.span.start)).collect();
        self.seen.difference(&noted).count()
    }
}
