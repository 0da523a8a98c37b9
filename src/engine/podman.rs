//! podman(1), as far as conductor calls it itself: images, pods' files, networks, and the runtime before its own.

pub mod host;
pub mod image;
pub mod infra;
pub mod network;
pub mod runtime;

use std::process::Command;

use crate::error::{Error, Result};

/// Whether there is an image, a volume and so on of this name.
pub(super) fn exists(kind: &str, name: &str) -> bool {
    let status = Command::new("podman").args([kind, "exists", "--", name]).status();
    status.is_ok_and(|status| status.success())
}

/// What podman prints; its own words where it fails.
pub(super) fn podman(arguments: &[&str]) -> Result<String> {
    let output = Command::new("podman").args(arguments).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error("podman is not installed: apt-get install podman".to_owned()),
        _ => Error(format!("podman cannot be run: {error}")),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error(format!("podman {}: {}", arguments[0], words.trim())))
}
