//! The generator where every service runs: it writes all units from their snapshots first.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use conductor_machine::machine::Suite;

use crate::Outcome;
use crate::build::{Host, files};
use crate::chroot::Chroot;
use crate::declarations::running;
use crate::installed::{Installed, MEMORY, ROUNDS, Runs, in_turn};
use crate::table::Table;

const SERVICES: usize = 1_000;

/// Runs each generator in turn where every service runs and where none does.
pub(crate) fn measure(chroot: &Chroot, suite: &Suite, builds: &[Installed], table: &mut Table) -> Outcome {
    let mut pairs = Vec::new();
    for (number, installed) in builds.iter().enumerate() {
        pairs.push(Pair::new(chroot, installed, suite, number)?);
    }
    for round in 0..=ROUNDS {
        for index in in_turn(pairs.len(), round) {
            pairs[index].add_round(chroot, round)?;
        }
    }
    for pair in &pairs {
        pair.report(table);
    }
    if let [ours, other] = pairs.as_slice() {
        let figure = format!("generator, {SERVICES} services, all live, against the other build");
        table.compare(&figure, ours.live.ms(), other.live.ms(), None);
    }
    Ok(())
}

/// Two roots with the same declarations, of which all are live or none is.
struct Pair<'a> {
    installed: &'a Installed<'a>,
    live_root: String,
    idle_root: String,
    live: Runs,
    idle: Runs,
}

impl<'a> Pair<'a> {
    /// Lets the build itself write the snapshots: it runs the services on a machine.
    fn new(chroot: &Chroot, installed: &'a Installed, suite: &Suite, number: usize) -> io::Result<Self> {
        let (live_root, idle_root) = (format!("/run/live-{number}"), format!("/run/idle-{number}"));
        let machine = running(&Host { suite, build: installed.build }, SERVICES)?;
        let machine = files(&machine);
        for root in [&live_root, &idle_root] {
            copy(&machine, &chroot.at(root), "etc/conductor/services")?;
            // From systemd's library the generator reads the version that the units are for.
            symlink("/usr", chroot.at(root).join("usr"))?;
        }
        copy(&machine, &chroot.at(&live_root), "run/conductor/generations")?;
        Ok(Self { installed, live_root, idle_root, live: Runs::default(), idle: Runs::default() })
    }

    fn add_round(&mut self, chroot: &Chroot, round: usize) -> io::Result<()> {
        let mut roots = [(&mut self.live, &self.live_root), (&mut self.idle, &self.idle_root)];
        for index in in_turn(roots.len(), round) {
            let (runs, root) = &mut roots[index];
            runs.push(self.installed.run(chroot, root)?);
        }
        Ok(())
    }

    fn report(&self, table: &mut Table) {
        let figure = format!("generator, {SERVICES} services, all live{}", self.installed.build.label);
        table.compare(&format!("{figure}, against not live"), self.live.ms(), self.idle.ms(), 1.3);
        table.memory(&format!("{figure}, peak memory"), self.live.mib(), MEMORY);
    }
}

/// Copies a directory from one root to another.
fn copy(from: &Path, to: &Path, dir: &str) -> io::Result<()> {
    let place = to.join(dir);
    fs::create_dir_all(&place)?;
    let status = Command::new("cp").arg("-a").arg(from.join(dir).join(".")).arg(&place).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cp of {dir}: {status}"))) }
}
