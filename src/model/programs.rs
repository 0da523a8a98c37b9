//! The directory of a function's programs, and the files beside them that the proxy serves.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::model::alias::Alias;
use crate::model::command::Command;

/// A directory whose files are the programs of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Programs {
    /// An absolute path, or a relative one among the function's files.
    pub(crate) directory: Utf8PathBuf,
    /// The programs that run files, by the suffixes of those, without a dot.
    pub(crate) interpreters: BTreeMap<String, Command>,
    /// The files that answer for a directory; the first that is there does.
    pub(crate) index: Vec<String>,
}

impl Programs {
    /// Returns the directory of a function whose files are in `files`.
    pub(crate) fn path(&self, files: &Utf8Path) -> Utf8PathBuf {
        files.join(&self.directory)
    }
}

/// A file or directory that the proxy serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Static {
    pub(crate) at: Alias,
    /// Its absolute path on the host.
    pub(crate) path: Utf8PathBuf,
}
