//! The keys that a cluster takes otherwise than a single machine. All others hold on each of its machines as they do on
//! one.

use crate::diagnostic::Diagnostics;
use crate::document::{Node, Path, Step};
use crate::model::Model;
use crate::path;
use crate::source::search::Declared;
use crate::target::pacemaker::{Cluster, conditions};

/// The keys by which a service keeps data on its machine, as `--accept` names them.
pub const STATE: &[&str] = &[
    "container.volume",
    "pod.template",
    "systemd.service.StateDirectory",
    "systemd.service.CacheDirectory",
    "systemd.service.LogsDirectory",
    "systemd.service.ReadWritePaths",
    "systemd.service.BindPaths",
];

/// Lists the errors of declared keys that the cluster cannot take.
pub(super) fn refuse(cluster: &Cluster, declared: &Declared, model: &Model) -> Diagnostics {
    // Whether it starts at boot, and on which machines it runs, is said for all parts of a group.
    let document = declared.group.as_ref().map_or(&declared.document, |group| &group.document);
    let mut errors = Diagnostics::default();
    if !model.systemd.wanted_by.is_empty() {
        let message = "the cluster starts the service, so systemd must not start it at boot";
        let remedy = "write install = { wanted_by = [] }";
        errors.0.push(document.error(&path!["install", "wanted_by"], message, remedy));
    }
    refuse_conditions(cluster, model, document, &mut errors);
    if cluster.single.contains(declared.declared_as()) {
        refuse_state(cluster, &declared.document, &mut errors);
    }
    errors
}

fn refuse_conditions(cluster: &Cluster, model: &Model, document: &Node, errors: &mut Diagnostics) {
    let conditions = model.service.group.as_ref().map_or(&model.service.conditions, |group| &group.conditions);
    for condition in conditions {
        let at = path!["condition", condition.key.as_str()];
        if condition.key != conditions::HOST {
            let message = "systemd would skip the service on a node, and the cluster would take that for a failure";
            let remedy = "write condition.host, or a rule of your own for the resource's location";
            errors.0.push(document.key_error(&at, message, remedy));
        } else if cluster.nodes.is_empty() {
            let message = "it depends on the names of the cluster's nodes";
            errors.0.push(document.key_error(&at, message, "name the nodes: --nodes NODE,NODE"));
        }
    }
}

/// Refuses data on a machine for a service that runs on one node at a time.
fn refuse_state(cluster: &Cluster, document: &Node, errors: &mut Diagnostics) {
    for key in STATE.iter().filter(|key| !cluster.accepted.contains(**key)) {
        let at = Path(key.split('.').map(Step::from).collect());
        if document.get(&at).is_some() {
            let message = "the service starts on another node without these data, and without fencing a node that is \
                           cut off may still write them";
            let remedy = format!("keep the data on storage that all nodes share, set up fencing, and accept it: --accept {key}");
            errors.0.push(document.key_error(&at, message, remedy));
        }
    }
}
