//! Models become objects of Kubernetes, a file for each kind of object. Nothing here applies them: kubectl does.
//!
//! Every declared key has a disposition in [`keys`]; what Kubernetes cannot do is refused at its place in the declaration.

mod autoscaler;
mod build;
mod command;
mod config_map;
mod container;
mod cron;
mod deployment;
mod directories;
mod drain;
mod environment;
pub(crate) mod fields;
mod files;
mod gateway;
mod helper;
mod image;
mod ingress;
mod job;
pub mod keys;
mod names;
mod network;
mod objects;
mod options;
pub mod plan;
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

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::Model;
use crate::path;
use crate::source::search::Declared;
use crate::target::{Export, Input, Vocabulary};
use crate::tree::Tree;

pub use self::helper::Helper;
pub use self::options::{Kubernetes, RouteApi, Version};
use self::workload::Workload;

/// What a stream of objects begins with, for those who apply it.
const HEAD: &str = "# Apply these objects with: kubectl apply --server-side -f FILE\n\
                        # Without --server-side kubectl adds a copy of each object to it, which may have at most 256 KiB.\n";

impl Vocabulary for Kubernetes {
    fn systemd(&self) -> Option<u16> {
        None
    }

    fn refuse(&self, declared: &Declared, model: &Model) -> Diagnostics {
        if model.service.process.is_none() {
            let message = "Kubernetes routes requests to pods, and this service runs no program";
            let remedy = "add [container] with the image of a web server, and ./ volumes for the files";
            return declared.document.key_error(&path!["route", 0], message, remedy).into();
        }
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

    fn service(&self, input: Input) -> Result<Tree, Diagnostics> {
        Workload::new(self, input)?.tree()
    }

    fn shared(&self, services: &[&Model]) -> Result<Tree, Diagnostics> {
        refuse_same_names(services)?;
        let mut tree = Tree::default();
        if services.iter().any(|model| helper::is_needed(&model.service)) {
            tree.file(
                "00-conductor-pod.yaml",
                yaml::write([&self.helper.config_map(|name, labels| self.metadata(name, labels, yaml::map! {}))?]),
            );
        }
        Ok(tree)
    }
}

/// Refuses services whose objects would have the same names: what stands between words is `-` in all names of Kubernetes.
fn refuse_same_names(services: &[&Model]) -> Result<(), Diagnostics> {
    let (mut names, mut errors) = (BTreeMap::new(), Diagnostics::default());
    for model in services {
        let service = &model.service;
        if let Some(other) = names.insert(names::object_name(&service.name), &service.name) {
            let message = format!("{} and {other} would have objects of the same names", service.name);
            errors.0.push(Diagnostic::of_file(&service.source, message, "rename one of them, or render them apart"));
        }
    }
    errors.into_result()
}
