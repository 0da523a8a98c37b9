//! `pull = "newer"`: what an image's name points to now becomes part of the declaration.

use toml::Value;

use super::super::{Context, Failure};
use crate::diagnostic::Diagnostics;
use crate::model::{Container, Engine, Pull, Service};
use crate::podman::image;
use crate::service::overrides::{Changes, IMAGE};

/// Pins the newest image of a service that asks for it, and lets go of one that is pinned no more. Returns what undoes
/// it; None if nothing changed.
///
/// # Errors
/// If there is no such image anywhere.
pub fn pin(context: &Context, service: &Service) -> Result<Option<Changes>, Failure> {
    let digest = match &service.process.engine {
        Engine::Container(container @ Container { pull: Pull::Newer, .. }) => Some(image::newest(container)?),
        _ => None,
    };
    let name = &service.name;
    let keys = ["container", "digest"];
    let changes = Changes::of_key(&context.layout, name, IMAGE, &keys, digest.clone().map(Value::String))
        .map_err(Diagnostics::from)?;
    if changes.is_empty() {
        return Ok(None);
    }
    if let Some(digest) = digest {
        println!("{name}: the image is {digest}");
    }
    Ok(Some(changes.write(&context.layout, name)?))
}
