//! Output that cannot be written: the program reports the error and ends in order.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

/// A machine's root with many services.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a scratch directory");
    for number in 0..300 {
        let dir = root.path().join(format!("etc/conductor/services/web-{number}"));
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("service.toml"), "[exec]\ncommand = ['/bin/true']\n").expect("a declaration");
    }
    root
}

fn conductor(root: &tempfile::TempDir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
    command.arg("--root").arg(root.path()).args(words).stdin(Stdio::null());
    command
}

/// Commands that print something, and work without a running systemd.
const VERBS: &[&[&str]] = &[
    &["service", "show", "web-0"],
    &["render"],
    &["explain", "web-0"],
    &["explain", "web-0", "--json"],
    &["completions", "bash"],
    &["--help"],
    &["--version"],
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_full_disk_is_told() {
    let root = root();
    for words in VERBS {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = conductor(&root, words).stdout(full).output().expect("it runs");
        let told = "error: cannot write to standard output: No space left on device";
        assert!(text(&output.stderr).starts_with(told), "{words:?}: {output:?}");
        assert_eq!(output.status.code(), Some(1), "{words:?}");
    }
}

#[test]
fn what_is_wrong_is_told_although_the_disk_is_full() {
    let root = root();
    fs::write(root.path().join("etc/conductor/services/web-0/service.toml"), "").expect("a declaration");
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = conductor(&root, &["render"]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).contains("web-0/service.toml"), "{output:?}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let root = root();
    for words in VERBS {
        let mut child = conductor(&root, words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        reader.read_line(&mut String::new()).expect("a line");
        drop(reader);
        let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
        assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()), "{words:?}");
    }
}

#[test]
fn a_closed_standard_error_ends_nothing() {
    let root = root();
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = conductor(&root, &["service", "show", "nobody"]).stderr(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
