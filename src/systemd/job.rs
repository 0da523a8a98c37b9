//! What a unit is asked to do.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Start,
    Stop,
    Reload,
    ReloadOrRestart,
    TryReloadOrRestart,
}

impl Job {
    /// As systemctl(1) calls it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::ReloadOrRestart => "reload-or-restart",
            Self::TryReloadOrRestart => "try-reload-or-restart",
        }
    }

    /// As org.freedesktop.systemd1(5) calls it.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::Reload => "ReloadUnit",
            Self::ReloadOrRestart => "ReloadOrRestartUnit",
            Self::TryReloadOrRestart => "ReloadOrTryRestartUnit",
        }
    }
}
