//! The credentials of a deployment's containers, readable for any user of their processes.

use fs_err as fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use camino::Utf8PathBuf;

use crate::atomic;
use crate::error::Result;
use crate::layout::Layout;
use crate::names::Deployment;

/// Copies systemd's credentials to the directory that containers mount. Any user may read them there; only root may
/// enter its parent.
///
/// # Errors
/// If the file system refuses an operation.
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
