//! The container runtime that pods run with: podman's own, but in the control group of the deployment's unit.
//!
//! `podman kube play` puts a pod's containers below `machine.slice`, away from the unit, its slice and its limits, and
//! has no option for another place. `podman run --cgroups=split` shows where they belong: beside their monitor, in a
//! group of their own below the unit's. So podman calls conductor by the name `crun` or `runc`; conductor rewrites
//! `cgroupsPath` in the bundle's configuration, config-linux.md of the OCI runtime specification, and becomes the real
//! runtime.

use fs_err as fs;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::atomic;
use crate::engine::podman::infra;
use crate::engine::podman::run::podman;
use crate::error::{Error, Result};
use crate::layout::{LIBRARY, Layout, RUNTIMES};

/// The group below a unit's in which podman's monitors are, beside those of the containers.
pub(crate) const LEAF: &str = "runtime";
/// The runtimes that conductor can replace in podman's calls.
const KNOWN: &[&str] = &["crun", "runc"];
const GROUPS: &str = "/sys/fs/cgroup";

/// Returns the runtime that podman runs pods with: conductor, by the name of the real runtime, or a runtime that
/// conductor does not know, such as one of virtual machines.
///
/// # Errors
/// If podman fails.
pub(crate) fn path(layout: &Layout) -> Result<String> {
    let runtime = podmans_own(layout)?;
    let name = Utf8Path::new(&runtime).file_name().unwrap_or_default();
    if KNOWN.contains(&name) { Ok(format!("{LIBRARY}/{RUNTIMES}/{name}")) } else { Ok(runtime) }
}

/// Returns whether conductor wraps this runtime.
pub(crate) fn is_ours(path: &str) -> bool {
    Utf8Path::new(path).starts_with(LIBRARY)
}

/// Returns the runtime that podman chooses. The answer is stored until podman's configuration changes, because to ask
/// podman takes half the time of a pod's start.
fn podmans_own(layout: &Layout) -> Result<String> {
    let note = layout.at(&layout.oci_runtime());
    let basis = basis();
    let noted = fs::read_to_string(&note).unwrap_or_default();
    if let Some((path, rest)) = noted.split_once('\n')
        && rest == basis
    {
        return Ok(path.to_owned());
    }
    let runtime = podman(&["info", "--format", "{{.Host.OCIRuntime.Path}}"])?;
    atomic::write(&note, format!("{runtime}\n{basis}").as_bytes())?;
    Ok(runtime)
}

/// Returns a description of everything that podman chooses its runtime by, containers.conf(5): its configuration and
/// the installed programs, by the times of their directories.
fn basis() -> String {
    let variables = ["CONTAINERS_CONF", "CONTAINERS_CONF_OVERRIDE", "PATH"].map(std::env::var_os);
    let dirs = std::env::split_paths(&search_path()).collect::<Vec<_>>();
    let files = ["/usr/share/containers", "/etc/containers"].map(Path::new).into_iter().flat_map(|dir| {
        let parts = dir.join("containers.conf.d");
        let entries = fs::read_dir(&parts).into_iter().flatten().flatten().map(|entry| entry.path());
        [dir.to_owned(), dir.join("containers.conf"), parts.clone()].into_iter().chain(entries).collect::<Vec<_>>()
    });
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let times = dirs.into_iter().chain(files).map(|path| format!("{} {:?}\n", path.display(), changed(&path)));
    format!("{variables:?}\n{}", times.collect::<String>())
}

fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin".into())
}

/// The control group of the unit that this process is in; None without control groups or a unit.
///
/// # Errors
/// If /proc cannot be read.
pub(crate) fn unit_group() -> io::Result<Option<String>> {
    group_of("self")
}

/// The control group of the unit that a process is in, by its number; None without control groups or a unit.
///
/// # Errors
/// If there is no such process.
pub(crate) fn group_of(process: &str) -> io::Result<Option<String>> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    // cgroups(7): the line of the unified hierarchy.
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(own.and_then(unit_of).map(str::to_owned))
}

/// The directory of a control group.
pub(crate) fn group_dir(group: &str) -> Utf8PathBuf {
    Utf8Path::new(GROUPS).join(group.trim_start_matches('/'))
}

/// The path up to the last part that is a service.
fn unit_of(group: &str) -> Option<&str> {
    group.rfind(".service").map(|at| &group[..at + ".service".len()])
}

/// Returns the name of the runtime as which this program was called; None if it was called as conductor.
pub fn called_as(program: &std::ffi::OsStr) -> Option<&'static str> {
    let name = Path::new(program).file_name()?;
    KNOWN.iter().find(|known| name == **known).copied()
}

/// Becomes the real runtime.
///
/// # Errors
/// If the bundle cannot be changed or the runtime cannot be run.
pub fn become_real(name: &str, mut arguments: Vec<OsString>) -> Result<Infallible> {
    if let Some(bundle) = value(&arguments, "--bundle").filter(|_| arguments.iter().any(|word| word == "create"))
        && let Some(unit) = unit_group()?
    {
        let id = arguments.last().map(|id| id.to_string_lossy().into_owned()).unwrap_or_default();
        let config = relocate(Path::new(&bundle), &format!("{unit}/libpod-payload-{id}"))?;
        infra::note(&unit, &id, &config)?;
        arguments.retain(|word| word != "--systemd-cgroup");
    }
    let error = Command::new(real(name)?).args(arguments).exec();
    Err(Error(format!("{name} cannot be run: {error}")))
}

fn value(arguments: &[OsString], option: &str) -> Option<OsString> {
    let at = arguments.iter().position(|word| word == option)?;
    arguments.get(at + 1).cloned()
}

/// The first of this name in the search path that is not this program.
fn real(name: &str) -> Result<std::path::PathBuf> {
    let own = fs::canonicalize("/proc/self/exe")?;
    let dirs = search_path();
    let all = std::env::split_paths(&dirs).map(|dir| dir.join(name));
    let mut others = all.filter(|path| fs::canonicalize(path).is_ok_and(|path| path != own));
    others.next().ok_or_else(|| Error(format!("there is no {name} in {}", dirs.to_string_lossy())))
}

/// Returns the changed configuration of the bundle.
fn relocate(bundle: &Path, group: &str) -> Result<Value> {
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?).map_err(io::Error::from)?;
    config["linux"]["cgroupsPath"] = group.into();
    fs::write(&path, serde_json::to_vec(&config).map_err(io::Error::from)?)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_last_service_on_the_way() {
        assert_eq!(unit_of("/a.slice/x@1.service/runtime"), Some("/a.slice/x@1.service"));
        assert_eq!(
            unit_of("/user.slice/user@0.service/app.slice/x.service"),
            Some("/user.slice/user@0.service/app.slice/x.service")
        );
        assert_eq!(unit_of("/user.slice/session-1.scope"), None);
    }

    #[test]
    fn a_bundle_is_changed_in_one_place() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = r#"{"process":{"args":["x"]},"linux":{"cgroupsPath":"machine.slice:libpod:1","devices":[]}}"#;
        fs::write(dir.path().join("config.json"), config).expect("a bundle");
        relocate(dir.path(), "/a.service/libpod-payload-1").expect("it is one");
        let expected = config.replace("machine.slice:libpod:1", "/a.service/libpod-payload-1");
        let text = fs::read_to_string(dir.path().join("config.json")).expect("a file");
        let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(parsed(&text), parsed(&expected));
    }
}
