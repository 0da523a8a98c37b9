//! What cases compile to: whole trees, and every error with its place and remedy.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile::{self, Host};
use conductor::layout::Layout;
use conductor::tree::Entry;

/// The systemd that cases are rendered for, unless they are about versions.
const SYSTEMD: u16 = 252;

fn cases(kind: &str) -> Vec<Utf8PathBuf> {
    let dir = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(kind);
    let mut cases: Vec<_> =
        dir.read_dir_utf8().expect("the cases are there").map(|entry| entry.expect("a case").into_path()).collect();
    cases.sort();
    cases
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn show(host: &Host) -> String {
    let mut text = String::new();
    for (service, errors) in &host.errors {
        let name = service.as_ref().map_or("(no service)", |name| name.as_str());
        let _ = writeln!(text, "!! {name}\n{errors}\n");
    }
    for (path, entry) in host.tree.iter() {
        let _ = match entry {
            Entry::File { content, mode } => {
                writeln!(text, "## {path} {mode:o}\n{}", String::from_utf8_lossy(content))
            }
            Entry::Symlink { target } => writeln!(text, "## {path} -> {target}\n"),
        };
    }
    text
}

/// A root to declare services under; they have an executable file `server` and a plain one `data`.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a scratch directory"))
    }

    fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).expect("a UTF-8 path")
    }

    fn layout(&self) -> Layout {
        Layout::system(self.root())
    }

    fn declare(&self, name: &str, text: &str) {
        let dir = self.root().join("etc/conductor/services").join(name);
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("service.toml"), text).expect("a declaration");
        for (name, mode) in [("server", 0o755), ("data", 0o644)] {
            fs::write(dir.join(name), "#!/bin/sh\n").expect("a file");
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).expect("its mode");
        }
    }
}

/// A host's files under a root: the tree that its generator writes.
#[test]
fn hosts() {
    for case in cases("hosts") {
        let host = compile::compile(&Layout::system(&case), Some(SYSTEMD));
        snapshot(&format!("host-{}", case.file_name().expect("a name")), &show(&host));
    }
}

/// One broken `service.toml` each. Its first comment may say `# systemd 257`.
#[test]
fn errors() {
    let all = cases("errors");
    assert!(all.len() >= 50, "there are {} error cases", all.len());
    let mut wrong = Vec::new();
    for case in all {
        let text = fs::read_to_string(&case).expect("a case");
        let version = text.lines().next().and_then(|line| line.strip_prefix("# systemd "));
        let systemd = version.map_or(SYSTEMD, |version| version.trim().parse().expect("a version"));
        let scratch = Scratch::new();
        scratch.declare("web", &text);
        let host = compile::compile(&scratch.layout(), Some(systemd));
        let name = case.file_stem().expect("a name");
        if !host.services.is_empty() {
            wrong.push(format!("{name} compiles"));
            continue;
        }
        let errors: Vec<_> = host.errors.values().map(ToString::to_string).collect();
        if host.errors.values().flat_map(|errors| &errors.0).any(|error| error.remedy().is_empty()) {
            wrong.push(format!("{name} has an error without a remedy"));
        }
        snapshot(&format!("error-{name}"), &errors.join("\n\n"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The same input gives the same bytes, and comments, order and white space give the same generation.
#[test]
fn compilation_is_deterministic() {
    let parse = |text: &str| {
        let scratch = Scratch::new();
        scratch.declare("web", text);
        let host = compile::compile(&scratch.layout(), Some(SYSTEMD));
        assert!(host.errors.is_empty(), "{}", show(&host));
        host
    };
    let plain =
        "description = 'x'\nconfig = { A = '1', B = '2' }\n[exec]\ncommand = ['/bin/true']\n[health]\ntcp = true\n";
    let other = "# hello\nconfig = { B = '2',   A = '1' }\ndescription = \"x\"\n[health]\ntcp = true\n\n[exec]\ncommand = [\"/bin/true\"]\n";
    let (one, two) = (parse(plain), parse(other));
    assert_eq!(one.tree, two.tree);
    assert_eq!(parse(plain).tree, one.tree);
    let changed = parse(&plain.replace("'2'", "'3'"));
    let id = |host: &Host| host.services.values().next().expect("a service").id.clone();
    assert_eq!(id(&one), id(&two));
    assert_ne!(id(&one), id(&changed));
}
