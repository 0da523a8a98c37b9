//! The configuration of each proxy for the same routes, and its errors. Scenarios have the proxies read it.

mod common;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use conductor::compile;
use conductor::layout::Layout;
use conductor::target::systemd::Units;
use conductor::tree::Entry;

const DRIVERS: [&str; 4] = ["caddy", "nginx", "haproxy", "none"];

/// Compiles one service for a proxy, and returns the errors and the proxy's files.
fn compiled(declaration: &str, driver: &str, settings: &str) -> String {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
    let service = root.join("etc/conductor/services/web");
    fs::create_dir_all(&service).expect("a directory");
    fs::write(root.join("etc/conductor/conductor.toml"), format!("[proxy]\ndriver = {driver:?}\n{settings}"))
        .expect("settings");
    fs::write(service.join("service.toml"), declaration).expect("a declaration");
    fs::write(service.join("server"), "#!/bin/sh\n").expect("a file");
    fs::set_permissions(service.join("server"), fs::Permissions::from_mode(0o755)).expect("its mode");
    let host = compile::compile(&Layout::system(root), &Units(Some(252)));
    let mut text = String::new();
    for errors in host.errors.values() {
        let _ = writeln!(text, "!! {errors}\n");
    }
    for (path, entry) in host.proxy.iter().filter(|(path, _)| path.starts_with("conductor/proxy")) {
        if let Entry::File { content, .. } = entry {
            let _ = writeln!(text, "## {path}\n{}", String::from_utf8_lossy(content));
        }
    }
    text
}

#[test]
fn the_same_routes_for_each_proxy() {
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/proxies");
    for case in dir.read_dir_utf8().expect("the cases are there").map(|entry| entry.expect("a case").into_path()) {
        let declaration = fs::read_to_string(&case).expect("a case");
        // A case may begin with a line of the host's settings.
        let settings = declaration.lines().next().and_then(|line| line.strip_prefix("# [proxy] ")).unwrap_or_default();
        for driver in DRIVERS {
            let text = compiled(&declaration, driver, settings);
            if driver == "none" {
                assert_eq!(text, "", "{case}");
                continue;
            }
            let name = format!("proxy-{}-{driver}", case.file_stem().expect("a name"));
            common::settings().bind(|| insta::assert_snapshot!(name, text));
        }
    }
}

#[test]
fn only_addresses_are_trusted() {
    let declaration = "exec.command = ['./server']\n";
    for wrong in ["10.0.0.0/33", "lb.example.com", "private_ranges"] {
        let text = compiled(declaration, "caddy", &format!("trusted_proxies = [{wrong:?}]\n"));
        assert!(text.contains("is neither an address nor a network"), "{wrong}: {text}");
    }
}
