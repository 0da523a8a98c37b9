//! Declared keys that Kubernetes does not have, at their places in the declaration.

use crate::diagnostic::Diagnostics;
use crate::document::{Node, Path, Step, Value};
use crate::key::{Default, File};
use crate::target::disposition::Disposition;
use crate::target::kubernetes::keys::{KEYS, disposition};
use crate::target::kubernetes::options::Kubernetes;

/// Lists the errors of all declared keys that are refused, or approximated without being accepted.
pub(super) fn of_keys(kubernetes: &Kubernetes, document: &Node) -> Diagnostics {
    let mut errors = Diagnostics::default();
    for (key, disposition) in KEYS {
        match disposition {
            Disposition::Refused { why, remedy } if !is_below_refused(key) => {
                for place in declared(document, key) {
                    errors.0.push(document.key_error(&place, *why, *remedy));
                }
            }
            Disposition::Approximated { lost, .. } if !kubernetes.accepts(key) => {
                for place in declared(document, key) {
                    errors.0.push(document.key_error(&place, *lost, accept(key)));
                }
            }
            _ => {}
        }
    }
    errors
}

/// Returns whether the section of a key is refused itself.
fn is_below_refused(key: &str) -> bool {
    let section = key.rsplit_once('.').and_then(|(section, _)| disposition(section));
    matches!(section, Some(Disposition::Refused { .. }))
}

/// Returns the remedy for a key whose approximation can be accepted.
pub(super) fn accept(key: &str) -> String {
    // The shell would take a `*` for names of files.
    let key = if key.contains('*') { format!("'{key}'") } else { key.to_owned() };
    format!("remove it, or accept that with --accept {key}")
}

/// Lists the places at which a key is declared with another value than its default.
fn declared(document: &Node, key: &str) -> Vec<Path> {
    let steps: Vec<_> = key.split('.').collect();
    let mut found = Vec::new();
    if key == "systemd.service" {
        // Directives that are more than passed through have dispositions of their own.
        let of_directives = |place: &Path| KEYS.iter().all(|(known, _)| *known != place.to_string());
        walk(document, &["systemd", "service", "*"], &Path::default(), &mut found);
        found.retain(of_directives);
    } else {
        walk(document, &steps, &Path::default(), &mut found);
    }
    found.retain(|place| !is_default(document, place));
    found
}

fn walk(node: &Node, steps: &[&str], here: &Path, found: &mut Vec<Path>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(here.clone());
        return;
    };
    match &node.value {
        Value::Table(entries) => {
            for (key, child) in entries.iter().filter(|(key, _)| *step == "*" || step == key) {
                walk(child, rest, &here.join(Step::from(key.as_str())), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, steps, &here.join(index), found);
            }
        }
        _ => {}
    }
}

fn is_default(document: &Node, place: &Path) -> bool {
    let default = File::Service.key(&place.keys()).map(|key| key.default);
    let Some(Default::Value(default) | Default::Varies(default, _)) = default else { return false };
    let parsed = toml::from_str::<toml::Table>(&format!("value = {default}"));
    parsed.is_ok_and(|table| table.get("value") == Some(&document.find(place).plain()))
}
