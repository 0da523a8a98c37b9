//! Objects as fields, a line each: what `explain` shows and `plan` compares.

use std::collections::BTreeMap;

use serde_json::Value;

/// The keys by which Kubernetes tells items of lists apart.
const NAMES: &[&str] = &["name", "key", "mountPath", "host", "path", "topologyKey", "containerPort"];

/// An object's kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.kind, self.name)
    }
}

/// Reads the objects of a YAML stream; lists of objects are taken apart.
///
/// # Errors
/// Text that is not YAML.
pub(crate) fn objects(text: &str) -> Result<Vec<(Identity, Value)>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    let mut objects = Vec::new();
    documents.into_iter().for_each(|document| take_apart(document, &mut objects));
    Ok(objects)
}

fn take_apart(object: Value, objects: &mut Vec<(Identity, Value)>) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if kind.ends_with("List") {
        let items = object.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        items.into_iter().for_each(|item| take_apart(item, objects));
    } else if let Some(name) = object["metadata"]["name"].as_str() {
        let identity = Identity { kind, name: name.to_owned() };
        objects.push((identity, object));
    }
}

/// Returns the fields of an object that have values, by their paths.
pub(crate) fn of(object: &Value) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    collect(object, "", &mut fields);
    fields
}

fn collect(value: &Value, here: &str, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let dot = if here.is_empty() { "" } else { "." };
                collect(value, &format!("{here}{dot}{key}"), fields);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let name = name(item).unwrap_or_else(|| index.to_string());
                let mut path = format!("{here}[{name}]");
                // A port may have the same number for two protocols.
                if fields.keys().any(|known| known.starts_with(&format!("{path}."))) {
                    path = format!("{here}[{name}, {index}]");
                }
                collect(item, &path, fields);
            }
        }
        Value::String(text) => drop(fields.insert(here.to_owned(), text.clone())),
        other => drop(fields.insert(here.to_owned(), other.to_string())),
    }
}

/// Returns what an item of a list is called.
fn name(item: &Value) -> Option<String> {
    NAMES.iter().find_map(|key| match item.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// Returns the lines of a stream's objects: `Deployment web: spec.replicas = 3`.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let objects = objects(text).unwrap_or_default();
    let lines = objects.iter().flat_map(|(identity, object)| {
        let line = move |(path, value): (String, String)| format!("{identity}: {path} = {}", one_line(&value));
        of(object).into_iter().map(line)
    });
    lines.collect()
}

/// Returns a value on one line.
pub(crate) fn one_line(value: &str) -> String {
    value.replace('\n', "\\n")
}
