//! JSON Schemas of the files that people write, draft 2020-12: what editors complete and check them with. They come from
//! the types that read those files; what is written in more than one form is said here.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::declaration::function::Manifest;
use crate::declaration::host::Settings;
use crate::declaration::{Declaration, Hook, OneOrMany, Scalar, TimeSpan};

/// Each file's name and its schema.
pub fn all() -> [(&'static str, Value); 3] {
    [
        ("service.toml", with_parts(of::<Declaration>())),
        ("function.toml", of::<Manifest>()),
        ("conductor.toml", of::<Settings>()),
    ]
}

fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// A part is read when the document has no types yet: it takes what a service takes, but what concerns all together.
fn with_parts(mut service: Value) -> Value {
    let properties = service["properties"].as_object().cloned().unwrap_or_default();
    let mut of_part: serde_json::Map<_, _> =
        properties.into_iter().filter(|(key, _)| !crate::source::part::GROUP_KEYS.contains(&key.as_str())).collect();
    of_part.insert("name".into(), json!({ "type": "string", "description": "What the part is called: NAME.PART." }));
    service["properties"][crate::source::part::KEY] = json!({
        "type": "array",
        "description": "Several engines side by side, each a service of its own.",
        "items": { "type": "object", "properties": of_part, "required": ["name"], "additionalProperties": false },
    });
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
