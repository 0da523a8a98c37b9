//! What a compilation yields: paths and what is to be there. A value; nothing is written here.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

/// What is to be at a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    File { content: Vec<u8>, mode: u32 },
    Symlink { target: Utf8PathBuf },
}

/// A path in the order of paths, directory by directory. Paths here are plain (`a/b/c`), so that
/// bytes can be compared instead of components; a host's tree has thousands of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key(Utf8PathBuf);

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other) = (self.0.as_str().as_bytes(), other.0.as_str().as_bytes());
        let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        match one.iter().zip(other).find(|(a, b)| a != b) {
            Some((a, b)) => rank(a).cmp(&rank(b)),
            None => one.len().cmp(&other.len()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Files and links by relative path, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<Key, Entry>);

impl Tree {
    /// Adds a file that everybody may read.
    pub(crate) fn file(&mut self, path: impl Into<Utf8PathBuf>, content: impl Into<Vec<u8>>) {
        self.insert(path.into(), Entry::File { content: content.into(), mode: 0o644 });
    }

    pub(crate) fn symlink(&mut self, path: impl Into<Utf8PathBuf>, target: impl Into<Utf8PathBuf>) {
        self.insert(path.into(), Entry::Symlink { target: target.into() });
    }

    pub(crate) fn insert(&mut self, path: Utf8PathBuf, entry: Entry) {
        self.0.insert(Key(path), entry);
    }

    pub fn get(&self, path: &Utf8Path) -> Option<&Entry> {
        self.0.get(&Key(path.to_owned()))
    }

    /// Returns the text of a file, None for a link, for other bytes or without an entry.
    pub fn text(&self, path: &Utf8Path) -> Option<&str> {
        match self.get(path)? {
            Entry::File { content, .. } => std::str::from_utf8(content).ok(),
            Entry::Symlink { .. } => None,
        }
    }

    /// Takes over all entries of another tree.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Leaves out what `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Utf8Path) -> bool) {
        self.0.retain(|Key(path), _| keep(path));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Utf8Path, &Entry)> {
        self.0.iter().map(|(Key(path), entry)| (path.as_path(), entry))
    }

    /// Takes all entries out.
    pub fn into_entries(self) -> impl Iterator<Item = (Utf8PathBuf, Entry)> {
        self.0.into_iter().map(|(Key(path), entry)| (path, entry))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
