//! Runs podman(1) and takes its answer.

use std::process::Command;

use crate::error::{Error, Result};

/// Returns whether there is an image, a volume and so on of this name.
pub(in crate::engine) fn exists(kind: &str, name: &str) -> bool {
    let status = Command::new("podman").args([kind, "exists", "--", name]).status();
    status.is_ok_and(|status| status.success())
}

/// Runs podman and returns what it prints.
///
/// # Errors
/// podman's own words where it fails, or why it cannot be run.
pub(in crate::engine) fn podman(arguments: &[&str]) -> Result<String> {
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
