//! The schemas have the keys that are accepted, and what they refuse is refused. `tests/schemas` judges examples by them.

use std::collections::BTreeSet;

use conductor::schema;
use serde_json::Value;

fn of(file: &str) -> Value {
    schema::all().into_iter().find(|(name, _)| *name == file).expect("a schema").1
}

fn keys(schema: &Value) -> BTreeSet<&str> {
    schema["properties"].as_object().expect("keys").keys().map(String::as_str).collect()
}

/// Keys in the first column of a section's table.
fn documented<'a>(manual: &'a str, title: &str) -> BTreeSet<&'a str> {
    let (_, rest) = manual.split_once(&format!("\n## {title}\n")).expect("a section");
    let section = rest.split("\n## ").next().expect("a section");
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn keys_are_the_manual_s() {
    let service = include_str!("../docs/service-toml.md");
    assert_eq!(keys(&of("service.toml")), &documented(service, "Top level") | &BTreeSet::from(["part"]));
    let function = include_str!("../docs/function-toml.md");
    assert_eq!(keys(&of("function.toml")), documented(function, "Top level"));
    let settings = of("conductor.toml");
    assert_eq!(keys(&settings), BTreeSet::from(["service"]));
    let manual = include_str!("../docs/conductor-toml.md");
    assert_eq!(keys(&settings["$defs"]["Defaults"]), documented(manual, "`[service]`"));
}

#[test]
fn other_keys_are_refused_everywhere() {
    fn check(at: &str, schema: &Value) {
        match schema {
            Value::Object(fields) => {
                if fields.contains_key("properties") {
                    assert_eq!(fields.get("additionalProperties"), Some(&Value::Bool(false)), "{at}");
                }
                fields.iter().for_each(|(name, inner)| check(&format!("{at}.{name}"), inner));
            }
            Value::Array(items) => items.iter().for_each(|inner| check(at, inner)),
            _ => {}
        }
    }
    schema::all().iter().for_each(|(file, schema)| check(file, schema));
}
