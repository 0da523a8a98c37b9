//! What the processes of a function may write in their sandbox.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// What the processes of a function may write in their sandbox, systemd.exec(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Writable {
    /// A directory of theirs below /var/lib, `StateDirectory=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// A directory of theirs below /var/cache, `CacheDirectory=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache: Option<String>,
    /// A directory of theirs below /var/log, `LogsDirectory=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<String>,
    /// Paths of the host, `ReadWritePaths=`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) paths: Vec<Utf8PathBuf>,
    /// Groups that they are in beside their own, `SupplementaryGroups=`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<String>,
}

impl Writable {
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the directories that systemd makes: the directive and the name of each.
    pub(crate) fn directories(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("StateDirectory", &self.state), ("CacheDirectory", &self.cache), ("LogsDirectory", &self.logs)];
        all.into_iter().filter_map(|(directive, name)| Some((directive, name.as_deref()?)))
    }

    /// Returns whether systemd makes directories.
    pub(crate) fn has_directories(&self) -> bool {
        self.directories().next().is_some()
    }
}
