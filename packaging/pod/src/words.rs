//! The words of a command line, read one after the other.

use std::str::FromStr;

/// The words that are still to be read.
pub(crate) struct Words<'a>(&'a [String]);

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [String]) -> Self {
        Self(words)
    }

    /// Returns the next word, None after the last.
    pub(crate) fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// Reads the next word as a value; `what` names it in errors.
    pub(crate) fn value<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next().ok_or_else(|| format!("{what} is missing"))?;
        word.parse().map_err(|_| format!("{what} cannot be {word:?}"))
    }

    /// Reads so many words.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [String], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| format!("{count} words are missing"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads values as long as the words can be such.
    pub(crate) fn values<T: FromStr>(&mut self) -> Vec<T> {
        let values: Vec<T> = self.0.iter().map_while(|word| word.parse().ok()).collect();
        self.0 = &self.0[values.len()..];
        values
    }

    /// Returns all words that are still to be read.
    pub(crate) fn rest(self) -> &'a [String] {
        self.0
    }
}
