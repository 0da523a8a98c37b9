//! The files that travel with a declaration.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// One file of a declaration, by its path relative to the declaration's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) path: Utf8PathBuf,
    pub(crate) kind: FileKind,
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
        /// Relative, and within the declaration.
        target: Utf8PathBuf,
    },
}
