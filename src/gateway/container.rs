//! A function's container: podman starts it as the unit's own processes, and the first of them is conductor.
//!
//! That is what the unit of an exec function runs on the host. Programs are started by it where they are to run: in the
//! container's namespaces, root and control group, as its user, as fast as on the host; and nothing of the container is left
//! when it has ended. It is this very program, with the loader and the libraries that it runs with: the image needs none.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::compile::functions::load_stored_function;
use crate::engine::podman::image;
use crate::gateway;
use crate::layout::Layout;
use crate::model::function::Compiled;
use crate::model::{Container, Engine};
use crate::names::FunctionId;
use crate::source::functions;
use crate::target::systemd::podman;

/// Where this program is in a container.
const LOADER: &str = "/run/conductor/ld.so";
const LIBRARIES: &str = "/run/conductor/lib";
const PROGRAM: &str = "/run/conductor/conductor";

/// What this program needs where nothing of the host is.
#[derive(Debug, PartialEq, Eq)]
struct Carried {
    /// Where each file is, on the host and in the container.
    files: Vec<(String, String)>,
    has_loader: bool,
}

impl Carried {
    /// By the files that a process of this program has mapped, proc_pid_maps(5).
    fn of(program: &Path, maps: &str) -> Self {
        let paths: BTreeSet<&Path> =
            maps.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..]))).collect();
        let mut carried = Self { files: vec![(text(program), PROGRAM.to_owned())], has_loader: false };
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.contains(".so") {
                continue;
            }
            let is_loader = name.starts_with("ld");
            let to = if is_loader { LOADER.to_owned() } else { format!("{LIBRARIES}/{name}") };
            carried.files.push((text(path), to));
            carried.has_loader |= is_loader;
        }
        carried
    }

    /// How it is started; one that is linked statically needs no loader.
    fn command(&self) -> Vec<&'static str> {
        if self.has_loader { vec![LOADER, "--library-path", LIBRARIES, PROGRAM] } else { vec![PROGRAM] }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// How a process of this program starts another one.
///
/// # Errors
/// If /proc does not say what this program is.
pub fn this_program() -> io::Result<Vec<OsString>> {
    let own = std::env::current_exe()?;
    if own == Path::new(LOADER) {
        return Ok([LOADER, "--library-path", LIBRARIES, PROGRAM].map(Into::into).to_vec());
    }
    Ok(vec![own.into()])
}

/// Starts a function's container, for one connection if it is isolated. Whoever calls is told if that fails.
///
/// # Errors
/// Why it was not started.
pub fn start(layout: &Layout, id: &FunctionId, instance: Option<&str>) -> Result<(), String> {
    let outcome = try_start(layout, id, instance);
    if let Err(why) = &outcome {
        eprintln!("502: {why}");
        gateway::refuse::run()?;
    }
    outcome
}

fn try_start(layout: &Layout, id: &FunctionId, instance: Option<&str>) -> Result<(), String> {
    let dir = functions::find_one(layout, id).ok_or_else(|| format!("the function {id} is not declared"))?;
    let compiled = load_stored_function(layout, id, &dir, None).map_err(|errors| errors.to_string())?;
    let Engine::Container(container) = &compiled.function.process.engine else {
        return Err(format!("the function {id} has no container"));
    };
    let words = image::command(container).map_err(|error| error.to_string())?;
    let maps = fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut arguments = arguments(&compiled, container, instance, &Carried::of(&own, &maps), &words);
    let monitor = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    arguments.insert(1, format!("--conmon-pidfile={}", monitor.path().display()));
    podman(&arguments)?;
    fs::read_to_string(&monitor).and_then(|pid| tell_systemd(pid.trim())).map_err(|error| error.to_string())
}

fn podman(arguments: &[String]) -> Result<(), String> {
    let mut command = Command::new("podman");
    for variable in ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    // What it writes is the container's number.
    command.args(arguments).stdout(Stdio::null());
    let status = command.status().map_err(|error| format!("podman cannot be run: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("podman {}: {status}", arguments[0])) }
}

/// The unit is up, and podman's monitor is its main process, sd_notify(3). podman could say so itself, but systemd does not
/// hear a process that has been waited for by another one.
fn tell_systemd(monitor: &str) -> io::Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    UnixDatagram::unbound()?.send_to(format!("MAINPID={monitor}\nREADY=1").as_bytes(), socket).map(drop)
}

/// Removes what is left of a function's container: nothing, if it has ended by itself.
///
/// # Errors
/// What podman refuses.
pub fn remove(id: &FunctionId, instance: Option<&str>) -> Result<(), String> {
    let line = format!("rm --force --ignore --volumes --time=0 {}", id.container(instance));
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    // Of one whose monitor was killed podman takes note first, and refuses that once.
    podman(&arguments).or_else(|_| podman(&arguments))
}

/// What podman is told.
fn arguments(
    compiled: &Compiled,
    container: &Container,
    instance: Option<&str>,
    carried: &Carried,
    words: &[String],
) -> Vec<String> {
    let Compiled { id, function, dir } = compiled;
    let fixed = "run --replace --rm --detach --cgroups=split --log-driver=passthrough --pull=never --sdnotify=ignore \
                 --no-healthcheck --cap-drop=all --security-opt=no-new-privileges";
    let mut arguments: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
    arguments.push(format!("--name={}", id.container(instance)));
    arguments.push(format!("--hostname={}", id.short()));
    if !function.network {
        arguments.push("--network=none".to_owned());
    }
    arguments.push(format!("--volume={dir}:{dir}:ro"));
    arguments.extend(carried.files.iter().map(|(from, to)| format!("--volume={from}:{to}:ro")));
    arguments.extend(function.process.environment.keys().map(|name| format!("--env={name}")));
    arguments.extend(podman::options(container, dir));
    let [first, rest @ ..] = &carried.command()[..] else { return arguments };
    arguments.push(format!("--entrypoint=[{first:?}]"));
    arguments.push(container.reference());
    arguments.extend(rest.iter().map(|word| (*word).to_owned()));
    arguments.extend(["cgi", "_inside", id.as_str(), "--"].map(str::to_owned));
    arguments.extend(words.iter().cloned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/conductor\n\
                        7f00-7f01 r--p 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                        7f01-7f02 r-xp 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                        7f02-7f03 rw-p 00000000 00:00 0 \n\
                        7f03-7f04 r--p 00000000 fe:00 3 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n\
                        7ffc-7ffd rw-p 00000000 00:00 0 [stack]\n";

    #[test]
    fn a_program_brings_what_it_runs_with() {
        let carried = Carried::of(Path::new("/usr/bin/conductor"), MAPS);
        let files: Vec<_> = carried.files.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!(
            files,
            [
                ("/usr/bin/conductor", "/run/conductor/conductor"),
                ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "/run/conductor/ld.so"),
                ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/run/conductor/lib/libc.so.6"),
            ]
        );
        assert_eq!(carried.command()[0], LOADER);
        let alone = Carried::of(Path::new("/usr/bin/conductor"), "1-2 r--p 0 fe:00 1 /usr/bin/conductor\n");
        assert_eq!((alone.files.len(), alone.command()), (1, vec![PROGRAM]));
    }
}
