//! The choice of the host's reverse proxy: by conductor.toml, or by what is installed.

use crate::declaration::host::ProxyDriver;
use crate::layout::{Layout, Scope};
use crate::proxy::driver::Driver;
use crate::source::settings;

/// The proxy that serves the host's routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// None: nobody serves routes.
    pub(crate) driver: Option<Driver>,
    pub(crate) reason: Reason,
}

/// Why a proxy is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A command asks for it.
    Asked,
    Configured,
    Installed,
    /// None is installed.
    Default,
    /// conductor.toml cannot be read: the proxy that has routes keeps them.
    Published,
    /// A user's services have no routes.
    User,
}

impl Chosen {
    /// Chooses by the files of the host. The generator asks no manager, and the answer is the same at early boot.
    pub(crate) fn of_host(layout: &Layout) -> Self {
        if layout.scope == Scope::User {
            return Self { driver: None, reason: Reason::User };
        }
        if let Some(driver) = layout.asked_proxy() {
            return Self { driver: Driver::named(driver), reason: Reason::Asked };
        }
        let configured = settings::proxy_driver(layout);
        if let Ok(Some(driver)) = configured {
            return Self { driver: Driver::named(driver), reason: Reason::Configured };
        }
        // A mistake in conductor.toml must not withdraw routes that are served.
        let published =
            configured.is_err().then(|| Driver::ALL.into_iter().find(|driver| has_published(layout, *driver)));
        if let Some(driver) = published.flatten() {
            return Self { driver: Some(driver), reason: Reason::Published };
        }
        match Driver::ALL.into_iter().find(|driver| driver.is_installed(layout)) {
            Some(driver) => Self { driver: Some(driver), reason: Reason::Installed },
            None => Self { driver: Some(Driver::Caddy), reason: Reason::Default },
        }
    }
}

impl Chosen {
    /// Returns the layout with this choice made.
    pub(crate) fn made(self, layout: &Layout) -> Layout {
        layout.with_proxy(match self.driver {
            Some(Driver::Caddy) => ProxyDriver::Caddy,
            Some(Driver::Nginx) => ProxyDriver::Nginx,
            Some(Driver::Haproxy) => ProxyDriver::Haproxy,
            None => ProxyDriver::None,
        })
    }
}

impl Reason {
    /// Returns the reason for people, behind the proxy's name.
    #[cfg(feature = "cli")]
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Asked => "as asked for",
            Self::Configured => "by [proxy] driver in conductor.toml",
            Self::Installed => "the first that is installed of Caddy, nginx and HAProxy",
            Self::Default => "the default, since none is installed",
            Self::Published => "as before, since conductor.toml has a mistake",
            Self::User => "none for a user's services",
        }
    }
}

impl Driver {
    /// Returns the driver of a name in conductor.toml; None for no proxy.
    fn named(name: ProxyDriver) -> Option<Self> {
        match name {
            ProxyDriver::Caddy => Some(Self::Caddy),
            ProxyDriver::Nginx => Some(Self::Nginx),
            ProxyDriver::Haproxy => Some(Self::Haproxy),
            ProxyDriver::None => None,
        }
    }

    /// Returns whether the unit of the proxy's package is there.
    pub(crate) fn is_installed(self, layout: &Layout) -> bool {
        layout.unit_file_dirs().iter().any(|dir| layout.at(&dir.join(self.unit())).is_file())
    }
}

/// Returns whether a proxy's directory has files that it includes.
fn has_published(layout: &Layout, driver: Driver) -> bool {
    let place = layout.at(&layout.published_proxy(driver.name()));
    let is_visible = |name: std::ffi::OsString| !name.as_encoded_bytes().starts_with(b".");
    place.read_dir().is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|it| is_visible(it.file_name()))))
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;
    use std::fs;

    use super::*;

    #[test]
    fn the_proxy_is_chosen_by_name_or_by_its_unit() {
        let scratch = tempfile::tempdir().unwrap();
        let layout = Layout::system(Utf8Path::from_path(scratch.path()).unwrap());
        let write = |path: &str, text: &str| {
            let path = layout.at(path.into());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let chosen = || {
            let Chosen { driver, reason } = Chosen::of_host(&layout);
            (driver.map(Driver::name), reason)
        };
        assert_eq!(chosen(), (Some("caddy"), Reason::Default));
        write("/usr/lib/systemd/system/haproxy.service", "");
        assert_eq!(chosen(), (Some("haproxy"), Reason::Installed));
        write("/lib/systemd/system/nginx.service", "");
        assert_eq!(chosen(), (Some("nginx"), Reason::Installed));
        let settings =
            |driver: &str| write("/etc/conductor/conductor.toml", &format!("[proxy]\ndriver = {driver:?}\n"));
        settings("haproxy");
        assert_eq!(chosen(), (Some("haproxy"), Reason::Configured));
        settings("none");
        assert_eq!(chosen(), (None, Reason::Configured));
        settings("apache");
        assert_eq!(chosen(), (Some("nginx"), Reason::Installed));
        write("/run/conductor/proxy/haproxy/conductor.cfg", "");
        write("/run/conductor/proxy/nginx/.unfinished", "");
        assert_eq!(chosen(), (Some("haproxy"), Reason::Published));
    }
}
