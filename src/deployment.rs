//! One deployment: an instance of a generation's template.

pub mod context;
pub mod drain;
pub mod endpoint;
pub mod health;
pub mod hook;
pub mod prepare;
pub mod runtime;
pub mod slot;
pub mod wake;

use std::fmt;

use camino::Utf8PathBuf;

use crate::error::{Error, Result};
use crate::generation::Id;
use crate::layout::Layout;
use crate::live;
use crate::model::{Service, ServiceName};

/// Its identity: `hello-0123456789ab@1.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deployment {
    pub service: ServiceName,
    pub generation: Id,
    pub instance: u32,
}

impl Deployment {
    pub fn new(service: &ServiceName, generation: &Id, instance: u32) -> Self {
        Self { service: service.clone(), generation: generation.clone(), instance }
    }

    /// From the name of its service or socket unit.
    pub fn from_unit(unit: &str) -> Option<Self> {
        let stem = unit.strip_suffix(".service").or_else(|| unit.strip_suffix(".socket"))?;
        let (template, instance) = stem.split_once('@')?;
        Self::from_parts(template, instance)
    }

    /// From its DEPLOYMENTDIR.
    pub fn from_dir(dir: &camino::Utf8Path) -> Option<Self> {
        let (template, instance) = dir.file_name()?.rsplit_once('-')?;
        Self::from_parts(template, instance)
    }

    fn from_parts(template: &str, instance: &str) -> Option<Self> {
        let (service, generation) = template.rsplit_once('-')?;
        Some(Self {
            service: ServiceName::new(service).ok()?,
            generation: Id::new(generation)?,
            instance: instance.parse().ok().filter(|instance| *instance > 0)?,
        })
    }

    /// The model of its generation.
    ///
    /// # Errors
    /// A snapshot that cannot be read.
    pub fn model(&self, layout: &Layout) -> Result<Service> {
        let unreadable = |error| Error(format!("{self}: its snapshot cannot be read: {error}"));
        live::model(layout, &self.service, &self.generation).map_err(unreadable)
    }

    /// Whether its callers come over a bridge; one whose model is gone may have had one.
    pub fn is_bridged(&self, layout: &Layout) -> bool {
        self.model(layout).map_or(true, |model| model.listen.is_bridged())
    }

    pub fn unit(&self) -> String {
        format!("{}-{}@{}.service", self.service, self.generation, self.instance)
    }

    pub fn socket_unit(&self) -> String {
        format!("{}-{}@{}.socket", self.service, self.generation, self.instance)
    }

    /// What connects callers to where it listens, systemd-socket-proxyd(8).
    pub fn bridge_unit(&self) -> String {
        format!("{}-{}_bridge@{}.service", self.service, self.generation, self.instance)
    }

    /// The socket that it takes behind a bridge.
    pub fn inner_socket_unit(&self) -> String {
        format!("{}-{}-inner@{}.socket", self.service, self.generation, self.instance)
    }

    /// Its DEPLOYMENTDIR.
    pub fn dir(&self, layout: &Layout) -> Utf8PathBuf {
        layout.deployments().join(self.to_string())
    }

    /// Its unix socket, as callers reach it: held by systemd, or a link to what it has bound itself.
    pub fn socket(&self, layout: &Layout) -> Utf8PathBuf {
        layout.sockets(&self.service, &self.generation).join(self.instance.to_string())
    }

    /// The socket that it binds itself, or takes behind a bridge.
    pub fn own_socket(&self, layout: &Layout) -> Utf8PathBuf {
        layout.socket_dir(&self.service, &self.generation, self.instance).join("socket")
    }

    /// From the path of its socket.
    pub fn from_socket(socket: &camino::Utf8Path) -> Option<Self> {
        Self::from_parts(socket.parent()?.file_name()?, socket.file_name()?)
    }
}

/// `hello-0123456789ab-1`, the name of its directory.
impl fmt::Display for Deployment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}-{}", self.service, self.generation, self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_the_deployment() {
        let layout = Layout::system("/".into());
        let name = ServiceName::new("web-shop").expect("a name");
        let deployment = Deployment::new(&name, &Id::new("0123456789ab").expect("an id"), 12);
        assert_eq!(Deployment::from_unit(&deployment.unit()), Some(deployment.clone()));
        assert_eq!(Deployment::from_dir(&deployment.dir(&layout)), Some(deployment.clone()));
        assert_eq!(Deployment::from_socket(&deployment.socket(&layout)), Some(deployment));
        assert_eq!(Deployment::from_unit("getty@tty1.service"), None);
    }
}
