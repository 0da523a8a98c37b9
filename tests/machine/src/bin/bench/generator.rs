//! The generator, of many services and of few.

use std::fs;
use std::io;

use conductor_machine::machine::Suite;

use crate::Outcome;
use crate::build::Build;
use crate::chroot::Chroot;
use crate::declarations::declare;
use crate::installed::{Installed, MEMORY, ROUNDS, Runs, in_turn};
use crate::live;
use crate::table::Table;

const SIZES: [usize; 3] = [1_000, 2_000, 5_000];

/// Runs the generator of each build, `cp -r` of what it wrote, and Quadlet in turn.
pub(crate) fn measure(suite: &Suite, builds: &[Build], table: &mut Table) -> Outcome {
    let chroot = Chroot::new(suite.root())?;
    let builds = Installed::all(&chroot, builds)?;
    for size in SIZES {
        declare(&chroot.at(&format!("/run/{size}")), size)?;
    }
    let mut sizes = SIZES.map(|size| Times { size, ours: vec![Runs::default(); builds.len()], ..Times::default() });
    for round in 0..=ROUNDS {
        for times in &mut sizes {
            times.add_round(&chroot, &builds, round)?;
        }
    }
    for times in &sizes {
        times.report(&builds, table);
    }
    // Linear: no service is dearer for being among more, but for noise.
    let [least, .., most] = &sizes;
    let of_thousand = |times: &Times| times.ours[0].ms() * 1e3 / times.size as f64;
    table.compare("generator, 1000 of 5000 services, against 1000", of_thousand(most), of_thousand(least), 1.2);
    live::measure(&chroot, suite, &builds, table)
}

/// The runs with one number of services.
#[derive(Default)]
struct Times {
    size: usize,
    /// Of each build.
    ours: Vec<Runs>,
    copy: Runs,
    quadlet: Runs,
}

impl Times {
    /// Runs everything once, so that a busy moment of the machine falls on all.
    fn add_round(&mut self, chroot: &Chroot, builds: &[Installed], round: usize) -> io::Result<()> {
        let root = format!("/run/{}", self.size);
        for index in in_turn(builds.len(), round) {
            self.ours[index].push(builds[index].run(chroot, &root)?);
        }
        let _ = fs::remove_dir_all(chroot.at("/run/copy"));
        self.copy.push(chroot.run(&["/usr/bin/cp", "-r", "/run/ours", "/run/copy"], &[])?);
        chroot.fresh("/run/theirs")?;
        let units = [("QUADLET_UNIT_DIRS", format!("{root}/quadlet"))];
        let environment = units.each_ref().map(|(key, value)| (*key, value.as_str()));
        self.quadlet.push(chroot.run(&["/usr/libexec/podman/quadlet", "/run/theirs"], &environment)?);
        Ok(())
    }

    fn report(&self, builds: &[Installed], table: &mut Table) {
        for (ours, Installed { build, .. }) in self.ours.iter().zip(builds) {
            let figure = format!("generator, {} services{}", self.size, build.label);
            table.compare(&format!("{figure}, against Quadlet"), ours.ms(), self.quadlet.ms(), 0.5);
            table.compare(&format!("{figure}, against cp -r"), ours.ms(), self.copy.ms(), 0.9);
            table.memory(&format!("{figure}, peak memory"), ours.mib(), MEMORY);
        }
        if let [ours, other] = self.ours.as_slice() {
            table.compare(
                &format!("generator, {} services, against the other build", self.size),
                ours.ms(),
                other.ms(),
                None,
            );
        }
    }
}
