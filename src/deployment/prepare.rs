//! `conductor deployment _prepare DEPLOYMENTDIR`: what has to be there before a deployment's process.

use fs_err as fs;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};

use camino::Utf8Path;

use crate::deployment;
use crate::deployment::endpoint::{self, ENDPOINT};
use crate::deployment::state;
use crate::engine::podman::network::Network;
use crate::engine::{self, podman};
use crate::error::{Error, Result};
use crate::layout::{Layout, Scope};
use crate::model::{Container, Engine, Listen, ListenKind, Pod, Service};
use crate::names::{Deployment, PROXY_GROUP};
use crate::{accounts, atomic};

/// `ExecStartPre=`, as root. Also before every restart.
///
/// # Errors
/// What the file system, a template or podman refuses.
pub(crate) fn prepare(layout: &Layout, deployment: &Deployment) -> Result<()> {
    let model = deployment::model(layout, deployment)?;
    state::prepare(layout, deployment)?;
    let before = endpoint::variables(layout, deployment)?;
    let mut variables = BTreeMap::new();
    let engine = &model.process.engine;
    let chooses_port = model.listen.kind == ListenKind::Tcp && !engine.has_own_network();
    // Held until what was chosen is written: two deployments that start together get two ports.
    let _guard = chooses_port.then(|| atomic::lock(&layout.at(&layout.ports()))).transpose()?;
    match (model.listen.kind, engine) {
        // A command has its directory from systemd.
        (ListenKind::Activation, _) | (ListenKind::Unix, Engine::Exec { .. }) => {}
        (ListenKind::Unix, _) => socket_dir(layout, deployment)?,
        (ListenKind::Tcp, Engine::Exec { .. }) => {
            let before = before.get("PORT").and_then(|port| port.parse().ok());
            let port = engine::exec::choose_port(before, &ports_of_others(layout, before)?)?;
            variables.insert("PORT".to_owned(), port.to_string());
            variables.insert(ENDPOINT.to_owned(), SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string());
        }
        (ListenKind::Tcp, Engine::Container(Container { port, .. }) | Engine::Pod(Pod { port, .. })) => {
            variables.extend(port.map(|port| ("PORT".to_owned(), port.to_string())));
        }
    }
    if engine.is_privileged() {
        engine::container::credentials(layout, deployment)?;
    }
    if let Engine::Pod(pod) = engine {
        variables.insert("POD_NAME".to_owned(), deployment.to_string());
        podman::infra::forget(layout, deployment)?;
        engine::pod::write(layout, deployment, &model, pod)?;
    }
    Ok(endpoint::set_variables(layout, deployment, &variables)?)
}

/// Returns the ports that other deployments were given, but for one.
fn ports_of_others(layout: &Layout, but: Option<u16>) -> Result<Vec<u16>> {
    let mut taken = Vec::new();
    for entry in atomic::entries(&layout.at(&layout.deployments()))? {
        let Some(other) = Deployment::from_dir(Utf8Path::new(entry.file_name())) else { continue };
        let port = endpoint::variables(layout, &other)?.remove("PORT").and_then(|port| port.parse::<u16>().ok());
        taken.extend(port.filter(|port| Some(*port) != but));
    }
    Ok(taken)
}

/// The directory in which a container's process binds its socket, whoever that is: the directory above lets nobody
/// through but the proxy.
fn socket_dir(layout: &Layout, deployment: &Deployment) -> Result<()> {
    let above = layout.at(&layout.sockets(&deployment.service, &deployment.generation));
    let dir = layout.at(&layout.socket_dir(&deployment.service, &deployment.generation, deployment.instance));
    fs::create_dir_all(&dir)?;
    fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o1777))?;
    fs::set_permissions(&above, std::fs::Permissions::from_mode(0o750))?;
    give_to_proxy(&above)?;
    // What a process left that was killed: binding would fail.
    Ok(atomic::remove_file(&layout.at(&deployment.own_socket(layout)))?)
}

/// Lets the proxy connect to a socket that a process has bound itself, where it looks for one.
///
/// # Errors
/// What the file system refuses.
pub(crate) fn open_to_proxy(layout: &Layout, deployment: &Deployment, listen: &Listen) -> Result<()> {
    let socket = deployment.own_socket(layout);
    if layout.scope == Scope::System {
        give_to_proxy(&layout.at(&socket))?;
        fs::set_permissions(layout.at(&socket), std::fs::Permissions::from_mode(0o660))?;
    }
    // Else the bridge's is there.
    if listen.has_socket() { Ok(()) } else { Ok(atomic::link(&socket, &layout.at(&deployment.socket(layout)))?) }
}

/// Gives a socket or a directory to the group that proxies are in.
///
/// # Errors
/// If there is no such group, or the file system refuses.
pub(crate) fn give_to_proxy(path: &Utf8Path) -> Result<()> {
    let group = accounts::group(PROXY_GROUP)?;
    let group = group.ok_or_else(|| Error(format!("there is no group {PROXY_GROUP}; run `systemd-sysusers`")))?;
    Ok(chown(path, None, Some(group.as_raw()))?)
}

/// Says where podman's network put a deployment, once it runs.
///
/// # Errors
/// What podman refuses.
pub(crate) fn find_address(layout: &Layout, deployment: &Deployment, model: &Service) -> Result<Option<String>> {
    let engine = &model.process.engine;
    if !model.is_asked_for_address() {
        return Ok(None);
    }
    let Network { address, namespace } = engine::network::find(layout, deployment, engine)?;
    let mut variables = endpoint::variables(layout, deployment)?;
    if let Some(address) = address {
        if matches!(engine, Engine::Pod(_)) {
            variables.insert("POD_IP_ADDRESS".to_owned(), address.to_string());
        }
        if let Some(port) = variables.get("PORT").and_then(|port| port.parse().ok()) {
            variables.insert(ENDPOINT.to_owned(), SocketAddr::from((address, port)).to_string());
        }
    } else if model.listen.kind == ListenKind::Tcp {
        return Err(Error(format!("{deployment}: podman gave it no address to connect to; which network has it?")));
    }
    endpoint::set_variables(layout, deployment, &variables)?;
    Ok(namespace)
}
