//! What does not fit the type of a declaration, in the words of somebody who writes one.

use crate::diagnostic::Diagnostic;
use crate::document::{Error, Node, Path, Problem, Step};
use crate::{declaration, directive};

/// Says what does not fit in the words of somebody who writes a declaration.
pub fn mismatch(document: &Node, error: Error) -> Diagnostic {
    let path = error.path;
    match error.problem {
        Problem::UnknownKey { key, expected } => {
            let full = path.join(key.as_str());
            if is_later(&full) {
                document.key_error(&full, "not supported yet", "take it out")
            } else if let Some((_, message, remedy)) = ELSEWHERE.iter().find(|(key, ..)| *key == dotted(&full)) {
                document.key_error(&full, *message, *remedy)
            } else {
                document.key_error(&full, "there is no such key here", did_you_mean(&key, expected))
            }
        }
        Problem::MissingKey(key) => {
            let message = format!("{key} is missing");
            document.error(&path, message, example(&path.join(key)))
        }
        Problem::UnknownWord { word, expected } => {
            document.error(&path, format!("{word:?} is not a choice"), choices(expected))
        }
        Problem::WrongType { found, expected } => {
            document.error(&path, format!("{expected} is expected here, not {found}"), example(&path))
        }
        Problem::Other(message) => document.error(&path, message, example(&path)),
    }
}

/// Keys that people know from elsewhere, why there are none here, and what to write instead.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "container.publish_port",
        "a published port belongs to one deployment alone",
        "write port = 8080 here for where it listens, and [[route]] for HTTP or [[port]] for TCP",
    ),
    ("container.notify", "[health] says when a deployment is ready", "write notify = true in [health]"),
    ("container.container_name", "a container is called as its deployment", "take it out"),
];

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
    // conductor.toml has them one section deeper.
    let keys = keys.strip_prefix("service.").unwrap_or(&keys);
    let last = keys.rsplit('.').next().unwrap_or("");
    match last {
        _ if SECTIONS.contains(&keys) => format!("write a section: [{keys}]"),
        "command" | "exec" | "pre_start" | "post_start" | "pre_stop" | "drain" | "post_stop" => {
            format!("write the words one by one: {last} = [\"./program\", \"--flag\"]")
        }
        _ if keys.starts_with("condition.") => format!("write {last} = \"…\", or a list of such"),
        "host" => "write host = [\"www.example.com\"]".to_owned(),
        "wanted_by" => "write wanted_by = [\"multi-user.target\"]".to_owned(),
        "status" => "write status = [200, 204]".to_owned(),
        "interval" | "timeout" | "drain_timeout" | "health_timeout" | "idle_timeout" => {
            format!("write a time span in quotes: {last} = \"30s\"")
        }
        "restarted_at" => "write restarted_at = \"2026-11-23T15:00:00Z\"".to_owned(),
        "route" => "write a section in double brackets: [[route]]".to_owned(),
        "network" if keys == "network" => "write network = true".to_owned(), // of a function
        "aliases" | "files" => format!("write {last} = [\"…\"]"),
        "preload" | "max_requests" | "max_concurrency" | "max_queue" | "path_info_strip" => {
            format!("write a number without quotes: {last} = 3")
        }
        "concurrency" | "slots" | "max_surge" | "retries" => format!("write a number without quotes: {last} = 3"),
        "volume" => "write volume = [\"./conf:/etc/app:ro\"]".to_owned(),
        "tmpfs" | "secret" | "network" | "add_capability" | "drop_capability" => format!("write {last} = [\"…\"]"),
        "podman_args" => "write podman_args = [\"--init\"]".to_owned(),
        "read_only" => "write read_only = true".to_owned(),
        "image" => "write image = \"docker.io/library/nginx:1.27\"".to_owned(),
        "template" => "write template = \"pod.yaml\"".to_owned(),
        "listen" if keys == "port.listen" => "write listen = \"127.0.0.1:5432\"".to_owned(),
        "port" if keys == "port" => "write a section in double brackets: [[port]]".to_owned(),
        "port" => "write a number without quotes: port = 8080".to_owned(),
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
    "container",
    "pod",
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
