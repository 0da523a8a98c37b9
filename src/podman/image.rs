//! Images: there before anything that runs is touched, and pinned where a newer one was asked for.

use camino::Utf8Path;

use super::pod::{Policy, Setting};
use super::{exists, podman};
use crate::compile::Compiled;
use crate::deployment::Deployment;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::model::{Container, Engine, Pull, without_tag};

/// Gets every image of a service that the machine does not have.
///
/// # Errors
/// What podman says of the first that cannot be had, or of a pod's file.
pub fn provide(layout: &Layout, compiled: &Compiled, files: &Utf8Path) -> Result<()> {
    for (image, policy) in images(layout, compiled, files)? {
        if exists("image", &image) {
            continue;
        }
        if policy == Policy::Never {
            return Err(Error(format!("the image {image} is not on this machine, and is never to be pulled")));
        }
        println!("{}: pulling {image}", compiled.service.name);
        podman(&["pull", "--quiet", &image])
            .map_err(|error| Error(format!("the image {image} cannot be had: {error}")))?;
    }
    Ok(())
}

fn images(layout: &Layout, compiled: &Compiled, files: &Utf8Path) -> Result<Vec<(String, Policy)>> {
    let Compiled { service, id, .. } = compiled;
    match &service.process.engine {
        Engine::Exec { .. } => Ok(Vec::new()),
        Engine::Container(container) => {
            let policy = if container.pull == Pull::Never { Policy::Never } else { Policy::Missing };
            Ok(vec![(container.reference(), policy)])
        }
        Engine::Pod(pod) => {
            let deployment = &Deployment::new(&service.name, id, 1);
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
