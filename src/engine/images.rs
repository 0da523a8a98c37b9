//! The images that a generation of a service runs.

use crate::diagnostic::Diagnostics;
use crate::engine::pod::Setting;
use crate::engine::podman::image::{self, Policy};
use crate::error::Result;
use crate::layout::Layout;
use crate::model::{Container, Engine, Pull, Service};
use crate::names::{Deployment, GenerationId};

/// Returns the images that a generation of a service runs, in order. `layout` has the path of the generation's files.
///
/// # Errors
/// The first error in a pod's file.
pub(crate) fn of(layout: &Layout, service: &Service, id: &GenerationId) -> Result<Vec<(String, Policy)>> {
    match &service.process.engine {
        Engine::Exec { .. } => Ok(Vec::new()),
        Engine::Container(container) => Ok(vec![(container.reference(), policy(container))]),
        Engine::Pod(pod) => {
            let deployment = &Deployment::new(&service.name, id, 1);
            let files = &layout.at(&layout.files(&service.name, id));
            let setting = Setting { layout, deployment, model: service, pod, files, shown: files };
            Ok(setting.render().map_err(Diagnostics::from)?.images)
        }
    }
}

/// Pulls the image of a container of `name`, if the machine does not have it.
///
/// # Errors
/// If podman cannot pull the image.
pub(crate) fn provide(name: &str, container: &Container) -> Result<()> {
    image::provide(name, &container.reference(), policy(container))
}

fn policy(container: &Container) -> Policy {
    if container.pull == Pull::Never { Policy::Never } else { Policy::Missing }
}
