//! The endpoint of a deployment: the address where its process listens, behind its bridge.

use fs_err as fs;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use camino::{Utf8Path, Utf8PathBuf};

use crate::atomic;
use crate::layout::Layout;
use crate::model::{Listen, ListenKind};
use crate::names::Deployment;

/// The file in the DEPLOYMENTDIR with the variables that are known only when a deployment starts: `EnvironmentFile=`.
const ENVIRONMENT: &str = "environment";
/// The variable with the address that the bridge connects to.
pub(crate) const ENDPOINT: &str = "CONDUCTOR_ENDPOINT";

/// The address where a deployment's process listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(Utf8PathBuf),
    Tcp(SocketAddr),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => out.write_str(path.as_str()),
            Self::Tcp(address) => address.fmt(out),
        }
    }
}

impl From<&Utf8Path> for Endpoint {
    fn from(path: &Utf8Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl From<&Utf8PathBuf> for Endpoint {
    fn from(path: &Utf8PathBuf) -> Self {
        Self::Unix(path.clone())
    }
}

impl Endpoint {
    /// Finds the endpoint of a deployment.
    ///
    /// # Errors
    /// If the deployment has no address yet.
    pub(crate) fn of(layout: &Layout, deployment: &Deployment, listen: &Listen) -> io::Result<Self> {
        match listen.kind {
            ListenKind::Tcp => {
                let address = variables(layout, deployment)?.remove(ENDPOINT).and_then(|text| text.parse().ok());
                let unknown = || io::Error::other(format!("{deployment}: its address is unknown"));
                address.map(Self::Tcp).ok_or_else(unknown)
            }
            ListenKind::Unix => Ok(Self::Unix(layout.at(&deployment.own_socket(layout)))),
            ListenKind::Activation if listen.is_bridged() => Ok(Self::Unix(layout.at(&deployment.own_socket(layout)))),
            ListenKind::Activation => Ok(Self::Unix(layout.at(&deployment.socket(layout)))),
        }
    }
}

/// Reads the variables that are known only when a deployment starts; before it has started there are none.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn variables(layout: &Layout, deployment: &Deployment) -> io::Result<BTreeMap<String, String>> {
    let text = match fs::read_to_string(layout.at(&deployment.dir(layout)).join(ENVIRONMENT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text?,
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Writes the variables that are known only when a deployment starts. Their values are conductor's own numbers,
/// addresses and paths, which need no quotes. Other users must not know a port before the process listens.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn set_variables(
    layout: &Layout,
    deployment: &Deployment,
    variables: &BTreeMap<String, String>,
) -> io::Result<()> {
    let text: String = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    atomic::write_for_group(&layout.at(&deployment.dir(layout)).join(ENVIRONMENT), text.as_bytes())
}
