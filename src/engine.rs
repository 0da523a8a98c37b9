//! The engines of deployments, commands, containers and pods, and what each needs on the host.

#[cfg(feature = "cli")]
pub(crate) mod container;
#[cfg(feature = "cli")]
pub(crate) mod environment;
#[cfg(feature = "cli")]
pub(crate) mod images;
#[cfg(feature = "cli")]
pub(crate) mod network;
#[cfg(feature = "cli")]
pub(crate) mod pod;
pub mod podman;
#[cfg(feature = "cli")]
pub(crate) mod signal;
#[cfg(feature = "cli")]
pub(crate) mod start_templates;
