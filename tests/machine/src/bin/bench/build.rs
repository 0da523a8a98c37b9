//! A build of the project, and a machine that runs it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use conductor_machine::machine::{Machine, Suite};

/// Where the generator is installed.
pub(crate) const GENERATOR: &str = "/usr/lib/systemd/system-generators/conductor-generator";
const PROGRAM: &str = "/usr/bin/conductor";

/// The programs `conductor` and `conductor-generator` of one build.
pub(crate) struct Build {
    /// What the figures call it; empty for the package's.
    pub(crate) label: &'static str,
    dir: PathBuf,
}

impl Build {
    /// The build that the package in the machines is made of, which is beside this program.
    pub(crate) fn of_package() -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        Self { label: "", dir: program.parent().expect("a directory").to_owned() }
    }

    /// The build in a directory.
    pub(crate) fn of_dir(dir: PathBuf) -> Result<Self, String> {
        let missing = ["conductor", "conductor-generator"].into_iter().find(|name| !dir.join(name).is_file());
        match missing {
            Some(name) => Err(format!("there is no {name} in {}", dir.display())),
            None => Ok(Self { label: ", other build", dir }),
        }
    }

    fn is_packaged(&self) -> bool {
        self.label.is_empty()
    }

    fn program(&self) -> PathBuf {
        self.dir.join("conductor")
    }

    pub(crate) fn generator(&self) -> PathBuf {
        self.dir.join("conductor-generator")
    }
}

/// A suite with a build.
pub(crate) struct Host<'a> {
    pub(crate) suite: &'a Suite,
    pub(crate) build: &'a Build,
}

impl Host<'_> {
    /// Boots a machine of the suite, whose programs are the build's.
    pub(crate) fn boot(&self) -> io::Result<Machine> {
        let machine = Machine::boot(self.suite);
        if !self.build.is_packaged() {
            machine.install(PROGRAM, "755", &fs::read(self.build.program())?);
            machine.install(GENERATOR, "755", &fs::read(self.build.generator())?);
        }
        Ok(machine)
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.suite.name, self.build.label)
    }
}

/// The files of a booted machine, as this process sees them.
pub(crate) fn files(machine: &Machine) -> PathBuf {
    Path::new("/proc").join(machine.leader().to_string()).join("root")
}
