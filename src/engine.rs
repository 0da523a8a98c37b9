//! What runs deployments beside systemd: their commands, containers and pods, and what each needs on the host.

#[cfg(feature = "cli")]
pub mod container;
#[cfg(feature = "cli")]
pub mod exec;
#[cfg(feature = "cli")]
pub mod images;
#[cfg(feature = "cli")]
pub mod network;
#[cfg(feature = "cli")]
pub mod pod;
pub mod podman;
