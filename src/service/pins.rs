//! `pull = "newer"`: the digest that an image's name stands for now becomes part of the declaration.

use std::io;

use toml::Value;

use crate::compile::host::Compiled;
use crate::engine::podman::image;
use crate::layout::Layout;
use crate::model::{Container, Engine, Pull, Service};
use crate::names::ServiceName;
use crate::service::event::Event;
use crate::service::failure::Result;
use crate::service::machine::Machine;
use crate::service::overrides::{Changes, IMAGE};

/// Changes that undo the pinning of images, by service.
#[derive(Default)]
pub(crate) struct Pins(Vec<(ServiceName, Changes)>);

impl Pins {
    /// Pins the newest image of each service that asks for it, and removes pins of those that no longer do.
    ///
    /// # Errors
    /// If an image cannot be pulled; then no service is pinned anew.
    pub(crate) fn update(machine: &Machine, services: &[Compiled]) -> Result<Self> {
        let mut pins = Self::default();
        for Compiled { service, .. } in services {
            match update(machine, service) {
                Ok(undo) => pins.0.extend(undo.map(|undo| (service.name.clone(), undo))),
                Err(failure) => {
                    pins.undo(machine.layout)?;
                    return Err(failure);
                }
            }
        }
        Ok(pins)
    }

    /// Returns whether no pin has changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Restores the pins from before the update.
    ///
    /// # Errors
    /// If the file system refuses an operation.
    pub(crate) fn undo(&self, layout: &Layout) -> io::Result<()> {
        self.0.iter().try_for_each(|(name, undo)| undo.write(layout, name).map(drop))
    }
}

/// Updates the pin of one service. Returns what undoes it, None if nothing changed.
fn update(machine: &Machine, service: &Service) -> Result<Option<Changes>> {
    let digest = match &service.process.engine {
        Engine::Container(container @ Container { pull: Pull::Newer, .. }) => Some(image::newest(container)?),
        _ => None,
    };
    let name = &service.name;
    let value = digest.clone().map(Value::String);
    let changes = Changes::of_key(machine.layout, name, IMAGE, &["container", "digest"], value)?;
    if changes.is_empty() {
        return Ok(None);
    }
    if let Some(digest) = digest {
        machine.report(Event::ImagePinned { service: name.clone(), digest });
    }
    Ok(Some(changes.write(machine.layout, name)?))
}
