//! The jobs of a unit.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Start,
    /// A start of several units that is over when one of them fails.
    StartTogether,
    /// A start that waits for no other unit.
    StartNow,
    Stop,
    Reload,
    /// A restart of a unit that runs.
    TryRestart,
    ReloadOrRestart,
    TryReloadOrRestart,
}

impl Job {
    /// Returns the verb of systemctl(1).
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Start | Self::StartTogether | Self::StartNow => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::TryRestart => "try-restart",
            Self::ReloadOrRestart => "reload-or-restart",
            Self::TryReloadOrRestart => "try-reload-or-restart",
        }
    }

    /// Returns how systemd adds it to its queue, `--job-mode=` of systemctl(1).
    pub(crate) fn mode(self) -> &'static str {
        if self == Self::StartNow { "ignore-dependencies" } else { "replace" }
    }

    /// Returns the method of org.freedesktop.systemd1(5).
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Start | Self::StartTogether | Self::StartNow => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Reload => "ReloadUnit",
            Self::TryRestart => "TryRestartUnit",
            Self::ReloadOrRestart => "ReloadOrRestartUnit",
            Self::TryReloadOrRestart => "ReloadOrTryRestartUnit",
        }
    }
}
