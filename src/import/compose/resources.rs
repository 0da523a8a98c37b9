//! `deploy`, limits and restarts of a service of compose.

use super::service::{Translation, seconds};
use crate::import::tree::{Entry, Keys, Node};

/// Translates what concerns the number of containers, their resources and their ends.
pub(super) fn translate(one: &mut Translation<'_>) {
    if let Some(entry) = one.take("scale") {
        replicas(one, entry, &entry.node);
    }
    for (key, to) in [
        ("mem_limit", "memory_max"),
        ("mem_reservation", "memory_low"),
        ("cpus", "cpu_quota"),
        ("pids_limit", "tasks_max"),
        ("cpu_shares", "cpu_weight"),
    ] {
        if let Some(entry) = one.take(key) {
            limit(one, entry, &entry.node, to);
        }
    }
    if let Some(entry) = one.take("stop_grace_period") {
        match one.fixed(entry, &entry.node).as_deref().and_then(crate::timespan::parse) {
            Some(span) if !span.is_zero() => one.service.set("deploy", "drain_timeout", seconds(span.as_secs_f64())),
            _ => one.omit(entry, "it is no time span above zero"),
        }
    }
    if let Some(entry) = one.take("restart") {
        restart(one, entry, entry.node.text().unwrap_or_default());
    }
    if let Some(entry) = one.take("deploy") {
        deploy(one, entry);
    }
}

fn replicas(one: &mut Translation<'_>, entry: &Entry, node: &Node) {
    match one.fixed(entry, node).and_then(|text| text.parse::<i64>().ok()) {
        Some(1) => {}
        Some(number @ 2..=512) => {
            one.service.set("", "concurrency", number);
            if number > 12 {
                one.service.set("", "slots", number);
            }
            if !one.service.ports.is_empty() {
                one.approximate(
                    entry,
                    "callers of a [[port]] reach the first deployment; those of a [[route]] reach all",
                );
            }
        }
        _ => one.omit(entry, "a service runs 1 to 512 deployments: `conductor service stop` stops it"),
    }
}

fn limit(one: &mut Translation<'_>, entry: &Entry, node: &Node, to: &str) {
    let Some(text) = one.fixed(entry, node) else { return };
    let value = match to {
        "cpu_quota" => text
            .parse::<f64>()
            .ok()
            .filter(|cpus| *cpus > 0.0 && *cpus < 1e6)
            .map(|cpus| format!("{}%", (cpus * 100.0).round().max(1.0))),
        "cpu_weight" => text.parse::<f64>().ok().map(|shares| {
            one.approximate(entry, "1024 shares are a weight of 100");
            format!("{}", (shares * 100.0 / 1024.0).round().clamp(1.0, 10000.0))
        }),
        "tasks_max" => text.parse::<u32>().ok().filter(|tasks| *tasks > 0).map(|tasks| tasks.to_string()),
        _ => bytes(&text),
    };
    match value {
        Some(value) => one.service.set("resources", to, value),
        None if text == "0" || text == "-1" => {}
        None => one.omit(entry, format!("{text:?} is no limit")),
    }
}

/// Writes bytes of docker as systemd has them: `512m` is `512M`.
pub(crate) fn bytes(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    number.parse::<f64>().ok().filter(|number| *number > 0.0)?;
    let unit = match unit.trim() {
        "" | "b" => "",
        "k" | "kb" | "kib" | "ki" => "K",
        "m" | "mb" | "mib" | "mi" => "M",
        "g" | "gb" | "gib" | "gi" => "G",
        "t" | "tb" | "tib" | "ti" => "T",
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// systemd starts again what ends, which is what most files ask for.
fn restart(one: &mut Translation<'_>, entry: &Entry, policy: &str) {
    if matches!(policy, "no" | "false" | "none" | "") {
        let text =
            "systemd starts again what ends: for what ends by itself write a [commands.NAME] with `inside = true`";
        one.approximate(entry, text);
    }
}

fn deploy(one: &mut Translation<'_>, entry: &Entry) {
    let keys = Keys::new(one.keys.dotted("deploy"), &entry.node);
    if let Some(entry) = keys.take("replicas", one.report) {
        replicas(one, entry, &entry.node);
    }
    if let Some(entry) = keys.take("resources", one.report) {
        for (at, to) in [
            (["limits", "memory"], "memory_max"),
            (["limits", "cpus"], "cpu_quota"),
            (["limits", "pids"], "tasks_max"),
            (["reservations", "memory"], "memory_low"),
        ] {
            if let Some(node) = entry.node.at(&at) {
                limit(one, entry, node, to);
            }
        }
        if let Some(cpus) = entry.node.at(&["reservations", "cpus"]) {
            report(one, cpus, &keys, "resources.reservations.cpus", "write cpu_weight in [resources]");
        }
        if let Some(devices) = entry.node.at(&["reservations", "devices"]) {
            let text = "write --device=nvidia.com/gpu=all or the like in podman_args";
            report(one, devices, &keys, "resources.reservations.devices", text);
        }
    }
    if let Some(entry) = keys.take("restart_policy", one.report) {
        let condition = entry.node.text_at(&["condition"]).unwrap_or("any");
        if condition == "none" {
            keys.approximate(entry, "systemd starts again what ends", one.report);
        }
    }
    if let Some(entry) = keys.take("update_config", one.report) {
        if let Some(number @ 2..=512) = entry.node.get("parallelism").and_then(Node::number) {
            one.service.set("deploy", "max_surge", number);
        }
        for option in entry.node.entries().iter().filter(|option| option.key != "parallelism") {
            let text = match option.key.as_str() {
                "order" if option.node.text() == Some("start-first") => continue,
                "order" => "new deployments start before old ones stop; strategy = \"recreate\" turns that round",
                "failure_action" => "a deployment that does not become healthy rolls the service back",
                "delay" | "monitor" | "max_failure_ratio" => "a deployment takes over when it is healthy",
                _ => continue,
            };
            let path = format!("{}.update_config.{}", keys.path, option.key);
            one.report.approximated(&option.position, path, text);
        }
    }
    keys.finish(one.report, |key| match key {
        "placement" | "mode" | "endpoint_mode" | "labels" => Some("it is for a cluster"),
        "rollback_config" => Some("`conductor service rollback` restores the previous generation"),
        _ => None,
    });
}

fn report(one: &mut Translation<'_>, node: &Node, keys: &Keys<'_>, key: &str, text: &str) {
    one.report.omitted(&node.position, keys.dotted(key), text);
}
