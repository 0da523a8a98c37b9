//! `conductor deployment _prepare DEPLOYMENTDIR`: the preparation of a deployment before its process starts.

use fs_err as fs;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::deployment;
use crate::deployment::endpoint;
use crate::deployment::state::{self, Failure, FailureKind};
use crate::deployment::{own_dir, port};
use crate::engine::podman::bridge;
use crate::engine::podman::network::Network;
use crate::engine::{self, podman};
use crate::error::{Error, Result};
use crate::inode::Inode;
use crate::layout::{Layout, Scope};
use crate::log::note;
use crate::model::{Engine, Listen, ListenKind, Listener, Service};
use crate::names::listener::variable;
use crate::names::{DECLARED, Deployment, ENDPOINT, PROXY_GROUP, VARIABLE_NAMES};
use crate::proxy::access;
use crate::resolve::OF_PASSED_SOCKETS;
use crate::{accounts, atomic, environment_file, variable};

/// Prepares a deployment's directory, variables, port, credentials and pod: `ExecStartPre=`, as root, also before each
/// restart.
///
/// # Errors
/// If a file cannot be written, a template cannot be rendered, or podman fails.
pub(crate) fn prepare(layout: &Layout, deployment: &Deployment) -> Result<()> {
    let model = deployment::model(layout, deployment)?;
    state::prepare(layout, deployment)?;
    take_environment_files(layout, deployment, &model).inspect_err(|error| note_failure(layout, deployment, error))?;
    let mut variables = own_variables(layout, deployment, &model);
    let engine = &model.process.engine;
    // The lock is held until the port is written: two deployments that start together get two ports.
    let _guard = model.binds_port().then(|| atomic::lock(&layout.at(&layout.ports()))).transpose()?;
    // systemd creates the directory of a command's socket.
    if engine.is_privileged() && model.listen.has(ListenKind::Unix) {
        create_socket_dir(layout, deployment, &model.listen)?;
    }
    variables.extend(ports(layout, deployment, &model)?);
    if engine.is_privileged() {
        engine::container::credentials(layout, deployment)?;
    }
    if let Engine::Pod(pod) = engine {
        variables.insert("POD_NAME".to_owned(), deployment.to_string());
        podman::infra::forget(layout, deployment)?;
        engine::pod::write(layout, deployment, &model, pod)?;
    }
    let declared = write_declared(layout, deployment, &model, &variables)?;
    if !engine.is_privileged() {
        let known = declared.into_iter().chain(variables.clone()).collect();
        own_dir::fill(layout, deployment, &model, known)
            .inspect_err(|error| note_failure(layout, deployment, error))?;
    }
    Ok(endpoint::set_variables(layout, deployment, &variables)?)
}

/// Returns the variables of a deployment's ports: those of an image, and free ones for a command.
fn ports(layout: &Layout, deployment: &Deployment, model: &Service) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    let on_tcp = || model.listen.all().filter(|listener| listener.kind == ListenKind::Tcp);
    if !model.binds_port() {
        let port =
            |listener: Listener| Some((variable("PORT", listener.name), model.port_inside(listener)?.to_string()));
        return Ok(on_tcp().filter_map(port).collect());
    }
    // Unless the last cleanup was killed there are none.
    port::release()?;
    let mut taken = ports_of_others(layout, deployment)?;
    for listener in on_tcp() {
        let port = port::choose(&taken)?;
        taken.push(port);
        variables.insert(variable("PORT", listener.name), port.to_string());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        variables.insert(variable(ENDPOINT, listener.name), address.to_string());
    }
    Ok(variables)
}

/// Notes why a deployment is not prepared.
fn note_failure(layout: &Layout, deployment: &Deployment, error: &Error) {
    // Only the rollout reads this note; the journal has it, too.
    let failure = Failure::of_this_start(FailureKind::Ended, Some(error.to_string()));
    let _ = state::write_failure(layout, deployment, &failure);
}

/// Returns conductor's own variables that the unit has, too: whatever an environment file sets, these are read after it.
fn own_variables(layout: &Layout, deployment: &Deployment, model: &Service) -> BTreeMap<String, String> {
    let instance = deployment.instance.to_string();
    variable::own(layout, model, &deployment.generation, &instance, Utf8PathBuf::into_string)
}

/// Checks that the environment files are there, which systemd has read, and lists their variables for a container.
fn take_environment_files(layout: &Layout, deployment: &Deployment, model: &Service) -> Result<()> {
    let files = layout.at(&layout.files(&deployment.service, &deployment.generation));
    let variables = engine::environment::of_files(layout, model, &files)?;
    // systemd sets them only for the process that takes the sockets.
    let is_set = |name: &&&str| std::env::var_os(name).is_some();
    if let Some(name) = OF_PASSED_SOCKETS.iter().find(is_set).filter(|_| model.listen.has(ListenKind::Activation)) {
        return Err(Error(format!("an environment file sets {name}, which tells the process of its passed sockets")));
    }
    if matches!(model.process.engine, Engine::Container(_)) && !model.process.environment_files.is_empty() {
        let names: String = variables.iter().map(|(name, _)| format!("{name}\n")).collect();
        atomic::write(&layout.at(&deployment.dir(layout)).join(VARIABLE_NAMES), names.as_bytes())?;
    }
    Ok(())
}

/// Writes, and returns, the declared variables that refer to what is known only now. systemd has set the others for this
/// process.
fn write_declared(
    layout: &Layout,
    deployment: &Deployment,
    model: &Service,
    own: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let known = |name: &str| own.get(name).cloned().or_else(|| std::env::var(name).ok());
    let mut declared = BTreeMap::new();
    for name in variable::at_start(model, layout.scope) {
        let value = variable::expand(&model.process.environment, name, &str::to_owned, &known);
        let value = value.ok_or_else(|| Error(format!("{name} refers to a variable that processes do not have")))?;
        declared.insert(name.to_owned(), value);
    }
    if !declared.is_empty() {
        let path = layout.at(&deployment.dir(layout)).join(DECLARED);
        atomic::write(&path, environment_file::write(&declared).as_bytes())?;
    }
    Ok(declared)
}

/// Lists the ports of other deployments than `own`.
fn ports_of_others(layout: &Layout, own: &Deployment) -> Result<Vec<u16>> {
    let mut taken = Vec::new();
    for entry in atomic::entries(&layout.at(&layout.deployments()))? {
        let Some(other) = Deployment::from_dir(Utf8Path::new(entry.file_name())) else { continue };
        if other != *own {
            let variables = endpoint::variables(layout, &other)?.into_iter();
            let ports = variables.filter(|(name, _)| name == "PORT" || name.starts_with("PORT_"));
            taken.extend(ports.filter_map(|(_, port)| port.parse::<u16>().ok()));
        }
    }
    Ok(taken)
}

/// Creates the directory in which a container's process binds its socket. Any user may write to it, because the image
/// chooses the user; its parent admits only the proxy.
fn create_socket_dir(layout: &Layout, deployment: &Deployment, listen: &Listen) -> Result<()> {
    let above = layout.at(&layout.sockets(&deployment.service, &deployment.generation));
    let dir = layout.at(&layout.socket_dir(&deployment.service, &deployment.generation, deployment.instance));
    fs::create_dir_all(&dir)?;
    fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o1777))?;
    give_to_proxy(&Inode::open(&above)?, 0o750)?;
    // A killed process leaves its socket, on which bind(2) would fail.
    for listener in listen.all().filter(|listener| listener.kind == ListenKind::Unix) {
        atomic::remove_file(&layout.at(&deployment.own_socket(layout, listener.name)))?;
    }
    Ok(())
}

/// Lets callers reach a socket that a process has bound itself: it gets a name in a directory of root's, because the
/// process could make its own name lead to any other socket.
///
/// # Errors
/// If there is no socket or it is another user's, or if its group, mode or name cannot be set.
pub(crate) fn open_to_callers(layout: &Layout, deployment: &Deployment, listener: Listener) -> Result<()> {
    let own = deployment.own_socket(layout, listener.name);
    let open = || {
        let place = layout.on_host(&own);
        Ok((Inode::socket(&place)?, Inode::open(place.parent().unwrap_or(&place))?.owner()))
    };
    let (socket, user) = open().map_err(|error: io::Error| Error(format!("{own}: {error}")))?;
    // What runs as root may have given its socket away, and any user may write to the directory of a container.
    if user != 0 && socket.owner() != user {
        return Err(Error(format!("{own} belongs to user {}, not to the service's user {user}", socket.owner())));
    }
    if layout.scope == Scope::System {
        give_to_proxy(&socket, 0o660)?;
    }
    // With a bridge, its socket has the path that slots lead to.
    let name = match listener.is_bridged {
        true => deployment.bound_socket(layout),
        false => deployment.socket(layout, listener.name),
    };
    let name = layout.on_host(&name);
    socket.link(&name)?;
    Ok(access::inherit(&name)?)
}

/// Changes the group of a socket or a directory to that of the proxy, and its mode.
///
/// # Errors
/// If the group does not exist, or cannot be set.
pub(crate) fn give_to_proxy(inode: &Inode, mode: u32) -> Result<()> {
    let group = accounts::group(PROXY_GROUP)?;
    let group = group.ok_or_else(|| Error(format!("there is no group {PROXY_GROUP}; run `systemd-sysusers`")))?;
    Ok(inode.give(group.as_raw(), mode)?)
}

/// Finds the address of a running deployment in podman's network and writes it to the deployment's variables; returns
/// its network namespace.
///
/// # Errors
/// If podman fails or gave the deployment no address.
pub(crate) fn find_address(layout: &Layout, deployment: &Deployment, model: &Service) -> Result<Option<String>> {
    let engine = &model.process.engine;
    if !model.is_asked_for_address() {
        return Ok(None);
    }
    let Network { address, namespace } = engine::network::find(layout, deployment, engine)?;
    let mut variables = endpoint::variables(layout, deployment)?;
    if let Some(address) = address {
        if layout.scope == Scope::System
            && let IpAddr::V4(address) = address
            && let Err(error) = bridge::keep_address(address)
        {
            note!("{deployment}: the gateway of its network may change its address: {error}");
        }
        if matches!(engine, Engine::Pod(_)) {
            variables.insert("POD_IP_ADDRESS".to_owned(), address.to_string());
        }
        for listener in model.listen.all() {
            if let Some(port) = variables.get(&variable("PORT", listener.name)).and_then(|port| port.parse().ok()) {
                variables.insert(variable(ENDPOINT, listener.name), SocketAddr::from((address, port)).to_string());
            }
        }
    } else if model.listen.has(ListenKind::Tcp) {
        return Err(Error(format!("{deployment}: podman gave it no address to connect to; which network has it?")));
    }
    endpoint::set_variables(layout, deployment, &variables)?;
    Ok(namespace)
}
