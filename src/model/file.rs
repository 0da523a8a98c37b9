//! The files that travel with a declaration.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// One file of a declaration, by its path relative to the declaration's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) path: Utf8PathBuf,
    pub(crate) kind: FileKind,
}

impl File {
    /// Returns the size of a regular file in bytes; None of a directory or link.
    pub(crate) fn size(&self) -> Option<u64> {
        match self.kind {
            FileKind::Regular { size, .. } => Some(size),
            FileKind::Directory | FileKind::Symlink { .. } => None,
        }
    }
}

/// The type of a file of a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileKind {
    Regular {
        executable: bool,
        size: u64,
        /// The SHA-256 of the content, in hex.
        sha256: String,
    },
    Directory,
    Symlink {
        /// Absolute, or relative and within the declaration.
        target: Utf8PathBuf,
    },
}
