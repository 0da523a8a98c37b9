//! The directories that systemd makes for a service: `StateDirectory=` and the like.

use crate::model::Systemd;
use crate::unitfile;

/// A kind of directory that systemd makes for a service, systemd.exec(5).
#[derive(Debug, Clone, Copy)]
struct Kind {
    variable: &'static str,
    directive: &'static str,
    base: &'static str,
    /// Whether it outlives a pod.
    is_kept: bool,
}

const KINDS: &[Kind] = &[
    Kind { variable: "STATE_DIRECTORY", directive: "StateDirectory", base: "/var/lib", is_kept: true },
    Kind { variable: "CACHE_DIRECTORY", directive: "CacheDirectory", base: "/var/cache", is_kept: false },
    Kind { variable: "LOGS_DIRECTORY", directive: "LogsDirectory", base: "/var/log", is_kept: false },
    Kind { variable: "RUNTIME_DIRECTORY", directive: "RuntimeDirectory", base: "/run", is_kept: false },
];

/// The directories of one kind.
pub(super) struct Directories {
    pub(super) variable: &'static str,
    pub(super) base: &'static str,
    /// Whether they outlive a pod.
    pub(super) is_kept: bool,
    pub(super) names: Vec<String>,
}

impl Directories {
    /// Returns the value of the variable.
    pub(super) fn paths(&self) -> String {
        self.names.iter().map(|name| format!("{}/{name}", self.base)).collect::<Vec<_>>().join(":")
    }
}

/// Lists the directories that systemd would make.
pub(super) fn directories(systemd: &Systemd) -> impl Iterator<Item = Directories> {
    KINDS.iter().filter_map(|Kind { variable, directive, base, is_kept }| {
        let set = systemd.service.iter().filter(|set| set.name == *directive);
        let words = set.flat_map(|set| unitfile::words(&set.value));
        let names: Vec<_> = words.map(|word| word.split(':').next().unwrap_or_default().to_owned()).collect();
        (!names.is_empty()).then_some(Directories { variable, base, is_kept: *is_kept, names })
    })
}
