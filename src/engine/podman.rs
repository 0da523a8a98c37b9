//! podman(1), as far as conductor calls it itself: images, pods' files, networks, and the runtime before its own.

pub(crate) mod arguments;
#[cfg(feature = "cli")]
pub(crate) mod bridge;
#[cfg(feature = "cli")]
pub(crate) mod host;
#[cfg(feature = "cli")]
pub(crate) mod image;
#[cfg(feature = "cli")]
pub(crate) mod infra;
#[cfg(feature = "cli")]
pub(crate) mod network;
#[cfg(feature = "cli")]
pub(crate) mod run;
#[cfg(feature = "cli")]
pub mod runtime;
