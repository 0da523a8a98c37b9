//! Images: there before anything that runs is touched, and pinned where a newer one was asked for.

use super::pod::{Policy, Setting};
use super::{exists, podman};
use crate::compile::Compiled;
use crate::deployment::{Deployment, runtime};
use crate::error::{Error, Result};
use crate::generation::Id;
use crate::layout::Layout;
use crate::live;
use crate::model::{Container, Engine, Pull, Service, without_tag};

/// Gets every image of a service that the machine does not have. What deployments of `running` were started from is
/// there: asking podman takes a tenth of a pod's rollout.
///
/// # Errors
/// What podman says of the first that cannot be had, or of a pod's file.
pub fn provide(layout: &Layout, compiled: &Compiled, running: Option<&Id>) -> Result<()> {
    let Compiled { service, id, .. } = compiled;
    let images = images(layout, service, id)?;
    let there =
        if images.is_empty() { Vec::new() } else { running.map_or_else(Vec::new, |id| in_use(layout, service, id)) };
    for (image, policy) in images {
        if there.contains(&image) || exists("image", &image) {
            continue;
        }
        if policy == Policy::Never {
            return Err(Error(format!("the image {image} is not on this machine, and is never to be pulled")));
        }
        println!("{}: pulling {image}", service.name);
        podman(&["pull", "--quiet", &image])
            .map_err(|error| Error(format!("the image {image} cannot be had: {error}")))?;
    }
    Ok(())
}

/// The images of a generation that serves.
fn in_use(layout: &Layout, service: &Service, id: &Id) -> Vec<String> {
    let ready = runtime::ready(layout, &service.name).unwrap_or_default();
    if !ready.iter().any(|deployment| deployment.generation == *id) {
        return Vec::new();
    }
    let images = live::model(layout, &service.name, id).map_err(Error::from).and_then(|old| images(layout, &old, id));
    images.unwrap_or_default().into_iter().map(|(image, _)| image).collect()
}

fn images(layout: &Layout, service: &Service, id: &Id) -> Result<Vec<(String, Policy)>> {
    match &service.process.engine {
        Engine::Exec { .. } => Ok(Vec::new()),
        Engine::Container(container) => {
            let policy = if container.pull == Pull::Never { Policy::Never } else { Policy::Missing };
            Ok(vec![(container.reference(), policy)])
        }
        Engine::Pod(pod) => {
            let deployment = &Deployment::new(&service.name, id, 1);
            let files = &layout.at(&layout.files(&service.name, id));
            Setting { layout, deployment, model: service, pod, files }.images()
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
        eprintln!("{image}: what this machine has of it is used: {error}");
    }
    let digest = podman(&["image", "inspect", "--format", "{{.Digest}}", image])?;
    // When its name moves on podman finds it by its digest no longer, and `podman image prune` would remove it: what
    // serves, or is to be gone back to, keeps a name of its own.
    let kept = format!("{}:{}", without_tag(image), digest.replace(':', "-"));
    podman(&["tag", image, &kept])?;
    Ok(digest)
}
