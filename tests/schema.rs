//! The schemas have the keys that are accepted, and what they refuse is refused. `tests/schemas` judges examples by them.

use std::collections::BTreeSet;

use conductor::key::File;
use conductor::schema;
use serde_json::Value;

fn of(file: &str) -> Value {
    schema::all().into_iter().find(|(name, _)| *name == file).expect("a schema").1
}

fn keys(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().expect("keys").keys().map(String::as_str).collect()
}

#[test]
fn keys_are_those_that_are_described() {
    for file in File::ALL {
        let described = file.sections()[0].keys.iter().map(|key| key.name).collect();
        assert_eq!(keys(&of(file.name())), described, "{}", file.name());
    }
}

/// Editors show what docs/ says of a key, and what may be written.
#[test]
fn every_key_has_its_description() {
    fn check(at: &str, schema: &Value, count: &mut usize) {
        match schema {
            Value::Object(fields) => {
                for (name, key) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    let description = key["description"].as_str().unwrap_or_default();
                    assert!(description.ends_with('.') && !description.contains("]("), "{at}.{name}: {key}");
                    *count += 1;
                }
                fields.iter().for_each(|(name, inner)| check(&format!("{at}.{name}"), inner, count));
            }
            Value::Array(items) => items.iter().for_each(|inner| check(at, inner, count)),
            _ => {}
        }
    }
    let mut count = 0;
    schema::all().iter().for_each(|(file, schema)| check(file, schema, &mut count));
    assert!(count > 150, "{count}");

    let service = of("service.toml");
    let health = &service["$defs"]["Health"]["properties"];
    assert_eq!(health["timeout"]["description"], "The time limit of one attempt.");
    assert_eq!(health["timeout"]["default"], "30s");
    assert_eq!(health["status"]["examples"], serde_json::json!([[200, 204]]));
    assert_eq!(service["$defs"]["Strategy"]["oneOf"][1]["const"], "blue-green");
}

#[test]
fn other_keys_are_refused_everywhere() {
    fn check(at: &str, schema: &Value) {
        match schema {
            Value::Object(fields) => {
                if fields.contains_key("properties") {
                    let others = fields.get("additionalProperties");
                    // Those of [listen] are further listeners.
                    let is_of_tables = others.is_some_and(|others| others["$ref"] == "#/$defs/Listener");
                    assert!(others == Some(&Value::Bool(false)) || is_of_tables, "{at}");
                }
                fields.iter().for_each(|(name, inner)| check(&format!("{at}.{name}"), inner));
            }
            Value::Array(items) => items.iter().for_each(|inner| check(at, inner)),
            _ => {}
        }
    }
    schema::all().iter().for_each(|(file, schema)| check(file, schema));
}
