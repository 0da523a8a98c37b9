//! Models become objects of Kubernetes, a file for each kind of object. Nothing here applies them: kubectl does.
//!
//! Every declared key has a disposition in [`keys`]; what Kubernetes cannot do is refused at its place in the declaration.

mod autoscaler;
mod command;
mod config_map;
mod container;
mod cron;
mod deployment;
mod drain;
mod environment;
mod gateway;
mod helper;
mod image;
mod ingress;
mod job;
pub mod keys;
mod network;
mod pod;
mod policy;
mod ports;
mod probe;
mod refusal;
mod secrets;
mod security;
mod service;
mod values;
mod volume;
mod workload;
pub(crate) mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::Model;
use crate::names::GenerationId;
use crate::source::search::Declared;
use crate::target::{Contents, Export, Vocabulary};
use crate::tree::Tree;

pub use self::helper::Helper;
use self::workload::Workload;
use self::yaml::Yaml;

/// What a stream of objects begins with, for those who apply it.
const HEAD: &str = "# Apply these objects with: kubectl apply --server-side -f FILE\n\
                        # Without --server-side kubectl adds a copy of each object to it, which may have at most 256 KiB.\n";

/// Kubernetes, and what of it no declaration says.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// The image that the files of services with `[exec]` are laid over.
    pub image: Option<String>,
    /// The registry, with a path, of images that are built of files too large for a ConfigMap.
    pub repository: Option<String>,
    pub namespace: Option<String>,
    pub routes: RouteApi,
    pub version: Version,
    /// The keys whose approximation is accepted, as [`keys::KEYS`] writes them.
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

impl Vocabulary for Kubernetes {
    fn systemd(&self) -> Option<u16> {
        None
    }

    fn refuse(&self, declared: &Declared, model: &Model) -> Diagnostics {
        let mut errors = refusal::of_keys(self, &declared.document);
        if let Some(group) = &declared.group {
            errors.0.extend(refusal::of_keys(self, &group.document).0);
        }
        errors.0.extend(values::refuse(self, declared, model).0);
        errors.sort();
        errors.distinct()
    }
}

impl Export for Kubernetes {
    fn head(&self) -> &'static str {
        HEAD
    }

    fn service(&self, model: &Model, id: &GenerationId, contents: &Contents) -> Result<Tree, Diagnostics> {
        Workload::new(self, model, id, contents)?.tree()
    }

    fn shared(&self, services: &[&Model]) -> Result<Tree, Diagnostics> {
        refuse_same_names(services)?;
        let mut tree = Tree::default();
        if services.iter().any(|model| helper::is_needed(&model.service)) {
            tree.file("00-conductor-pod.yaml", yaml::write([&self.helper.config_map(self)?]));
        }
        Ok(tree)
    }
}

impl Kubernetes {
    /// Returns whether the approximation of a key is accepted.
    fn accepts(&self, key: &str) -> bool {
        self.accepted.contains(key)
    }

    /// Returns the metadata of an object.
    fn metadata(&self, name: &str, labels: Yaml, annotations: Yaml) -> Yaml {
        yaml::map! {
            "name" => name,
            "namespace" => self.namespace.as_deref(),
            "labels" => labels,
            "annotations" => annotations.or_absent(),
        }
    }
}

/// Refuses services whose objects would have the same names: what stands between words is `-` in all names of Kubernetes.
fn refuse_same_names(services: &[&Model]) -> Result<(), Diagnostics> {
    let (mut names, mut errors) = (BTreeMap::new(), Diagnostics::default());
    for model in services {
        let service = &model.service;
        if let Some(other) = names.insert(workload::object_name(&service.name), &service.name) {
            let message = format!("{} and {other} would have objects of the same names", service.name);
            errors.0.push(Diagnostic::of_file(&service.source, message, "rename one of them, or render them apart"));
        }
    }
    errors.into_result()
}
