//! One deployment: an instance of a generation's template.

pub(crate) mod connections;
pub(crate) mod context;
pub(crate) mod drain;
pub(crate) mod endpoint;
pub mod health;
pub(crate) mod hook;
pub(crate) mod prepare;
pub(crate) mod state;
pub(crate) mod slot;
#[cfg(test)]
mod sockets;
pub(crate) mod wake;

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::live;
use crate::model::Service;
use crate::names::Deployment;

/// Reads the model of a deployment's generation.
///
/// # Errors
/// A snapshot that cannot be read.
pub(crate) fn model(layout: &Layout, deployment: &Deployment) -> Result<Service> {
    let unreadable = |error| Error(format!("{deployment}: cannot read its snapshot: {error}"));
    live::service(layout, &deployment.service, &deployment.generation).map_err(unreadable)
}

/// Returns whether callers reach a deployment over a bridge; one whose model is gone may have had one.
pub(crate) fn is_bridged(layout: &Layout, deployment: &Deployment) -> bool {
    model(layout, deployment).map_or(true, |model| model.listen.is_bridged())
}
