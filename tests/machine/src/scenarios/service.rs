//! `conductor service VERB`, and declarations that were written by hand.

use std::time::{Duration, Instant};

use conductor_machine::command::Output;
use conductor_machine::load::{Running, Seen};
use conductor_machine::machine::Machine;
use serde_json::Value;

use super::shop;

pub(super) const OVER: &str = "/etc/conductor/services/shop.d";

/// What a verb prints; it must succeed.
#[track_caller]
pub(super) fn service(m: &Machine, words: &str) -> String {
    m.run(&format!("conductor service {words}"))
}

/// A verb that must fail, saying these things.
#[track_caller]
pub(super) fn refused(m: &Machine, words: &str, code: i32, says: &[&str]) -> Output {
    let output = m.try_run(&format!("conductor service {words}"));
    assert_eq!(output.status, code, "{words}: {output}");
    for say in says {
        assert!(output.stderr.contains(say), "{words} does not say {say:?}: {output}");
    }
    output
}

#[track_caller]
pub(super) fn without_failures(m: &Machine, load: Running) -> Seen {
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(&seen);
    seen
}

/// All that is declared, for telling whether a refused verb left anything.
pub(super) fn declared(m: &Machine) -> String {
    m.run("cd /etc/conductor/services; find . -type f -o -type l | sort | xargs tail -n +1; find . | sort")
}

pub(super) fn is_active(m: &Machine, concurrency: u32) {
    assert_eq!(shop::deployments(m), shop::active(&shop::generation(m), 1..=concurrency));
}

pub(super) fn toml(name: &str) -> String {
    format!("/etc/conductor/services/{name}/service.toml")
}

/// A declaration that was written by hand, of one deployment at NAME.localhost. The application has to be
/// at its path already.
pub(super) fn write_declaration(m: &Machine, name: &str, version: &str, extra: &str) {
    let text = format!(
        r#"[exec]
command = ["/usr/local/bin/app", "--version", "{version}"]
[health]
http = "/healthz"
[[route]]
host = ["{name}.localhost"]
tls = "off"
{extra}
"#
    );
    m.write(&toml(name), &text);
}

pub(super) fn get(m: &Machine, host: &str) -> String {
    m.try_run(&format!("curl --silent --fail --max-time 5 http://{host}.localhost/")).stdout.trim().to_owned()
}

pub(super) fn status(m: &Machine, name: &str) -> Value {
    let text = m.run(&format!("conductor service status {name} --json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The result of work, and how long it took.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
