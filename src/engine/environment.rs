//! The variables that environment files set for a deployment.

use std::io;

use camino::Utf8Path;
use fs_err as fs;

use crate::environment_file;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::model::Service;

/// Reads the environment files of a service, whose own files are in `files`; later variables override earlier ones.
///
/// # Errors
/// If a file that may not be missing is, or one cannot be read.
pub(crate) fn of_files(layout: &Layout, service: &Service, files: &Utf8Path) -> Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for file in &service.process.environment_files {
        let (is_optional, path) = match file.strip_prefix('-') {
            Some(path) => (true, path),
            None => (false, file.as_str()),
        };
        let place = path.strip_prefix("./").map_or_else(|| layout.at(path.into()), |relative| files.join(relative));
        match fs::read(&place) {
            Ok(bytes) => variables.extend(environment_file::read(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_optional => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let remedy = format!("create it, or write \"-{path}\" if it may be missing");
                return Err(Error(format!("the environment file {path} is missing; {remedy}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(variables)
}
