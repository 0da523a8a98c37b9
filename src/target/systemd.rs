//! Models become systemd's units. Nothing here reads, looks anything up or knows of declarations.

pub mod bridge;
pub mod function;
pub mod podman;
pub mod units;
