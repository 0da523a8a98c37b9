//! podman(1), as far as conductor calls it itself: images, pods' files, networks, and the runtime before its own.

pub mod arguments;
#[cfg(feature = "cli")]
pub mod host;
#[cfg(feature = "cli")]
pub mod image;
#[cfg(feature = "cli")]
pub mod infra;
#[cfg(feature = "cli")]
pub mod network;
#[cfg(feature = "cli")]
pub mod run;
#[cfg(feature = "cli")]
pub mod runtime;
