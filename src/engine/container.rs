//! What a deployment's containers need on the host: secrets that their processes can read, whoever they are.

use fs_err as fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use camino::Utf8PathBuf;

use crate::atomic;
use crate::error::Result;
use crate::layout::Layout;
use crate::names::Deployment;

/// Copies systemd's credentials to where containers find them, whoever their processes are: the directory
/// above is root's alone.
///
/// # Errors
/// What the file system refuses.
pub(crate) fn credentials(layout: &Layout, deployment: &Deployment) -> Result<()> {
    let Some(from) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(()) };
    let from = Utf8PathBuf::try_from(std::path::PathBuf::from(from)).map_err(io::Error::other)?;
    let above = layout.at(&deployment.dir(layout)).join("credentials");
    atomic::remove_dir(&above)?;
    DirBuilder::new().mode(0o700).create(&above)?;
    let files = above.join("files");
    DirBuilder::new().mode(0o755).create(&files)?;
    fs::set_permissions(&files, std::fs::Permissions::from_mode(0o755))?;
    for entry in from.read_dir_utf8()? {
        let entry = entry?;
        let to = files.join(entry.file_name());
        fs::copy(entry.path(), &to)?;
        fs::set_permissions(&to, std::fs::Permissions::from_mode(0o444))?;
    }
    Ok(())
}
