//! Generators in the chroot, and the runs of each.

use std::fs;
use std::io;

use conductor_machine::figure::median;

use crate::build::Build;
use crate::chroot::{Chroot, Run};

/// Rounds, after a first one that does not count.
pub(crate) const ROUNDS: usize = 15;
/// What the generator may need, in MiB.
pub(crate) const MEMORY: f64 = 40.0;

/// Indices of as many competitors, of which another one begins each round: the first finds colder caches.
pub(crate) fn in_turn(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| (index + round) % count)
}

/// A build whose generator is in the chroot.
pub(crate) struct Installed<'a> {
    pub(crate) build: &'a Build,
    generator: String,
}

impl<'a> Installed<'a> {
    pub(crate) fn all(chroot: &Chroot, builds: &'a [Build]) -> io::Result<Vec<Self>> {
        let install = |(number, build): (usize, &'a Build)| {
            let generator = format!("/run/conductor-generator-{number}");
            fs::copy(build.generator(), chroot.at(&generator))?;
            Ok(Self { build, generator })
        };
        builds.iter().enumerate().map(install).collect()
    }

    /// Runs the generator on what is declared below `root`.
    pub(crate) fn run(&self, chroot: &Chroot, root: &str) -> io::Result<Run> {
        chroot.fresh("/run/ours")?;
        chroot.run(&[&self.generator, "/run/ours"], &[("CONDUCTOR_ROOT", root), ("SYSTEMD_SCOPE", "system")])
    }
}

/// Runs of one generator on one root.
#[derive(Default, Clone)]
pub(crate) struct Runs(Vec<Run>);

impl Runs {
    pub(crate) fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    /// The median time in milliseconds.
    pub(crate) fn ms(&self) -> f64 {
        median(&self.0.iter().skip(1).map(|run| run.ms).collect::<Vec<_>>())
    }

    /// Peak memory in MiB.
    pub(crate) fn mib(&self) -> f64 {
        self.0.iter().map(|run| run.mib).fold(0.0, f64::max)
    }
}
