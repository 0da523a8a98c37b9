//! Signals to the processes of containers, podman-kill(1).

use crate::engine::pod;
use crate::engine::podman::run::podman;
use crate::error::Result;
use crate::layout::Layout;
use crate::model::Engine;
use crate::names::Deployment;

/// Sends a signal to the first process of each container of a deployment; to none of a command.
///
/// # Errors
/// If podman fails.
pub(crate) fn send(layout: &Layout, deployment: &Deployment, engine: &Engine, signal: &str) -> Result<()> {
    let containers = match engine {
        Engine::Exec { .. } => return Ok(()),
        Engine::Container(_) => vec![deployment.to_string()],
        Engine::Pod(_) => of_pods(&pod::prepared(layout, deployment)?.pods)?,
    };
    for container in containers {
        podman(&["kill", "--signal", signal, &container])?;
    }
    Ok(())
}

/// Lists the containers of pods that run, without those that hold their networks.
fn of_pods(pods: &[String]) -> Result<Vec<String>> {
    let mut containers = Vec::new();
    for pod in pods {
        let filter = format!("pod={pod}");
        let listed = podman(&["ps", "--no-trunc", "--filter", &filter, "--format", "{{.IsInfra}} {{.ID}}"])?;
        containers.extend(listed.lines().filter_map(|line| line.strip_prefix("false ")).map(str::to_owned));
    }
    Ok(containers)
}
