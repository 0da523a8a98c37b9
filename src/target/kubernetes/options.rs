//! What of a cluster no declaration says: the options of the command line.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::target::kubernetes::helper::Helper;
use crate::target::kubernetes::yaml::{Yaml, map};

/// Kubernetes, and what of it no declaration says.
#[derive(Clone)]
pub struct Kubernetes {
    /// The image that the files of services with `[exec]` are laid over.
    pub image: Option<String>,
    /// The registry, with a path, of images that are built of files too large for a ConfigMap.
    pub repository: Option<String>,
    pub namespace: Option<String>,
    pub routes: RouteApi,
    pub version: Version,
    /// The keys whose approximation is accepted, as [`KEYS`](super::keys::KEYS) writes them.
    pub accepted: BTreeSet<String>,
    pub helper: Helper,
    /// The size of the volumes of state directories.
    pub storage: String,
}

/// The API that routes become objects of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteApi {
    Ingress,
    /// Gateway API, with the Gateway's name, `NAME` or `NAMESPACE/NAME`.
    Gateway(String),
}

/// A version of Kubernetes, of which only the minor number changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16);

impl Version {
    /// The oldest version whose objects are rendered.
    pub const OLDEST: Self = Self(20);
    /// Every version that is newer than those of which APIs have been removed.
    pub const CURRENT: Self = Self(u16::MAX);
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minor = text.trim_start_matches('v').strip_prefix("1.").and_then(|minor| minor.parse().ok());
        let version = minor.map(Self).filter(|version| *version >= Self::OLDEST);
        version.ok_or_else(|| "write a version from 1.20 on, such as 1.34".to_owned())
    }
}

impl Kubernetes {
    /// Returns whether the approximation of a key is accepted.
    pub(super) fn accepts(&self, key: &str) -> bool {
        self.accepted.contains(key)
    }

    /// Returns the metadata of an object.
    pub(super) fn metadata(&self, name: &str, labels: Yaml, annotations: Yaml) -> Yaml {
        map! {
            "name" => name,
            "namespace" => self.namespace.as_deref(),
            "labels" => labels,
            "annotations" => annotations.or_absent(),
        }
    }
}
