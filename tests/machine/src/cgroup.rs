//! A control group for one machine, in every hierarchy the host has.
//!
//! nspawn builds the machine's tree below the group it is started in. Two machines started in the same one
//! would share the groups of their units, and stop each other's processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const PREFIX: &str = "conductor-machine-";

pub(crate) struct Cgroup {
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes the groups, below this process's own. The name begins with this process's PID and a dash.
    pub(crate) fn create(name: &str) -> io::Result<Self> {
        let mut group = Self { dirs: Vec::new() };
        for parent in own()? {
            let dir = parent.join(format!("{PREFIX}{name}"));
            fs::create_dir(&dir)?;
            group.dirs.push(dir.clone());
            // A new cpuset (v1) admits no process until it has processors and memory.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if dir.join(file).exists() && dir.join("cgroup.clone_children").exists() {
                    fs::write(dir.join(file), fs::read(parent.join(file))?)?;
                }
            }
        }
        Ok(group)
    }

    /// The files that a process writes itself into to become a member.
    pub(crate) fn procs(&self) -> impl Iterator<Item = PathBuf> {
        self.dirs.iter().map(|dir| dir.join("cgroup.procs"))
    }

    /// Leaves the groups to the processes in them.
    pub(crate) fn leave(&mut self) {
        self.dirs.clear();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Killed processes leave their groups a moment after they are gone from their parent's view.
        let deadline = Instant::now() + Duration::from_secs(5);
        for dir in &self.dirs {
            while remove(dir).is_err() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Removes what harnesses left behind that were killed. Machines of a running harness may be off for a moment,
/// and those that were kept outlive theirs.
pub(crate) fn sweep() -> io::Result<()> {
    for parent in own()? {
        for dir in children(&parent)? {
            if maker(&dir).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) && is_empty(&dir) {
                let _ = remove(&dir);
            }
        }
    }
    Ok(())
}

/// The process that made a group: names are `conductor-machine-PID-NUMBER`.
fn maker(dir: &Path) -> Option<&str> {
    Some(dir.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('-')?.0)
}

/// This process's group in every hierarchy: lines of `ID:CONTROLLERS:PATH`, cgroups(7).
fn own() -> io::Result<Vec<PathBuf>> {
    let dirs = fs::read_to_string("/proc/self/cgroup")?.lines().filter_map(directory).collect();
    Ok(dirs)
}

fn directory(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let root = Path::new("/sys/fs/cgroup");
    let hierarchy = match controllers.strip_prefix("name=").unwrap_or(controllers) {
        "" if root.join("cgroup.procs").exists() => root.to_path_buf(),
        "" => root.join("unified"),
        name => root.join(name),
    };
    Some(hierarchy.join(path)).filter(|dir| dir.join("cgroup.procs").exists())
}

fn children(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.flatten();
    Ok(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect())
}

fn is_empty(dir: &Path) -> bool {
    let own = fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty());
    own && children(dir).is_ok_and(|dirs| dirs.iter().all(|dir| is_empty(dir)))
}

fn remove(dir: &Path) -> io::Result<()> {
    for child in children(dir)? {
        remove(&child)?;
    }
    fs::remove_dir(dir)
}
