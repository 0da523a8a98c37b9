//! Files of other tools become declarations that compile; the snapshots are all that is written, and every note.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::import::{self, Imported, Kind};
use conductor::layout::Layout;
use conductor::target::systemd::Units;
use conductor::template;
use proptest::prelude::*;

const CASES: &str = "tests/cases/import";

/// The cases of every kind: a directory each.
fn cases() -> Vec<(String, Utf8PathBuf)> {
    let mut cases = Vec::new();
    for (kind, _) in Kind::ALL {
        let dir = Utf8Path::new(CASES).join(kind);
        for entry in dir.read_dir_utf8().unwrap_or_else(|error| panic!("{dir}: {error}")) {
            cases.push(((*kind).to_owned(), entry.expect("a case").into_path()));
        }
    }
    cases.sort();
    cases
}

/// Writes what was imported below a root, as `conductor service declare` would, and compiles it.
fn compile(imported: &Imported) -> Result<usize, String> {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let scratch = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
    let (written, root) = (scratch.join("written"), scratch.join("root"));
    for (path, file) in &imported.files {
        let path = written.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, &file.content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(if file.executable { 0o755 } else { 0o644 }))
            .expect("a mode");
    }
    let variables: BTreeMap<_, _> = imported.variables.iter().map(|name| (name.clone(), "1".to_owned())).collect();
    let to = root.join("etc/conductor/services").join(imported.name.as_str());
    fs::create_dir_all(&to).expect("a directory");
    template::render_dir(&written, &to, &variables).map_err(|errors| errors.to_string())?;
    let host = compile::compile(&Layout::system(&root), &Units(Some(252)));
    match host.errors.values().next() {
        Some(errors) => Err(errors.to_string()),
        None => Ok(host.services.len()),
    }
}

fn show(imported: &Imported) -> String {
    let mut text = format!("{}, {} keys translated\n", imported.name, imported.translated());
    // Whether the sandbox hides the sources depends on where they are.
    for note in imported.notes().iter().filter(|note| !note.starts_with("do cp -r")) {
        let _ = writeln!(text, "{note}");
    }
    if !imported.variables.is_empty() {
        let _ = writeln!(text, "variables: {:?}", imported.variables);
    }
    for (path, file) in &imported.files {
        let mark = if file.executable { " (executable)" } else { "" };
        let _ = write!(text, "\n## {path}{mark}\n{}", String::from_utf8_lossy(&file.content));
    }
    text.replace(env!("CARGO_MANIFEST_DIR"), "/src")
}

#[test]
fn each_kind_becomes_a_declaration_that_compiles() {
    let cases = cases();
    assert!(cases.len() >= 14, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (kind, case) in cases {
        let imported = import::import(&case, None, None).unwrap_or_else(|errors| panic!("{case}: {errors}"));
        let name = format!("import-{kind}-{}", case.file_name().expect("a name"));
        common::settings().bind(|| insta::assert_snapshot!(name, show(&imported)));
        if imported.is_function() {
            continue;
        }
        match compile(&imported) {
            Ok(services) => assert!(services > 0, "{case}"),
            Err(errors) => wrong.push(format!("{case}: {errors}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Writes a file and imports it; returns the error.
fn error_of(name: &str, text: &str, kind: Option<Kind>) -> String {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
    fs::write(dir.join(name), text).expect("a file");
    match import::import(&dir.join(name), kind, None) {
        Ok(imported) => panic!("{name}: {}", show(&imported)),
        Err(errors) => errors.to_string().replace(dir.as_str(), ""),
    }
}

#[test]
fn mistakes_have_their_place() {
    let compose = Some(Kind::Compose);
    let cases = [
        ("compose.yaml", "services:\n  web: {image: [}\n", None),
        ("compose.yaml", "services: [web]\n", compose),
        ("compose.yaml", "version: '3'\n", compose),
        ("compose.yaml", "services:\n  web: {ports: ['80']}\n", None),
        ("compose.yaml", "", compose),
        ("notes.txt", "hello\n", None),
        ("notes.yaml", "hello: world\n", None),
        ("Procfile", "web: bin/web\nworker\n", None),
        ("Procfile", "# nothing\n", None),
        ("a.service", "[Unit]\nDescription=A\n", None),
        ("a.container", "[Container]\nExec=a\n", None),
        ("a.network", "[Network]\n", None),
        ("a.kube", "[Kube]\nYaml=missing.yaml\n", None),
        ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", None),
        ("deploy.yml", "image: a\nservers: [a]\n", Some(Kind::Kamal)),
        ("conductor-service.json", "{\"app_name\": \"a\", \"functions\": [{\"format\": \"cgi\"}]}", None),
        ("conductor-service.json", "{\"app_name\": ", None),
    ];
    let mut text = String::new();
    for (name, source, kind) in cases {
        let _ = writeln!(text, "{}\n", error_of(name, source, kind));
    }
    common::settings().bind(|| insta::assert_snapshot!("import-errors", text));
}

#[test]
fn a_directory_of_several_kinds_is_asked_about() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path");
    fs::write(dir.join("Procfile"), "web: web\n").expect("a file");
    fs::write(dir.join("a.service"), "[Service]\nExecStart=/usr/bin/a\n").expect("a file");
    let error = import::import(dir, None, None).expect_err("two kinds").to_string();
    assert!(error.contains("files of several kinds") && error.contains("--from"), "{error}");
    let imported = import::import(dir, Some(Kind::Systemd), None).expect("a declaration");
    assert_eq!(compile(&imported), Ok(1));
}

/// The sources of all cases, each with the name and the kind by which it is read.
fn sources() -> Vec<(String, String, Kind)> {
    let kind = |name: &str| Kind::ALL.iter().find(|(known, _)| *known == name).expect("a kind").1;
    let mut sources = Vec::new();
    for (of, case) in cases() {
        let dir = if of == "kamal" { case.join("config") } else { case };
        for entry in dir.read_dir_utf8().expect("a case").map(|entry| entry.expect("a file").into_path()) {
            if let Ok(text) = fs::read_to_string(&entry) {
                sources.push((entry.file_name().expect("a name").to_owned(), text, kind(&of)));
            }
        }
    }
    sources
}

/// Changes a text: cuts, repeats, replaces or swaps stretches of it.
fn mutated(text: &str, changes: &[(u8, usize, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (how, from, length, new) in changes {
        let from = from % (chars.len() + 1);
        let to = (from + length).min(chars.len());
        let cut: Vec<char> = chars[from..to].to_vec();
        match how % 4 {
            0 => drop(chars.drain(from..to)),
            1 => drop(chars.splice(from..from, cut)),
            2 => drop(chars.splice(from..to, new.chars())),
            _ => {
                chars.drain(from..to);
                let at = (from * 7) % (chars.len() + 1);
                chars.splice(at..at, cut);
            }
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a file has in it, it is an error or a declaration in TOML.
    #[test]
    fn no_source_panics(
        index in 0usize..1000,
        other in 0usize..7,
        changes in prop::collection::vec(
            (0u8..4, 0usize..4000, 0usize..60, "[\\[\\]{}:\\-#&*!|>'\"%@`$=/\\\\ \n\ta0é\u{0}]{0,6}"), 0..6),
    ) {
        let sources = sources();
        let (name, text, kind) = &sources[index % sources.len()];
        // One in eight is read as another kind.
        let kind = if index % 8 == 0 { Kind::ALL[other].1 } else { *kind };
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = Utf8Path::from_path(scratch.path()).expect("a UTF-8 path").join(name);
        fs::write(&path, mutated(text, &changes)).expect("a file");
        if let Ok(imported) = import::import(&path, Some(kind), None)
            && !imported.is_function()
        {
            let toml = &imported.files[Utf8Path::new("service.toml")].content;
            let rendered = std::str::from_utf8(toml).expect("UTF-8");
            let mut out = String::new();
            let _ = compile(&imported).map_err(|error| out = error);
            prop_assert!(!out.contains("not valid TOML"), "{out}\n{rendered}");
            prop_assert!(!out.contains("unknown key") && !out.contains("the compiler failed"), "{out}\n{rendered}");
        }
    }
}
