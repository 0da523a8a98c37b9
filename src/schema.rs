//! JSON Schemas of the files that people write, draft 2020-12: what editors complete and check them with. Their
//! structure comes from the types that read those files, their texts from the descriptions of keys.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::declaration::function::Manifest;
use crate::declaration::host::Settings;
use crate::declaration::{Declaration, Hook, OneOrMany, Scalar, Texts, TimeSpan};
use crate::key::{Default, File, Key, Kind, Parts};
use crate::source::part;

/// Each file's name and its schema.
pub fn all() -> [(&'static str, Value); 3] {
    File::ALL.map(|file| {
        let schema = match file {
            File::Service => with_parts(described::<Declaration>(file)),
            File::Function => described::<Manifest>(file),
            File::Host => described::<Settings>(file),
        };
        (file.name(), schema)
    })
}

/// Returns the schema of a type, with the descriptions of keys in place of doc comments.
fn described<T: JsonSchema>(file: File) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    without_descriptions(&mut schema);
    let mut root = schema.to_value();
    root["title"] = file.name().into();
    for section in file.sections() {
        for key in section.keys {
            for at in locations(&root, &format!("{}.{}", section.path, key.name)) {
                describe(&mut root, &at, key);
            }
        }
    }
    root
}

fn without_descriptions(schema: &mut Schema) {
    schema.remove("description");
    transform_subschemas(&mut without_descriptions, schema);
}

/// Pointers to the schemas of a key; `*` stands for all that are beside each other.
fn locations(root: &Value, path: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let below = found.iter().flat_map(|at| {
            let at = resolved(root, at);
            let named = |name: &str| format!("{at}/properties/{name}");
            let schema = &root.pointer(&at).unwrap_or(&Value::Null);
            match (step, schema["properties"].as_object()) {
                // The keys beside such tables have sections of their own.
                ("*", _) if schema["additionalProperties"].is_object() => vec![format!("{at}/additionalProperties")],
                ("*", Some(all)) => all.keys().map(|name| named(name)).collect(),
                ("*", None) => vec![format!("{at}/additionalProperties")],
                _ => vec![named(step)],
            }
        });
        found = below.filter(|at| root.pointer(at).is_some()).collect();
    }
    found
}

/// The pointer to what a schema is: what it refers to, as itself, as a choice, or as what an array has.
fn resolved(root: &Value, at: &str) -> String {
    let reference = ["", "/anyOf/0", "/items"].iter().find_map(|below| root.pointer(&format!("{at}{below}/$ref")));
    match reference.and_then(Value::as_str) {
        Some(target) => target.trim_start_matches('#').to_owned(),
        None if root.pointer(&format!("{at}/items/properties")).is_some() => format!("{at}/items"),
        None => at.to_owned(),
    }
}

fn describe(root: &mut Value, at: &str, key: &Key) {
    if let Kind::Words(words) = key.kind {
        let choices = words.iter().map(|(word, meaning)| json!({ "const": word, "description": plain(meaning) }));
        let choices: Vec<_> = choices.collect();
        let definition = resolved(root, at);
        if let Some(schema) = root.pointer_mut(&definition) {
            *schema = json!({ "type": "string", "oneOf": choices });
        }
    }
    let Some(schema) = root.pointer_mut(at) else { return };
    schema["description"] = plain(key.meaning).into();
    if let Default::Value(value) = key.default {
        schema["default"] = from_toml(value);
    }
    if !key.example.is_empty() {
        schema["examples"] = json!([from_toml(key.example)]);
    }
}

/// A sentence without the links that only docs/ can follow.
fn plain(meaning: &str) -> Cow<'_, str> {
    let link = regex_lite::Regex::new(r"\[([^\[\]]+)\]\([^)]*\)").expect("a pattern");
    link.replace_all(meaning, "$1")
}

fn from_toml(value: &str) -> Value {
    let document: toml::Table = toml::from_str(&format!("value = {value}")).expect("descriptions are TOML");
    serde_json::to_value(&document["value"]).expect("what TOML has JSON has")
}

/// Adds `[[part]]`, which is read before the document has types: it takes the keys of a service that may stand in a
/// part.
fn with_parts(mut service: Value) -> Value {
    let properties = service["properties"].as_object().cloned().unwrap_or_default();
    let is_outside = |key: &str| File::Service.key(&[key]).is_some_and(|key| key.parts == Parts::OnlyOutside);
    let mut of_part: serde_json::Map<_, _> = properties.into_iter().filter(|(key, _)| !is_outside(key)).collect();
    of_part.insert("name".into(), json!({ "type": "string" }));
    service["properties"][part::KEY] = json!({
        "type": "array",
        "items": { "type": "object", "properties": of_part, "required": ["name"], "additionalProperties": false },
    });
    for key in [&[part::KEY][..], &[part::KEY, "name"]] {
        for at in locations(&service, &key.join(".")) {
            describe(&mut service, &at, File::Service.key(key).expect("a key that is described"));
        }
    }
    service
}

/// What a type is in a schema: `inline`, since it has no name that people know.
macro_rules! written_as {
    ($($type:ty: $schema:expr),+ $(,)?) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        })+
    };
}

written_as! {
    Scalar: json_schema!({ "type": ["string", "number", "boolean"] }),
    TimeSpan: json_schema!({ "type": ["string", "integer"], "examples": ["30s", "1min 30s"] }),
    OneOrMany: json_schema!({
        "type": ["string", "number", "boolean", "array"],
        "items": { "type": ["string", "number", "boolean"] },
    }),
    Texts: json_schema!({ "type": ["string", "array"], "items": { "type": "string" } }),
    Hook: json_schema!({
        "type": ["array", "object"],
        "items": { "type": "string" },
        "properties": {
            "command": { "type": "array", "items": { "type": "string" } },
            "timeout": { "type": ["string", "integer"] },
        },
        "required": ["command"],
        "additionalProperties": false,
    }),
}
