//! `pull = "newer"`: what an image's name points to now becomes part of the declaration.

use std::io;

use toml::Value;

use crate::cli::output::outln;
use crate::cli::{Context, Failure};
use crate::compile::host::Compiled;
use crate::diagnostic::Diagnostics;
use crate::engine::podman::image;
use crate::layout::Layout;
use crate::model::{Container, Engine, Pull, Service};
use crate::names::ServiceName;
use crate::service::overrides::{Changes, IMAGE};

/// What services were pinned to before.
#[derive(Default)]
pub struct Pins(Vec<(ServiceName, Changes)>);

impl Pins {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// What the file system refuses.
    pub fn undo(&self, layout: &Layout) -> io::Result<()> {
        self.0.iter().try_for_each(|(name, before)| before.write(layout, name).map(drop))
    }
}

/// Pins the newest images of all services that ask for it.
///
/// # Errors
/// If there is no such image anywhere; then nothing is pinned anew.
pub fn pin_all(context: &Context, services: &[Compiled]) -> Result<Pins, Failure> {
    let mut pins = Pins::default();
    for Compiled { service, .. } in services {
        match pin(context, service) {
            Ok(before) => pins.0.extend(before.map(|before| (service.name.clone(), before))),
            Err(failure) => {
                pins.undo(&context.layout)?;
                return Err(failure);
            }
        }
    }
    Ok(pins)
}

/// Pins the newest image of a service that asks for it, and lets go of one that is pinned no more. Returns what undoes
/// it; None if nothing changed.
///
/// # Errors
/// If there is no such image anywhere.
fn pin(context: &Context, service: &Service) -> Result<Option<Changes>, Failure> {
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
        outln!("{name}: the image is {digest}");
    }
    Ok(Some(changes.write(&context.layout, name)?))
}
