//! A declaration with texts that must arrive, and what it compiles to.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use conductor::compile;
use conductor::compile::host::{Compiled, Host};
use conductor::layout::Layout;
use conductor::names::ServiceName;
use conductor::target::systemd::Units;
use conductor::tree::Tree;

/// Keys whose texts must arrive unchanged, each with a word of its own to be replaced by another. Those of all other keys
/// are in `keys`.
const DECLARATION: &str = r#"
description = "<description>"
config = { CONFIG = "<config>" }

[exec]
command = ["./server", "<argument>", "<argument>"]
environment = { VARIABLE = "<variable>" }
user = "<user>"
credentials = { db = "/<credential>" }
credentials_encrypted = { key = "/<encrypted>" }

[hooks]
pre_start = ["./server", "<pre_start>"]
post_start = ["/<program>", "<post_start>"]
pre_stop = ["<word>", "<pre_stop>"]
drain = ["./server", "<drained>"]
post_stop = ["./server", "<post_stop>"]

[condition]
host = "<on>"
path = ["!/<there>"]

[systemd.service]
SyslogIdentifier = "<identifier>"
ReadWritePaths = ["<writable>"]
"#;

/// What stands there when it is harmless.
pub(crate) const PLACES: &[(&str, &str)] = &[
    ("description", "x"),
    ("config", "x"),
    ("argument", "x"),
    ("variable", "x"),
    ("user", "x"),
    ("credential", "x"),
    ("encrypted", "x"),
    ("on", "x"),
    ("there", "x"),
    ("pre_start", "x"),
    ("program", "x"),
    ("post_start", "x"),
    ("word", "x"),
    ("pre_stop", "x"),
    ("drained", "x"),
    ("post_stop", "x"),
    ("identifier", "x"),
    ("writable", "/x"),
];

/// The declaration with a text in one place and harmless ones in all others.
pub(crate) fn declaration(place: &str, text: &str) -> String {
    PLACES.iter().fold(DECLARATION.to_owned(), |declaration, (name, harmless)| {
        let text = if *name == place { text } else { harmless };
        declaration.replace(&format!("<{name}>"), &in_quotes(text))
    })
}

/// The inside of a basic string of TOML.
pub(crate) fn in_quotes(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn declare(root: &Utf8Path, text: &[u8]) {
    declare_in(&root.join("etc/conductor/services/web"), text);
}

pub(crate) fn declare_in(dir: &Utf8Path, text: &[u8]) {
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("service.toml"), text).expect("a declaration");
    fs::write(dir.join("server"), "").expect("a program");
    fs::set_permissions(dir.join("server"), fs::Permissions::from_mode(0o755)).expect("its mode");
}

pub(crate) fn compile(text: &[u8]) -> Host {
    let root = tempfile::tempdir().expect("a scratch directory");
    let root = Utf8Path::from_path(root.path()).expect("a UTF-8 path");
    declare(root, text);
    let host = compile::compile(&Layout::system(root), &Units(Some(252)));
    for error in host.errors.values() {
        // The compiler says this of itself when it panicked.
        assert!(!error.to_string().contains("this is a bug"), "{error}");
    }
    host
}

/// A compiled service with its units.
pub(crate) struct Seen {
    compiled: Compiled,
    pub(crate) units: Tree,
}

impl Seen {
    pub(crate) fn new(layout: &Layout, compiled: &Compiled) -> Self {
        Self { compiled: compiled.clone(), units: compiled.units(layout, &Units(Some(252))) }
    }
}

impl Deref for Seen {
    type Target = Compiled;

    fn deref(&self) -> &Compiled {
        &self.compiled
    }
}

pub(crate) fn web(host: &Host) -> Option<Seen> {
    web_of(&Layout::system("/".into()), host)
}

/// The same for a user's services.
pub(crate) fn web_of(layout: &Layout, host: &Host) -> Option<Seen> {
    host.services.get(&ServiceName::new("web").expect("a name")).map(|compiled| Seen::new(layout, compiled))
}
