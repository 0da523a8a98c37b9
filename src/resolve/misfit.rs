//! What does not fit the type of a declaration, in the words of somebody who writes one.

use crate::declaration;
use crate::diagnostic::Diagnostics;
use crate::directive;
use crate::document::{Error, Node, Path, Problem, Step};

/// Says what does not fit in the words of somebody who writes a declaration.
pub fn misfit(document: &Node, error: Error) -> Diagnostics {
    let path = error.path;
    match error.problem {
        Problem::UnknownKey { key, expected } => {
            let full = path.join(key.as_str());
            if is_later(&full) {
                let remedy = "take it out; this version of conductor has [exec] services with socket activation";
                document.key_error(&full, "not supported yet", remedy).into()
            } else {
                document.key_error(&full, "there is no such key here", did_you_mean(&key, expected)).into()
            }
        }
        Problem::MissingKey(key) => {
            let message = format!("{key} is missing");
            document.error(&path, message, example(&path.join(key))).into()
        }
        Problem::UnknownWord { word, expected } => {
            let keys = dotted(&path);
            let later = declaration::LATER_WORDS.iter().any(|(key, words)| *key == keys && words.contains(&&*word));
            let message = if later { "not supported yet".to_owned() } else { format!("{word:?} is not a choice") };
            document.error(&path, message, choices(expected)).into()
        }
        Problem::WrongType { found, expected } => {
            document.error(&path, format!("{expected} is expected here, not {found}"), example(&path)).into()
        }
        Problem::Other(message) => document.error(&path, message, example(&path)).into(),
    }
}

/// The path without indices: `route.keepalive`.
fn dotted(path: &Path) -> String {
    let keys = path.0.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

fn is_later(path: &Path) -> bool {
    declaration::LATER.contains(&dotted(path).as_str())
}

fn choices(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("write {}", quoted.join(" or "))
}

fn did_you_mean(key: &str, expected: &[&str]) -> String {
    match directive::closest(key, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if expected.len() == 1 => format!("the only key here is `{}`", expected[0]),
        None => format!("the keys here are {}", expected.join(", ")),
    }
}

/// What a key looks like when it is right.
pub fn example(path: &Path) -> String {
    let keys = dotted(path);
    let last = keys.rsplit('.').next().unwrap_or("");
    match last {
        _ if SECTIONS.contains(&keys.as_str()) => format!("write a section: [{keys}]"),
        "command" | "exec" | "pre_start" | "post_start" | "pre_stop" | "drain" | "post_stop" => {
            format!("write the words one by one: {last} = [\"./program\", \"--flag\"]")
        }
        _ if keys.starts_with("condition.") => format!("write {last} = \"…\", or a list of such"),
        "host" => "write host = [\"www.example.com\"]".to_owned(),
        "wanted_by" => "write wanted_by = [\"multi-user.target\"]".to_owned(),
        "status" => "write status = [200, 204]".to_owned(),
        "interval" | "timeout" | "drain_timeout" | "health_timeout" => {
            format!("write a time span in quotes: {last} = \"30s\"")
        }
        "restarted_at" => "write restarted_at = \"2026-11-23T15:00:00Z\"".to_owned(),
        "route" => "write a section in double brackets: [[route]]".to_owned(),
        "concurrency" | "slots" | "max_surge" | "retries" => format!("write a number without quotes: {last} = 3"),
        "config" | "environment" | "vars" | "headers" => format!("write {last} = {{ NAME = \"value\" }}"),
        "credentials" | "credentials_encrypted" => {
            format!("write {last} = {{ name = \"/path/of/secret\" }}")
        }
        "" => "write keys and [sections] as in service.toml's description".to_owned(),
        "tcp" | "notify" => format!("write {last} = true"),
        "dir" => "write dir = \"../redis\"".to_owned(),
        "service" => "write a section in double brackets: [[service]]".to_owned(),
        "commands" => "write a section for each: [commands.NAME]".to_owned(),
        "display" => "write display = [\"VERSION\"]".to_owned(),
        _ if keys.starts_with("commands.") && keys.matches('.').count() == 1 => {
            format!("write a section: [{keys}]")
        }
        _ => format!("write {last} = \"…\""),
    }
}

/// Tables that people write as sections.
const SECTIONS: &[&str] = &[
    "exec",
    "listen",
    "health",
    "deploy",
    "hooks",
    "resources",
    "condition",
    "install",
    "systemd",
    "systemd.unit",
    "systemd.service",
    "systemd.socket",
    "systemd.slice",
];
