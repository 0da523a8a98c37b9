//! What runs deployments beside systemd: podman, for containers and pods.

pub mod pod;
pub mod podman;
