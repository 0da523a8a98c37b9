//! Images: there before a rollout touches anything that runs.

use crate::deployment::state;
use crate::engine::images;
use crate::engine::podman::image;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::live;
use crate::model::Service;
use crate::names::{GenerationId, ServiceName};

/// Gets every image of a service's generation that the machine does not have. The images of the generation `running`
/// are there: asking podman takes a tenth of a pod's rollout.
///
/// # Errors
/// If podman cannot pull an image, or a pod's file has an error.
pub(crate) fn provide(
    layout: &Layout,
    service: &Service,
    id: &GenerationId,
    running: Option<&GenerationId>,
) -> Result<()> {
    let needed = images::of(layout, service, id)?;
    if needed.is_empty() {
        return Ok(());
    }
    let there = running.map_or_else(Vec::new, |running| in_use(layout, &service.name, running));
    for (image, policy) in needed.into_iter().filter(|(image, _)| !there.contains(image)) {
        image::provide(service.name.as_str(), &image, policy)?;
    }
    Ok(())
}

/// Returns the images of a generation that serves.
fn in_use(layout: &Layout, name: &ServiceName, id: &GenerationId) -> Vec<String> {
    let ready = state::ready(layout, name).unwrap_or_default();
    if !ready.iter().any(|deployment| deployment.generation == *id) {
        return Vec::new();
    }
    let service = live::service(layout, name, id).map_err(Error::from);
    let images = service.and_then(|service| images::of(layout, &service, id));
    images.unwrap_or_default().into_iter().map(|(image, _)| image).collect()
}
