//! Starter declarations: each is in order as it is written.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const KINDS: &[&str] = &["exec", "container", "pod", "cgi", "python", "node", "php", "static", "worker", "job"];

fn conductor(root: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
    command.current_dir(root).arg("--root").arg(root).args(words).output().expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A machine's root, with Caddy or without a reverse proxy.
fn root(has_proxy: bool) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    if has_proxy {
        let path = root.path().join("usr/lib/systemd/system/caddy.service");
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, "[Service]\nExecStart=/usr/bin/caddy\n").expect("a unit");
    }
    root
}

#[test]
fn every_starter_is_in_order() {
    for has_proxy in [true, false] {
        let root = root(has_proxy);
        for kind in KINDS {
            let name = format!("a-{kind}");
            let made = conductor(root.path(), &["new", &name, &format!("--{kind}")]);
            assert!(made.status.success(), "{kind}: {}", text(&made));
            let file = if *kind == "cgi" { "function.toml" } else { "service.toml" };
            let toml = fs::read_to_string(root.path().join(&name).join(file)).expect("a declaration");
            assert!(toml.starts_with(&format!("#:schema /usr/share/conductor/schemas/{file}.schema.json\n")), "{toml}");
            assert!(!toml.contains("NAME"), "{toml}");
            // `check` asks systemd for programs too, which this machine need not have.
            let rendered = conductor(root.path(), &["render", &format!("./{name}")]);
            assert!(rendered.status.success(), "{kind}: {}", text(&rendered));
            let again = conductor(root.path(), &["new", &name]);
            assert!(text(&again).contains("already exists and is not empty"), "{}", text(&again));
        }
        let site = fs::read_to_string(root.path().join("a-python/service.toml")).expect("a declaration");
        assert_eq!(site.contains("[[route]]"), has_proxy, "{site}");
    }
}
