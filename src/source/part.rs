//! `[[part]]`: several engines side by side in one declaration. Each part is a service, `NAME.PART`, with what the
//! declaration says outside its parts under what it says itself; what concerns all of them together is the whole's.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Node, Path, Value};
use crate::names::ServiceName;
use crate::path;

pub(crate) const KEY: &str = "part";
/// What the parts have together, and none of them for itself.
pub(crate) const GROUP_KEYS: &[&str] = &["service", "install"];
/// What the whole has for itself, beside its parts.
const ITS_OWN: &[&str] = &["description", "resources"];
/// What is a part's own, and not that of all of them.
const OF_A_PART: &[&str] = &["exec", "container", "pod", "route", "port"];

/// The names of a declaration's parts, in its order; none, if it is one service.
///
/// # Errors
/// Parts without a name or with one that nothing can be called by, and keys on the wrong side of `[[part]]`.
pub(crate) fn names(document: &Node, group: &ServiceName) -> Result<Vec<ServiceName>, Diagnostics> {
    let Some(parts) = document.get(&path![KEY]) else { return Ok(Vec::new()) };
    let mut errors = Diagnostics::default();
    if parts.items().is_empty() {
        let remedy = "write each part as a section of its own: [[part]]";
        return Err(document.error(&path![KEY], "`part` must be an array of tables: `[[part]]`", remedy).into());
    }
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    for index in 0..parts.items().len() {
        let at = path![KEY, index];
        match name(document, &at, group) {
            Ok(name) if !seen.insert(name.clone()) => {
                let message = format!("there are two parts {name}");
                errors.0.push(document.error(&at.join("name"), message, "give each part a name of its own"));
            }
            Ok(name) => names.push(name),
            Err(error) => errors.0.push(error),
        }
        errors.0.extend(GROUP_KEYS.iter().map(|key| at.join(*key)).filter_map(|key| {
            document
                .get(&key)
                .map(|_| document.key_error(&key, "this concerns all parts together", "write it outside of [[part]]"))
        }));
        let inner = at.join(KEY);
        errors.0.extend(document.get(&inner).map(|_| {
            document.key_error(&inner, "a part has no parts", "write it as another [[part]] beside this one")
        }));
    }
    errors.0.extend(OF_A_PART.iter().map(|key| path![*key]).filter_map(|key| {
        let remedy = "write it in the [[part]] that it belongs to";
        document.get(&key).map(|_| document.key_error(&key, "the service has parts, and each has its own", remedy))
    }));
    errors.sort();
    errors.into_result().map(|()| names)
}

fn name(document: &Node, at: &Path, group: &ServiceName) -> Result<ServiceName, Diagnostic> {
    let here = at.join("name");
    let Some(Value::String(text)) = document.get(&here).map(|node| &node.value) else {
        return Err(document.error(&here, "`name` is required", "write name = \"web\" at its top"));
    };
    // It stands behind the dot of its service's name, and is called like a directory.
    if text.contains('.') || text.is_empty() || text.starts_with('-') {
        let remedy = "use a-z, 0-9, '-' and '_', and begin with a letter or a digit";
        return Err(document.error(&here, format!("{text:?} is not the name of a part"), remedy));
    }
    ServiceName::new(&format!("{group}.{text}"))
        .map_err(|why| document.error(&here, format!("as {group}.{text}: {why}"), "give the part another name"))
}

/// What is declared for one part: what stands outside of the parts, and what stands in it over that. None, if there is
/// no such part.
pub(crate) fn narrow(document: &Node, part: &str) -> Option<Node> {
    let called = |node: &&Node| matches!(node.get(&path!["name"]).map(|name| &name.value), Some(Value::String(name)) if name == part);
    let mut own = document.get(&path![KEY])?.items().iter().find(called)?.clone();
    retain(&mut own, |key| key != "name");
    let mut common = document.clone();
    let not_common = [&[KEY], GROUP_KEYS, ITS_OWN].concat();
    retain(&mut common, |key| !not_common.contains(&key));
    retain_in(&mut common, "systemd", |key| key != "slice");
    common.position = own.position.clone();
    common.key_position = own.key_position.clone();
    common.merge(own);
    Some(common)
}

/// What is declared for all parts together.
pub(crate) fn group(document: &Node) -> Node {
    let mut group = document.clone();
    let keys = [GROUP_KEYS, ITS_OWN, &["condition", "systemd"]].concat();
    retain(&mut group, |key| keys.contains(&key));
    retain_in(&mut group, "systemd", |key| key == "slice");
    group
}

/// Of what holds for all services, what concerns the parts of one together.
pub(crate) fn group_of(defaults: &Node) -> Node {
    let mut group = defaults.clone();
    retain(&mut group, |key| GROUP_KEYS.contains(&key));
    group
}

/// Keeps some entries of a table; what is none stays as it is, for its type to be refused.
fn retain(node: &mut Node, keep: impl Fn(&str) -> bool) {
    if let Value::Table(entries) = &mut node.value {
        entries.retain(|key, _| keep(key));
    }
}

fn retain_in(node: &mut Node, key: &str, keep: impl Fn(&str) -> bool) {
    if let Value::Table(entries) = &mut node.value
        && let Some(inner) = entries.get_mut(key)
    {
        retain(inner, keep);
    }
}
