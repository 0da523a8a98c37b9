//! The layout and the manager that each command works with.

use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::failure::{Failure, Outcome};
use crate::cli::report::Console;
use crate::layout::{Layout, Scope};
use crate::names::ServiceName;
use crate::service::machine::Machine;
use crate::source::search::Location;
use crate::systemd::Manager;
use crate::target::systemd::Units;

/// The layout and the manager that each command works with.
pub(crate) struct Context {
    pub(crate) layout: Layout,
    pub(crate) manager: Manager,
}

impl Context {
    /// Creates the context of the system's or the calling user's manager, with files below `root`.
    ///
    /// # Errors
    /// If there is no such directory, or the user's directories are unknown.
    pub(crate) fn new(user: bool, root: &Utf8Path) -> Result<Self, Failure> {
        if !root.is_dir() {
            return Err(Failure::Usage(format!("--root {root}: there is no such directory")));
        }
        // Links and units name paths below it, wherever this is called.
        let root = &Utf8PathBuf::try_from(std::path::absolute(root)?).map_err(std::io::Error::other)?;
        let (scope, layout) = if user {
            let layout = Layout::user(root, |name| std::env::var(name).ok()).map_err(Failure::Failed)?;
            (Scope::User, layout)
        } else {
            (Scope::System, Layout::system(root))
        };
        Ok(Self { layout, manager: Manager::new(scope) })
    }

    /// Returns the machine, whose operations report to the console.
    pub(crate) fn machine(&self) -> Machine<'_> {
        Machine { layout: &self.layout, manager: self.manager, observer: &Console }
    }

    /// Refuses `--root` for commands that talk to the running systemd: that one is not below another root.
    ///
    /// # Errors
    /// If there is another root.
    pub(crate) fn must_be_this_machine(&self) -> Outcome {
        if self.machine().is_running() {
            return Ok(());
        }
        Err(Failure::Usage("--root is for commands that only read or write files".to_owned()))
    }

    /// Returns the version of the systemd that will read the units.
    pub(crate) fn systemd(&self) -> Option<u16> {
        self.machine().systemd()
    }

    /// Returns what declarations are compiled to: units for the systemd that will read them.
    pub(crate) fn target(&self) -> Units {
        self.machine().target()
    }

    /// Finds the declaration of a service.
    ///
    /// # Errors
    /// If there is none, or no service can have this name.
    pub(crate) fn location(&self, name: &str) -> Result<Location, Failure> {
        let name = ServiceName::new(name).map_err(Failure::Usage)?;
        Ok(self.machine().location(&name)?)
    }
}
