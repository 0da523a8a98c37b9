//! The endpoint of a deployment: the address where its process listens, behind its bridge.

use fs_err as fs;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use camino::{Utf8Path, Utf8PathBuf};

use crate::layout::Layout;
use crate::model::{Listen, ListenKind, Listener};
use crate::names::listener::variable;
use crate::names::{DECLARED, Deployment, ENDPOINT, ENVIRONMENT, ListenerName};
use crate::{atomic, environment_file};

/// The address where a deployment's process listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(Utf8PathBuf),
    Tcp(SocketAddr),
    /// A worker has no callers, and a command that checks health connects by itself.
    Nowhere,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => out.write_str(path.as_str()),
            Self::Tcp(address) => address.fmt(out),
            Self::Nowhere => out.write_str("nowhere"),
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
    /// Finds the endpoint of one of a deployment's listeners.
    ///
    /// # Errors
    /// If the deployment has no address yet.
    pub(crate) fn of(layout: &Layout, deployment: &Deployment, listener: Listener) -> io::Result<Self> {
        let Listener { name, kind, is_bridged } = listener;
        match kind {
            ListenKind::Tcp => address(layout, deployment, name).map(Self::Tcp),
            ListenKind::Activation if !is_bridged => Ok(Self::Unix(layout.at(&deployment.socket(layout, name)))),
            ListenKind::Unix | ListenKind::Activation => {
                Ok(Self::Unix(layout.at(&deployment.own_socket(layout, name))))
            }
            ListenKind::None => Ok(Self::Nowhere),
        }
    }

    /// Finds the endpoint of the listener that a check asks; nowhere if there is none.
    ///
    /// # Errors
    /// If the deployment has no address yet.
    pub(crate) fn asked(
        layout: &Layout,
        deployment: &Deployment,
        listen: &Listen,
        name: Option<&ListenerName>,
    ) -> io::Result<Self> {
        listen.find(name).map_or(Ok(Self::Nowhere), |listener| Self::of(layout, deployment, listener))
    }
}

/// Finds the address of one of a deployment's listeners on TCP.
///
/// # Errors
/// If it has none yet.
pub(crate) fn address(
    layout: &Layout,
    deployment: &Deployment,
    listener: Option<&ListenerName>,
) -> io::Result<SocketAddr> {
    let variable = variable(ENDPOINT, listener);
    let address = variables(layout, deployment)?.remove(&variable).and_then(|text| text.parse().ok());
    address.ok_or_else(|| io::Error::other(format!("{deployment}: its address is unknown")))
}

/// Reads conductor's own variables of a deployment; before it has started there are none.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn variables(layout: &Layout, deployment: &Deployment) -> io::Result<BTreeMap<String, String>> {
    read(layout, deployment, ENVIRONMENT)
}

/// Reads the declared variables that are known only when a deployment starts; before it has started there are none.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn declared(layout: &Layout, deployment: &Deployment) -> io::Result<BTreeMap<String, String>> {
    read(layout, deployment, DECLARED)
}

fn read(layout: &Layout, deployment: &Deployment, file: &str) -> io::Result<BTreeMap<String, String>> {
    match fs::read_to_string(layout.at(&deployment.dir(layout)).join(file)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        text => Ok(environment_file::read(&text?).into_iter().collect()),
    }
}

/// Writes conductor's own variables of a deployment. systemd and bridges read them, and no other user: who knows a port
/// before the process listens can bind it first.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn set_variables(
    layout: &Layout,
    deployment: &Deployment,
    variables: &BTreeMap<String, String>,
) -> io::Result<()> {
    let text = environment_file::write(variables);
    atomic::write_for_group(&layout.at(&deployment.dir(layout)).join(ENVIRONMENT), text.as_bytes())
}
