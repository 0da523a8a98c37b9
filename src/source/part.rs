//! `[[part]]`: several engines in one declaration.
//!
//! Each part is a service, `GROUP.PART`. `key::Parts` describes for each key whether it may stand outside of the parts
//! or inside of one, and whether it holds there for a part or for the group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Node, Path, Value};
use crate::key::{File, Key, Kind, Parts};
use crate::names::ServiceName;
use crate::path;

pub(crate) const KEY: &str = "part";
const AFTER: &str = "after";

/// The declaration of a group, untyped.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: ServiceName,
    pub(crate) document: Node,
    /// The parts that the part is after.
    pub(crate) after: Vec<ServiceName>,
    /// The parts that containers reach by their names, and their addresses.
    pub(crate) addresses: BTreeMap<String, Ipv4Addr>,
}

/// Reads the names of a declaration's parts, each after those that it is to follow; none if the declaration has no parts.
///
/// # Errors
/// Missing, invalid and repeated names, and keys that may not stand where they do.
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
                let message = format!("the part {name} is declared twice");
                errors.0.push(document.error(&at.join("name"), message, "give each part a name of its own"));
            }
            Ok(name) => names.push(name),
            Err(error) => errors.0.push(error),
        }
        errors.0.extend(keys(Parts::OnlyOutside).filter(|key| *key != KEY).map(|key| at.join(key)).filter_map(|key| {
            document.get(&key).map(|_| {
                document.key_error(&key, "this key holds for all parts together", "write it outside of [[part]]")
            })
        }));
        let inner = at.join(KEY);
        errors.0.extend(document.get(&inner).map(|_| {
            document.key_error(&inner, "a part has no parts", "write it as another [[part]] beside this one")
        }));
    }
    errors.0.extend(keys(Parts::OnlyInside).map(|key| path![key]).filter_map(|key| {
        let remedy = "write it in the [[part]] that it belongs to";
        document.get(&key).map(|_| document.key_error(&key, "the service has parts, and each has its own", remedy))
    }));
    let after = after_all(document, group, &names, &mut errors);
    errors.sort();
    errors.into_result()?;
    in_order(names, &after).map_err(|cycle| {
        let index = position(document, &cycle);
        let message = format!("{cycle} is after itself, by way of other parts");
        document.error(&path![KEY, index, AFTER], message, "remove one of them").into()
    })
}

/// Returns the parts that a part is after.
pub(crate) fn after(document: &Node, part: &ServiceName, group: &ServiceName) -> Vec<ServiceName> {
    let parts = document.get(&path![KEY]).map_or(&[][..], Node::items);
    let own = parts.iter().filter(|node| text(node, "name").is_some_and(|name| is_called(part, name)));
    let names = own.filter_map(|node| node.get(&path![AFTER])).flat_map(Node::items);
    names.filter_map(|node| ServiceName::new(&format!("{group}.{}", node.text()?)).ok()).collect()
}

/// Lists for each part those that it is after, with errors for what is none.
fn after_all(
    document: &Node,
    group: &ServiceName,
    names: &[ServiceName],
    errors: &mut Diagnostics,
) -> BTreeMap<ServiceName, Vec<ServiceName>> {
    for (index, part) in document.get(&path![KEY]).map_or(&[][..], Node::items).iter().enumerate() {
        let Some(list) = part.get(&path![AFTER]) else { continue };
        let at = path![KEY, index, AFTER];
        if !matches!(list.value, Value::Array(_)) {
            errors.0.push(document.error(&at, "a list of parts is expected", "write after = [\"db\"]"));
        }
        for (which, other) in list.items().iter().enumerate() {
            let name = other.text().unwrap_or_default();
            let known = || names.iter().filter_map(|name| Some(name.split_part()?.1));
            if text(part, "name") == Some(name) || !known().any(|known| known == name) {
                let remedy = format!("write the name of another part: {}", known().collect::<Vec<_>>().join(", "));
                errors.0.push(document.error(&at.join(which), format!("{name:?} is no other part"), remedy));
            }
        }
    }
    names.iter().map(|name| (name.clone(), after(document, name, group))).collect()
}

/// Sorts parts so that each follows those that it is after: systemd keeps the order of jobs that are there together.
///
/// # Errors
/// A part that is after itself.
fn in_order(
    mut names: Vec<ServiceName>,
    after: &BTreeMap<ServiceName, Vec<ServiceName>>,
) -> Result<Vec<ServiceName>, ServiceName> {
    let mut sorted: Vec<ServiceName> = Vec::new();
    while let Some(first) = names.first() {
        let is_free = |name: &ServiceName| after.get(name).is_none_or(|all| all.iter().all(|one| sorted.contains(one)));
        let next = names.iter().position(is_free).ok_or_else(|| first.clone())?;
        sorted.push(names.remove(next));
    }
    Ok(sorted)
}

/// Returns the index of a part among those of its group.
pub(super) fn position(document: &Node, name: &ServiceName) -> usize {
    let parts = document.get(&path![KEY]).map_or(&[][..], Node::items);
    parts.iter().position(|part| text(part, "name").is_some_and(|own| is_called(name, own))).unwrap_or(0)
}

fn is_called(part: &ServiceName, name: &str) -> bool {
    part.split_part().is_some_and(|(_, own)| own == name)
}

fn text<'a>(part: &'a Node, key: &str) -> Option<&'a str> {
    part.get(&path![key])?.text()
}

/// Returns the keys of a declaration that have this place.
fn keys(place: Parts) -> impl Iterator<Item = &'static str> {
    let top = File::Service.sections().iter().find(|section| section.path.is_empty());
    top.into_iter().flat_map(|section| section.keys).filter(move |key| key.parts == place).map(|key| key.name)
}

fn name(document: &Node, at: &Path, group: &ServiceName) -> Result<ServiceName, Diagnostic> {
    let here = at.join("name");
    let Some(Value::String(text)) = document.get(&here).map(|node| &node.value) else {
        return Err(document.error(&here, "`name` is required", "write name = \"web\" at its top"));
    };
    // The part's name follows the group's and a dot, and may name a directory of the declaration.
    if text.contains('.') || text.is_empty() || text.starts_with('-') {
        let remedy = "use a-z, 0-9, '-' and '_', and begin with a letter or a digit";
        return Err(document.error(&here, format!("{text:?} is not the name of a part"), remedy));
    }
    ServiceName::new(&format!("{group}.{text}"))
        .map_err(|why| document.error(&here, format!("as {group}.{text}: {why}"), "give the part another name"))
}

/// Builds the document of one part: its own keys over those outside that hold for each part. None if there is no such
/// part.
pub(crate) fn of_part(document: &Node, part: &str) -> Option<Node> {
    let called = |node: &&Node| matches!(node.get(&path!["name"]).map(|name| &name.value), Some(Value::String(name)) if name == part);
    let mut own = document.get(&path![KEY])?.items().iter().find(called)?.clone();
    if let Value::Table(entries) = &mut own.value {
        entries.retain(|key, _| File::Service.key(&[KEY, key]).is_none());
    }
    let mut common = document.clone();
    retain(&mut common, &[], Parts::holds_for_parts);
    common.position = own.position.clone();
    common.key_position = own.key_position.clone();
    common.merge(own);
    Some(common)
}

/// Builds the document of the group: the keys outside of the parts that hold for it.
pub(crate) fn of_group(document: &Node) -> Node {
    let mut group = document.clone();
    retain(&mut group, &[], Parts::holds_for_group);
    if let Value::Table(entries) = &mut group.value {
        entries.remove(KEY);
    }
    group
}

/// Takes the defaults of a group out of those of the host's services: the keys that no part can have.
pub(crate) fn defaults_of_group(defaults: &Node) -> Node {
    let mut group = defaults.clone();
    retain(&mut group, &[], |place| place == Parts::OnlyOutside);
    group
}

/// Keeps keys of service.toml by their place; an unknown key is each part's. A value that should be a table but is none
/// stays, so that its type is refused later.
fn retain(node: &mut Node, at: &[&str], keep: fn(Parts) -> bool) {
    let Value::Table(entries) = &mut node.value else { return };
    entries.retain(|name, value| {
        let path = [at, &[name]].concat();
        let key = File::Service.key(&path);
        if let Some(Key { kind: Kind::Section, parts: Parts::Shared, .. }) = key {
            retain(value, &path, keep);
        }
        keep(key.map_or(Parts::Inherited, |key| key.parts))
    });
}
