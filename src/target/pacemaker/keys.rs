//! The keys that a cluster takes otherwise than a single machine. All others hold on each of its machines as they do on
//! one.

use crate::diagnostic::Diagnostics;
use crate::document::{Node, Path, Step};
use crate::model::Model;
use crate::path;
use crate::source::search::Declared;
use crate::target::disposition::Disposition;
use crate::target::pacemaker::{Cluster, conditions};

/// What becomes of data on a machine.
const STATE: Disposition = Disposition::Partly {
    becomes: "each node has data of its own",
    lost: "a service of `--single` starts on another node without these data, and without fencing a node that is cut off \
           may still write them",
};

/// The keys that mean something else than on one machine; all others mean on each node what they mean there.
pub const KEYS: &[(&str, Disposition)] = &[
    (
        "install.wanted_by",
        Disposition::Refused {
            why: "the cluster starts the service, so systemd must not start it at boot",
            remedy: "write install = { wanted_by = [] }",
        },
    ),
    ("condition.host", Disposition::Mapped("a location that keeps the service from the other nodes of `--nodes`")),
    (
        "condition.*",
        Disposition::Refused {
            why: "systemd would skip the service on a node, and the cluster would take that for a failure",
            remedy: "write condition.host, or a rule of your own for the resource's location",
        },
    ),
    ("service", Disposition::Mapped("an order: dependencies start first")),
    ("route", Disposition::Mapped("as on one machine; `--address` moves with the service")),
    ("port", Disposition::Mapped("as on one machine; `--address` moves with the service")),
    ("commands.*.schedule", Disposition::Mapped("the job runs on each node that runs the service")),
    ("container.volume", STATE),
    ("pod.template", STATE),
    ("systemd.service.StateDirectory", STATE),
    ("systemd.service.CacheDirectory", STATE),
    ("systemd.service.LogsDirectory", STATE),
    ("systemd.service.ReadWritePaths", STATE),
    ("systemd.service.BindPaths", STATE),
];

/// Lists the keys whose loss can be accepted: those by which a service keeps data on its machine.
pub fn acceptable() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(|(_, disposition)| *disposition == STATE).map(|(key, _)| *key)
}

/// Returns why a key is refused, and what to write instead.
fn refusal(key: &str) -> (&'static str, &'static str) {
    let found = KEYS.iter().find_map(|(known, disposition)| match disposition {
        Disposition::Refused { why, remedy } if *known == key => Some((*why, *remedy)),
        _ => None,
    });
    found.expect("a key that is refused")
}

/// Lists the errors of declared keys that the cluster cannot take.
pub(super) fn refuse(cluster: &Cluster, declared: &Declared, model: &Model) -> Diagnostics {
    // Whether it starts at boot, and on which machines it runs, is said for all parts of a group.
    let document = declared.group.as_ref().map_or(&declared.document, |group| &group.document);
    let mut errors = Diagnostics::default();
    if !model.systemd.wanted_by.is_empty() {
        let (message, remedy) = refusal("install.wanted_by");
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
            let (message, remedy) = refusal("condition.*");
            errors.0.push(document.key_error(&at, message, remedy));
        } else if cluster.nodes.is_empty() {
            let message = "it depends on the names of the cluster's nodes";
            errors.0.push(document.key_error(&at, message, "name the nodes: --nodes NODE,NODE"));
        }
    }
}

/// Refuses data on a machine for a service that runs on one node at a time.
fn refuse_state(cluster: &Cluster, document: &Node, errors: &mut Diagnostics) {
    for key in acceptable().filter(|key| !cluster.accepted.contains(*key)) {
        let at = Path(key.split('.').map(Step::from).collect());
        if document.get(&at).is_some() {
            let message = "the service starts on another node without these data, and without fencing a node that is \
                           cut off may still write them";
            let remedy =
                format!("keep the data on storage that all nodes share, set up fencing, and accept it: --accept {key}");
            errors.0.push(document.key_error(&at, message, remedy));
        }
    }
}
