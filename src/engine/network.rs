//! The network of a running deployment.

use crate::engine::podman::infra;
use crate::engine::podman::network::{self, Network};
use crate::engine::podman::run::podman;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::model::Engine;
use crate::names::Deployment;

/// Asks podman for the network of a running pod.
///
/// # Errors
/// If podman fails.
pub(crate) fn of_pod(name: &str) -> Result<Network> {
    network::of(&podman(&["pod", "inspect", "--format", "{{.InfraContainerID}}", name])?)
}

/// Finds the network of a running deployment; a command has that of the host.
///
/// # Errors
/// If podman fails, or the pod has not started.
pub(crate) fn find(layout: &Layout, deployment: &Deployment, engine: &Engine) -> Result<Network> {
    match engine {
        Engine::Exec { .. } => Ok(Network { address: None, namespace: None }),
        Engine::Container(_) => network::of(&deployment.to_string()),
        Engine::Pod(_) => {
            let unknown = || Error(format!("{deployment}: podman has not started it"));
            let infra = infra::read(layout, deployment).ok_or_else(unknown)?;
            // A call of podman takes as long as everything else between a pod's start and its first request.
            match infra::only_address(&infra.namespace).ok().flatten() {
                Some(address) => Ok(Network { address: Some(address.into()), namespace: Some(infra.namespace) }),
                None => network::of(&infra.id),
            }
        }
    }
}
