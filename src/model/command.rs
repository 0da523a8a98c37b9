//! Commands: a program and its arguments.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

/// A program and its arguments; a first word that starts with `./` is among the declaration's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Command(pub Vec<String>);

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join(" "))
    }
}

/// Returns where a declared program is when the declaration's files are in `files`; a bare name stays one.
pub(crate) fn program_path(files: &Utf8Path, program: &str) -> Utf8PathBuf {
    program.strip_prefix("./").map_or_else(|| program.into(), |relative| files.join(relative))
}
