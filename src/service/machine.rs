//! The layout, the manager and the observer of an operation on services and functions.

use crate::directive::systemd_version;
use crate::layout::Layout;
use crate::names::ServiceName;
use crate::service::event::{Event, Observer};
use crate::service::failure::{Failure, Result};
use crate::source::search::{self, Location};
use crate::systemd::Manager;
use crate::target::systemd::Units;

/// The machine whose services are changed, and the observer of the changes.
#[derive(Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) manager: Manager,
    pub(crate) observer: &'a dyn Observer,
}

impl Machine<'_> {
    /// Returns whether the layout is that of the running system, and not of one below `--root`.
    pub(crate) fn is_running(&self) -> bool {
        self.layout.root() == "/"
    }

    /// Returns the version of the systemd that will read the units.
    pub(crate) fn systemd(&self) -> Option<u16> {
        systemd_version(self.layout.root().as_std_path())
    }

    /// Returns what declarations are compiled to: units for the systemd that will read them.
    pub(crate) fn target(&self) -> Units {
        Units(self.systemd())
    }

    /// Finds the declaration of a service.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn location(&self, name: &ServiceName) -> Result<Location> {
        search::find_one(self.layout, name)?.ok_or_else(|| {
            let dirs: Vec<_> = self.layout.declaration_dirs().iter().map(|dir| dir.as_str()).collect();
            Failure::Failed(format!("no service {name} is declared in {}", dirs.join(", ")))
        })
    }

    pub(crate) fn report(&self, event: Event) {
        self.observer.report(event);
    }

    /// Runs `work` while the observer may show the status texts of the units of `services`.
    pub(crate) fn watch<T>(&self, services: &[ServiceName], work: impl FnOnce() -> T) -> T {
        let (mut work, mut result) = (Some(work), None);
        self.observer.watch(self.manager, services, &mut || result = work.take().map(|work| work()));
        result.expect("an observer runs the work once")
    }
}
