//! One deployment: an instance of a generation's template.

pub mod connections;
pub mod context;
pub mod drain;
pub mod endpoint;
pub mod health;
pub mod hook;
pub mod prepare;
pub mod state;
pub mod slot;
#[cfg(test)]
mod sockets;
pub mod wake;

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::live;
use crate::model::Service;
use crate::names::Deployment;

/// Reads the model of a deployment's generation.
///
/// # Errors
/// A snapshot that cannot be read.
pub fn model(layout: &Layout, deployment: &Deployment) -> Result<Service> {
    let unreadable = |error| Error(format!("{deployment}: cannot read its snapshot: {error}"));
    live::service(layout, &deployment.service, &deployment.generation).map_err(unreadable)
}

/// Returns whether callers reach a deployment over a bridge; one whose model is gone may have had one.
pub fn is_bridged(layout: &Layout, deployment: &Deployment) -> bool {
    model(layout, deployment).map_or(true, |model| model.listen.is_bridged())
}
