//! Files of docker compose, by the compose specification: services that belong together are parts of one service.

mod file;
mod resources;
mod service;

pub(crate) use resources::bytes;

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::import::compose::file::{File, variables};
use crate::import::compose::service::Translation;
use crate::import::declaration::{Declaration, Service, name_of};
use crate::import::input::Input;
use crate::import::note::{Fate, Report};
use crate::import::order;
use crate::import::tree::{self, Entry, Keys, Node, Value};

/// Translates a file. The service has the name that is given, else the file's, else its directory's.
///
/// # Errors
/// If it is not YAML, or no file of compose.
pub(crate) fn import(input: &Input, given: Option<&str>, report: &mut Report) -> Result<Declaration, Diagnostics> {
    let documents = tree::documents(&input.source)?;
    let Some(root) = documents.first() else {
        return Err(Diagnostic::of_file(input.path(), "the file is empty", "write services:").into());
    };
    let whole;
    let root = if is_first_version(root) {
        let services = Entry { key: "services".to_owned(), position: root.position.clone(), node: root.clone() };
        whole = Node { position: root.position.clone(), value: Value::Map(vec![services]) };
        &whole
    } else {
        root
    };
    let keys = Keys::new("", root);
    let Some(services) = keys.take("services", report) else {
        let remedy = "write services: {web: {image: …}}";
        return Err(Diagnostic::at(root.position.clone(), "services", "the file has no services", remedy).into());
    };
    if !matches!(services.node.value, Value::Map(_)) {
        let message = format!("expected a map, not {}", services.node.kind());
        return Err(Diagnostic::at(services.node.position.clone(), "services", message, "write a service in it").into());
    }
    let known = input.text_of(".env").map(|text| variables(&text)).unwrap_or_default();
    let name = keys.take("name", report).and_then(|entry| entry.node.text().map(str::to_owned));
    let name =
        given.map(str::to_owned).or(name).unwrap_or_else(|| input.dir().file_name().unwrap_or("service").to_owned());
    let mut declaration = Declaration::new(name);
    declaration.is_group = services.node.entries().len() > 1;
    let file = File { input, root, known, names: names(&services.node) };
    for entry in services.node.entries() {
        if let Some(service) = file.service(entry, &mut declaration, report) {
            declaration.services.push(service);
        }
    }
    if declaration.services.is_empty() {
        let message = "no service of the file can be translated";
        let reasons: Vec<_> = report.of(Fate::Omitted).iter().map(|note| note.to_string()).collect();
        let remedy = format!("correct it: {}", reasons.join("; "));
        return Err(Diagnostic::at(services.position.clone(), "services", message, remedy).into());
    }
    order::keep_parts(&mut declaration);
    keys.skip(&["version"], report);
    volumes(&keys, report);
    networks(&keys, report);
    keys.skip(&["secrets", "configs"], report);
    keys.finish(report, |key| match key {
        "include" => Some("import the other file by itself"),
        _ => None,
    });
    Ok(declaration)
}

/// Returns whether a document looks like a file of compose.
pub(crate) fn is_one(root: &Node) -> bool {
    let has_services = matches!(root.get("services").map(|node| &node.value), Some(Value::Map(_)));
    root.get("apiVersion").is_none() && (has_services || is_first_version(root))
}

/// The names by which containers reach a service, and its part.
fn names(services: &Node) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for entry in services.entries() {
        for key in ["container_name", "hostname"] {
            if let Some(name) = entry.node.text_at(&[key]) {
                names.insert(name.to_owned(), name_of(&entry.key));
            }
        }
    }
    for entry in services.entries() {
        names.insert(entry.key.clone(), name_of(&entry.key));
    }
    names
}

impl File<'_> {
    fn service(&self, entry: &Entry, declaration: &mut Declaration, report: &mut Report) -> Option<Service> {
        let path = format!("services.{}", entry.key);
        if !matches!(entry.node.value, Value::Map(_)) {
            report.omitted(&entry.position, path, format!("expected a map, not {}", entry.node.kind()));
            return None;
        }
        if let Some(profiles) = entry.node.get("profiles").filter(|node| !node.items().is_empty()) {
            let profiles = profiles.texts().join(", ");
            report.omitted(
                &entry.position,
                path,
                format!("it starts only with the profile {profiles}: import it by itself"),
            );
            return None;
        }
        let merged = extended(&entry.node, self.root, self.input, 0);
        let mut service = Service::new(name_of(&entry.key));
        if service.name != entry.key {
            let text = format!("the part is {:?}, because names have a-z, 0-9, - and _", service.name);
            report.approximated(&entry.position, path.as_str(), text);
        }
        let keys = Keys::new(path, &merged);
        let mut one = Translation { file: self, keys: &keys, entry, service: &mut service, declaration, report };
        if !one.run() {
            return None;
        }
        resources::translate(&mut one);
        keys.finish(report, reason);
        Some(service)
    }
}

/// Notes what podman's volumes do not have.
fn volumes(keys: &Keys<'_>, report: &mut Report) {
    let Some(volumes) = keys.take("volumes", report) else { return };
    for entry in volumes.node.entries() {
        report.see(&entry.position);
        for option in entry.node.entries() {
            let path = format!("volumes.{}.{}", entry.key, option.key);
            match option.key.as_str() {
                "name" | "external" | "labels" => report.see(&option.position),
                "driver" if option.node.text() == Some("local") => report.see(&option.position),
                _ => {
                    let text = "podman creates the volume without it: `podman volume create` has options";
                    report.omitted(&option.position, path, text);
                }
            }
        }
    }
}

/// Notes what becomes of networks.
fn networks(keys: &Keys<'_>, report: &mut Report) {
    let Some(networks) = keys.take("networks", report) else { return };
    for entry in networks.node.entries() {
        let path = format!("networks.{}", entry.key);
        if entry.node.get("external").is_some_and(Node::is_true) {
            report.see(&entry.position);
            report.hint(format!("podman network create {}   # the network {path} of the source", entry.key));
        } else if entry.node.get("internal").is_some_and(Node::is_true) {
            report.omitted(&entry.position, path, "parts reach each other by name, and containers reach the outside");
        } else {
            report.approximated(&entry.position, path, "parts reach each other by name without a network of their own");
        }
    }
}

/// The service with the keys of another one that it extends, of the same file or of one beside it.
fn extended(node: &Node, root: &Node, input: &Input, depth: usize) -> Node {
    let mut merged = node.clone();
    let Some(extends) = node.get("extends").filter(|_| depth < 8) else { return merged };
    let Some(name) = extends.text().or_else(|| extends.text_at(&["service"])) else { return merged };
    let base = match extends.text_at(&["file"]) {
        None => root.at(&["services", name]).map(|base| extended(base, root, input, depth + 1)),
        Some(file) => Input::read(&input.path().with_file_name("").join(file)).ok().and_then(|other| {
            let documents = tree::documents(&other.source).ok()?;
            let root = documents.first()?;
            Some(extended(root.at(&["services", name])?, root, &other, depth + 1))
        }),
    };
    if let (Some(base), Value::Map(entries)) = (base, &mut merged.value) {
        for entry in base.entries().iter().filter(|entry| entry.key != "extends") {
            match entries.iter_mut().find(|own| own.key == entry.key) {
                None => entries.push(entry.clone()),
                Some(own) => lay_under(&mut own.node, &entry.node),
            }
        }
    }
    merged
}

/// Adds what a list or a map does not have of another one.
fn lay_under(own: &mut Node, base: &Node) {
    match (&mut own.value, &base.value) {
        (Value::Map(entries), Value::Map(others)) => {
            for other in others {
                if !entries.iter().any(|entry| entry.key == other.key) {
                    entries.push(other.clone());
                }
            }
        }
        (Value::List(items), Value::List(others)) => {
            let own = std::mem::take(items);
            items.extend(others.iter().cloned());
            items.extend(own);
        }
        _ => {}
    }
}

/// Returns whether the services are at the top of the file, as in its first version.
fn is_first_version(root: &Node) -> bool {
    let is_service = |entry: &Entry| ["image", "build", "extends"].iter().any(|key| entry.node.get(key).is_some());
    !root.entries().is_empty() && root.entries().iter().all(is_service)
}

/// Why a key of a service is not translated.
fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "labels" | "label_file" => "conductor gives containers no labels",
        "logging" | "log_driver" | "log_opt" => "the journal has the output: `conductor service logs NAME`",
        "networks" | "network_mode" => "parts reach each other by name",
        "external_links" => "a [[service]] of its own has a [[port]]",
        "develop" | "attach" => "it is for development",
        "deploy" => "it is for a cluster",
        "stdin_open" | "tty" => "a service has no terminal",
        "mac_address" | "ipv4_address" => "deployments of two generations run side by side",
        "pid" | "ipc" | "uts" | "cgroup" | "cgroup_parent" => "the container is in its unit's control group",
        "volumes_from" => "write the volumes themselves",
        "runtime" => "podman has a runtime of its own",
        "provider" | "models" => "conductor runs containers only",
        "post_start" | "pre_stop" => "write it in [hooks]",
        _ => return None,
    })
}
