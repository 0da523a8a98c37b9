//! What a compilation yields: paths and what is to be there. A value; nothing is written here.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File { content: Vec<u8>, mode: u32 },
    Symlink { target: Utf8PathBuf },
}

/// Files and links by relative path, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<Utf8PathBuf, Entry>);

impl Tree {
    /// Adds a file that everybody may read.
    pub fn file(&mut self, path: impl Into<Utf8PathBuf>, content: impl Into<Vec<u8>>) {
        self.insert(path.into(), Entry::File { content: content.into(), mode: 0o644 });
    }

    pub fn symlink(&mut self, path: impl Into<Utf8PathBuf>, target: impl Into<Utf8PathBuf>) {
        self.insert(path.into(), Entry::Symlink { target: target.into() });
    }

    pub fn insert(&mut self, path: Utf8PathBuf, entry: Entry) {
        self.0.insert(path, entry);
    }

    pub fn get(&self, path: &Utf8Path) -> Option<&Entry> {
        self.0.get(path)
    }

    /// Takes over all entries of another tree.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Utf8Path, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Tree {
    type Item = (Utf8PathBuf, Entry);
    type IntoIter = std::collections::btree_map::IntoIter<Utf8PathBuf, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
