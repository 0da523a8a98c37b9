//! The container of a function: podman starts it in the unit's control group, and its first process is this program.
//!
//! Inside, this program does what the unit of an exec function does on the host. It starts programs where they have to
//! run: in the container's namespaces, root and control group, as its user, as fast as on the host. When it ends,
//! nothing of the container is left. The host's own program runs there, with its loader and libraries, so that the
//! image needs none of them.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::compile::functions::load_stored_function;
use crate::engine::podman::arguments::options;
use crate::engine::podman::image;
use crate::gateway::executable::Bundle;
use crate::gateway::refuse;
use crate::layout::Layout;
use crate::log;
use crate::model::function::Compiled;
use crate::model::{Container, Engine};
use crate::names::FunctionId;
use crate::source::functions;

/// The options of `podman run` that every function's container has.
const RUN: &str = "run --replace --rm --detach --cgroups=split --log-driver=passthrough --pull=never --sdnotify=ignore \
                   --no-healthcheck --cap-drop=all --security-opt=no-new-privileges";
/// Variables by which podman would take over the unit's sockets and its notification.
const SYSTEMD_VARIABLES: &[&str] = &["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET"];

/// Starts a function's container; that of an isolated function for the connection `instance`. If it cannot be started,
/// its clients are answered with 502.
///
/// # Errors
/// Why the container was not started.
pub(crate) fn start(layout: &Layout, id: &FunctionId, instance: Option<&str>) -> Result<(), String> {
    let outcome = try_start(layout, id, instance);
    if let Err(reason) = &outcome {
        log::failure(log::Failure::Function, &format!("502: {reason}"));
        refuse::run(id)?;
    }
    outcome
}

fn try_start(layout: &Layout, id: &FunctionId, instance: Option<&str>) -> Result<(), String> {
    let dir = functions::find_one(layout, id)
        .map_err(|error| error.headline())?
        .ok_or_else(|| format!("no function has the ID {id}"))?;
    let compiled = load_stored_function(layout, id, &dir, None).map_err(|errors| errors.to_string())?;
    let Engine::Container(container) = &compiled.function.process.engine else {
        return Err(format!("the function {id} has no container"));
    };
    let command = image::command(container).map_err(|error| error.to_string())?;
    let maps = fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut arguments = arguments(&compiled, container, instance, &Bundle::new(&own, &maps), &command);
    let pid_file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    arguments.insert(1, format!("--conmon-pidfile={}", pid_file.path().display()));
    run_podman(&arguments)?;
    fs::read_to_string(&pid_file).and_then(|pid| notify_systemd(pid.trim())).map_err(|error| error.to_string())
}

fn run_podman(arguments: &[String]) -> Result<(), String> {
    let mut command = Command::new("podman");
    for variable in SYSTEMD_VARIABLES {
        command.env_remove(variable);
    }
    // podman prints the container's ID.
    command.args(arguments).stdout(Stdio::null());
    let status = command.status().map_err(|error| format!("could not start podman: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("podman {}: {status}", arguments[0])) }
}

/// Notifies systemd that the unit is ready and conmon(8) is its main process, sd_notify(3). systemd would not accept
/// that from podman itself, as this process has waited for it.
fn notify_systemd(conmon: &str) -> io::Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    UnixDatagram::unbound()?.send_to(format!("MAINPID={conmon}\nREADY=1").as_bytes(), socket).map(drop)
}

/// Removes what is left of a function's container after its unit has ended. A container that ended by itself leaves
/// nothing.
///
/// # Errors
/// Why podman did not remove it.
pub(crate) fn remove(id: &FunctionId, instance: Option<&str>) -> Result<(), String> {
    let line = format!("rm --force --ignore --volumes --time=0 {}", id.container(instance));
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    // podman fails once if conmon(8) was killed: it only notices then that the container has stopped.
    run_podman(&arguments).or_else(|_| run_podman(&arguments))
}

/// Returns the arguments of `podman run`.
fn arguments(
    compiled: &Compiled,
    container: &Container,
    instance: Option<&str>,
    bundle: &Bundle,
    command: &[String],
) -> Vec<String> {
    let Compiled { id, function, dir } = compiled;
    let mut arguments: Vec<String> = RUN.split(' ').map(str::to_owned).collect();
    arguments.push(format!("--name={}", id.container(instance)));
    arguments.push(format!("--hostname={}", id.short()));
    if !function.network {
        arguments.push("--network=none".to_owned());
    }
    arguments.push(format!("--volume={dir}:{dir}:ro"));
    arguments.extend(bundle.files.iter().map(|(from, to)| format!("--volume={from}:{to}:ro")));
    arguments.extend(function.process.environment.keys().map(|name| format!("--env={name}")));
    arguments.extend(options(container, dir));
    let [first, rest @ ..] = bundle.command() else { return arguments };
    arguments.push(format!("--entrypoint=[{first:?}]"));
    arguments.push(container.reference());
    arguments.extend(rest.iter().map(|word| (*word).to_owned()));
    arguments.extend(["cgi", "_inside", id.as_str(), "--"].map(str::to_owned));
    arguments.extend(command.iter().cloned());
    arguments
}
