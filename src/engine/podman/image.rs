//! Images: there before anything that runs is touched, and pinned where a newer one was asked for.

use serde::Deserialize;

use crate::compile::host::Compiled;
use crate::deployment::state;
use crate::diagnostic::Diagnostics;
use crate::engine::pod::{Policy, Setting};
use crate::engine::podman::{exists, podman};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::live;
use crate::log::note;
use crate::model::{Container, Engine, Pull, Service, without_tag};
use crate::names::{Deployment, GenerationId};

/// What an image says of how it is run.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
}

/// Gets every image of a service that the machine does not have. What deployments of `running` were started from is
/// there: asking podman takes a tenth of a pod's rollout.
///
/// # Errors
/// What podman says of the first that cannot be had, or of a pod's file.
pub fn provide(layout: &Layout, compiled: &Compiled, running: Option<&GenerationId>) -> Result<()> {
    let Compiled { service, id, .. } = compiled;
    let images = images(layout, service, id)?;
    let there =
        if images.is_empty() { Vec::new() } else { running.map_or_else(Vec::new, |id| in_use(layout, service, id)) };
    for (image, policy) in images.into_iter().filter(|(image, _)| !there.contains(image)) {
        get(service.name.as_str(), &image, policy)?;
    }
    Ok(())
}

/// Gets the image of a container that something is called by `name`, if the machine does not have it.
///
/// # Errors
/// What podman says if it cannot be had.
pub fn provide_one(name: &str, container: &Container) -> Result<()> {
    get(name, &container.reference(), policy(container))
}

fn policy(container: &Container) -> Policy {
    if container.pull == Pull::Never { Policy::Never } else { Policy::Missing }
}

fn get(name: &str, image: &str, policy: Policy) -> Result<()> {
    if exists("image", image) {
        return Ok(());
    }
    if policy == Policy::Never {
        return Err(Error(format!("the image {image} is not on this machine, and is never to be pulled")));
    }
    note!("{name}: pulling {image}");
    let pulled = podman(&["pull", "--quiet", image]);
    pulled.map(drop).map_err(|error| Error(format!("the image {image} cannot be had: {error}")))
}

/// What runs in a container: its entry point and arguments of that, the image's own where nothing else is said.
///
/// # Errors
/// If there is no such image, or nothing says what runs.
pub fn command(container: &Container) -> Result<Vec<String>> {
    let image = container.reference();
    let told = podman(&["image", "inspect", "--format", "{{json .Config}}", &image])?;
    let unclear = |error| Error(format!("podman says nothing of the image {image}: {error}"));
    let config: Config = serde_json::from_str(&told).map_err(unclear)?;
    let words = words(container.entrypoint.as_deref(), &container.exec, config);
    if words.is_empty() { Err(Error(format!("the image {image} has no command: write exec"))) } else { Ok(words) }
}

/// As podman-run(1) has it: who replaces the entry point replaces the arguments, too.
fn words(entrypoint: Option<&str>, exec: &[String], config: Config) -> Vec<String> {
    let (entrypoint, arguments) = match entrypoint {
        Some(word) => (serde_json::from_str(word).unwrap_or_else(|_| vec![word.to_owned()]), Vec::new()),
        None => (config.entrypoint.unwrap_or_default(), config.cmd.unwrap_or_default()),
    };
    let arguments = if exec.is_empty() { arguments } else { exec.to_vec() };
    entrypoint.into_iter().chain(arguments).collect()
}

/// The images of a generation that serves.
fn in_use(layout: &Layout, service: &Service, id: &GenerationId) -> Vec<String> {
    let ready = state::ready(layout, &service.name).unwrap_or_default();
    if !ready.iter().any(|deployment| deployment.generation == *id) {
        return Vec::new();
    }
    let images = live::model(layout, &service.name, id).map_err(Error::from).and_then(|old| images(layout, &old, id));
    images.unwrap_or_default().into_iter().map(|(image, _)| image).collect()
}

fn images(layout: &Layout, service: &Service, id: &GenerationId) -> Result<Vec<(String, Policy)>> {
    match &service.process.engine {
        Engine::Exec { .. } => Ok(Vec::new()),
        Engine::Container(container) => Ok(vec![(container.reference(), policy(container))]),
        Engine::Pod(pod) => {
            let deployment = &Deployment::new(&service.name, id, 1);
            let files = &layout.at(&layout.files(&service.name, id));
            let setting = Setting { layout, deployment, model: service, pod, files, shown: files };
            Ok(setting.images().map_err(Diagnostics::from)?)
        }
    }
}

/// The digest of what an image's name points at now, in its registry; on this machine, with a word, if the
/// registry does not answer.
///
/// # Errors
/// If there is no such image in either place.
pub fn newest(container: &Container) -> Result<String> {
    let image = &container.image;
    if let Err(error) = podman(&["pull", "--quiet", image]) {
        if !exists("image", image) {
            return Err(Error(format!("the image {image} cannot be had: {error}")));
        }
        note!("{image}: what this machine has of it is used: {error}");
    }
    let digest = podman(&["image", "inspect", "--format", "{{.Digest}}", image])?;
    // When its name moves on podman finds it by its digest no longer, and `podman image prune` would remove it: what
    // serves, or is to be gone back to, keeps a name of its own.
    let kept = format!("{}:{}", without_tag(image), digest.replace(':', "-"));
    podman(&["tag", image, &kept])?;
    Ok(digest)
}

#[cfg(test)]
mod tests {

    #[test]
    fn what_runs_is_what_podman_would_run() {
        let words = |entrypoint, exec: &[&str]| {
            let config = serde_json::from_str(r#"{"Entrypoint":["/entry"],"Cmd":["a","b"],"Env":["X=1"]}"#);
            let exec: Vec<_> = exec.iter().map(|word| (*word).to_owned()).collect();
            super::words(entrypoint, &exec, config.expect("JSON"))
        };
        assert_eq!(words(None, &[]), ["/entry", "a", "b"]);
        assert_eq!(words(None, &["c"]), ["/entry", "c"]);
        assert_eq!(words(Some("/other"), &[]), ["/other"]);
        assert_eq!(words(Some(r#"["/other", "-x"]"#), &["c"]), ["/other", "-x", "c"]);
    }
}
