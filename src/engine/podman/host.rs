//! `conductor deployment _host`: podman outside of the sandbox of the unit that runs it.

use fs_err as fs;
use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use camino::Utf8Path;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::engine::podman::infra;
use crate::engine::podman::runtime::{self, LEAF};
use crate::error::{Error, Result};
use crate::layout::Layout;

/// Becomes a command in PID 1's mount namespace: what podman mounts is the host's. The unit's control group, which
/// systemd has delegated, becomes root's. For a `pod` podman is in a group below that one, so that what it starts can
/// have groups beside its own, cgroups(7), and starts that with the runtime that puts it there.
///
/// # Errors
/// If the namespace cannot be entered, the control group cannot be changed, or the command cannot be run.
pub(crate) fn become_command(
    layout: &Layout,
    pod: Option<&Utf8Path>,
    program: &str,
    arguments: &[String],
) -> Result<Infallible> {
    own_group(pod.is_some())?;
    enter()?;
    let mut command = Command::new(program);
    if let Some(dir) = pod {
        let runtime = runtime::path(layout)?;
        command.arg(format!("--runtime={runtime}")).args(arguments);
        if !runtime::is_ours(&runtime) {
            return play(dir, &mut command);
        }
    } else {
        command.args(arguments);
    }
    let error = command.exec();
    Err(Error(format!("{program} cannot be run: {error}")))
}

/// Enters PID 1's mount namespace. The process must have one thread, setns(2).
///
/// # Errors
/// If it may not enter the namespace.
pub(crate) fn enter() -> io::Result<()> {
    let namespace = fs::File::open("/proc/1/ns/mnt")?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
    std::env::set_current_dir("/")
}

/// Starts a pod whose first container only podman knows.
fn play(dir: &Utf8Path, command: &mut Command) -> Result<Infallible> {
    let status = command.status()?;
    if status.success() {
        infra::ask(dir)?;
    }
    process::exit(status.code().unwrap_or(1))
}

/// Runs podman in PID 1's mount namespace, in a process of its own.
///
/// # Errors
/// If podman cannot be run; podman prints its own errors.
pub(crate) fn podman(arguments: &[String]) -> Result<()> {
    let own = std::env::current_exe()?;
    Command::new(own).args(["deployment", "_host", "--", "podman"]).args(arguments).status()?;
    Ok(())
}

/// Returns the command by which podman runs a command in a container.
pub(crate) fn in_container(container: &str, command: &[String]) -> Vec<String> {
    // The program that runs, also while a package replaces it.
    let words = ["/proc/self/exe", "deployment", "_host", "--", "podman", "exec", container];
    words.into_iter().map(str::to_owned).chain(command.iter().cloned()).collect()
}

/// systemd gives a delegated group to the unit's user; podman leaves one that is not its own.
fn own_group(leaf: bool) -> Result<()> {
    let Some(unit) = runtime::unit_group()? else { return Ok(()) };
    let unit = runtime::group_dir(&unit);
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        chown(unit.join(file), Some(0), Some(0))?;
    }
    if !leaf {
        return Ok(());
    }
    let leaf = unit.join(LEAF);
    fs::create_dir_all(&leaf)?;
    Ok(fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())?)
}
