//! The generator as systemd runs it: arguments, scopes, what it writes and says, and what it never does.
//! Two tests need strace(1).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};
use std::sync::LazyLock;

use camino::{Utf8Path, Utf8PathBuf};
use conductor::compile;
use conductor::directive;
use conductor::layout::Layout;
use conductor::names::ServiceName;
use conductor::service::store;
use conductor::target::systemd::Units;
use conductor::tree::Tree;
use conductor::write;

/// The generator's binary, built as these tests are.
static GENERATOR: LazyLock<Utf8PathBuf> = LazyLock::new(|| {
    let ours = Utf8Path::new(env!("CARGO_BIN_EXE_conductor"));
    let built = ours.parent().expect("the directory of the profile");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "conductor-generator", "--target-dir"]);
    cargo.arg(built.parent().expect("the target directory"));
    if built.file_name() == Some("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(status.success(), "the generator is built");
    built.join("conductor-generator")
});

const WEB: &str =
    "description = 'Web shop'\n[exec]\ncommand = ['/usr/bin/true']\n[[route]]\nhost = ['www.example.com']\n";

/// A root with declarations, and the three directories of a generator.
struct Machine {
    scratch: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { scratch: tempfile::tempdir().expect("a scratch directory") };
        for dir in ["root", "normal", "early", "late"] {
            fs::create_dir(machine.path(dir)).expect("a directory");
        }
        machine
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.scratch.path()).expect("a UTF-8 path").join(name)
    }

    fn declare(&self, dir: &str, text: &str) {
        let dir = self.path("root").join(dir);
        fs::create_dir_all(&dir).expect("a directory");
        fs::write(dir.join("service.toml"), text).expect("a declaration");
    }

    /// The generator with so many of its directories and nothing in its environment but the root and these.
    fn command(&self, directories: usize, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&*GENERATOR);
        command.args(["normal", "early", "late"].iter().take(directories).map(|dir| self.path(dir)));
        command.env_clear().env("CONDUCTOR_ROOT", self.path("root")).envs(environment.iter().copied());
        command
    }

    fn run(&self, directories: usize, environment: &[(&str, &str)]) -> Output {
        self.command(directories, environment).output().expect("the generator runs")
    }

    /// What is in one of its directories.
    fn written(&self, dir: &str) -> Tree {
        write::read_tree(&self.path(dir)).expect("a directory")
    }
}

/// Compiles what a root declares, for the systemd in it.
fn compiled(root: &Utf8Path, layout: &Layout) -> Tree {
    let target = Units(directive::systemd_version(root.as_std_path()));
    compile::compile(layout, &target).tree(layout, &target)
}

#[track_caller]
fn assert_silent_success(output: &Output) {
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[track_caller]
fn assert_failure(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(words), "{said}");
}

#[test]
fn every_case_is_written_as_it_compiles() {
    let cases = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/hosts");
    for case in cases.read_dir_utf8().expect("the cases") {
        let root = case.expect("a case").into_path();
        let machine = Machine::new();
        let output = machine.run(3, &[("CONDUCTOR_ROOT", root.as_str())]);
        assert!(output.status.success(), "{root}: {output:?}");
        assert_eq!(machine.written("normal"), compiled(&root, &Layout::system(&root)), "{root}");
    }
}

#[test]
fn one_two_or_three_directories() {
    for directories in 1..=3 {
        let machine = Machine::new();
        machine.declare("etc/conductor/services/web", WEB);
        assert_silent_success(&machine.run(directories, &[]));
        let root = machine.path("root");
        let tree = compiled(&root, &Layout::system(&root));
        assert!(tree.get("web.service".into()).is_some());
        assert_eq!(machine.written("normal"), tree);
        assert!(machine.written("early").is_empty() && machine.written("late").is_empty());
    }
}

#[test]
fn other_numbers_of_directories_are_refused() {
    let machine = Machine::new();
    assert_failure(&machine.run(0, &[]), "usage: conductor-generator");
    let output = machine.command(3, &[]).arg("/fourth").output().expect("the generator runs");
    assert_failure(&output, "usage: conductor-generator");
    assert!(machine.written("normal").is_empty());
}

#[test]
fn a_directory_that_is_not_utf_8_is_refused() {
    let machine = Machine::new();
    machine.declare("etc/conductor/services/web", WEB);
    for directories in 0..3 {
        let mut command = machine.command(directories, &[]);
        let output = command.arg(OsStr::from_bytes(b"/not\xff")).output().expect("the generator runs");
        assert_failure(&output, "conductor-generator: \"/not\\xFF\" is not UTF-8\n");
        assert!(machine.written("normal").is_empty());
    }
}

#[test]
fn a_users_manager_has_a_users_declarations() {
    let machine = Machine::new();
    machine.declare("etc/conductor/services/system", WEB);
    machine.declare("home/ann/configuration/conductor/services/web", "[exec]\ncommand = ['/usr/bin/true']\n");
    let variables = [
        ("SYSTEMD_SCOPE", "user"),
        ("HOME", "/home/ann"),
        ("XDG_CONFIG_HOME", "/home/ann/configuration"),
        ("XDG_RUNTIME_DIR", "/run/user/1000"),
    ];
    assert_silent_success(&machine.run(3, &variables));
    let root = machine.path("root");
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let layout = Layout::user(&root, variable).expect("a user's layout");
    let tree = machine.written("normal");
    assert_eq!(tree, compiled(&root, &layout));
    assert!(tree.get("system.service".into()).is_none());
    let unit = tree.text("web.service".into()).expect("the user's service");
    assert!(unit.contains("conductor --user service _start /home/ann/configuration/conductor/services/web"), "{unit}");
}

#[test]
fn a_user_without_a_home_is_an_error() {
    let machine = Machine::new();
    assert_failure(&machine.run(3, &[("SYSTEMD_SCOPE", "user")]), "HOME is set");
    assert!(machine.written("normal").is_empty());
    // Where systemd does not say the scope, the directory does.
    let mut command = Command::new(&*GENERATOR);
    let output = command.env_clear().arg("/run/user/1000/systemd/generator").output().expect("the generator runs");
    assert_failure(&output, "HOME is set");
}

#[test]
fn the_initrd_has_no_services() {
    let machine = Machine::new();
    machine.declare("etc/conductor/services/web", WEB);
    assert_silent_success(&machine.run(3, &[("SYSTEMD_IN_INITRD", "1")]));
    assert!(machine.written("normal").is_empty());
    assert_silent_success(&machine.run(3, &[("SYSTEMD_IN_INITRD", "0")]));
    assert!(!machine.written("normal").is_empty());
}

#[test]
fn nothing_is_overwritten_or_followed() {
    let machine = Machine::new();
    machine.declare("etc/conductor/services/web", WEB);
    let other = machine.path("other");
    fs::write(&other, "another's").expect("a file");
    let unit = machine.path("normal").join("web.service");
    for attempt in ["a file", "a link", "a dangling link"] {
        let _ = fs::remove_dir_all(machine.path("normal"));
        fs::create_dir(machine.path("normal")).expect("a directory");
        match attempt {
            "a file" => fs::write(&unit, "another's").expect("a file"),
            "a link" => symlink(&other, &unit).expect("a link"),
            _ => symlink(machine.path("nowhere"), &unit).expect("a link"),
        }
        assert_failure(&machine.run(1, &[]), "web.service: File exists");
        assert_eq!(fs::read_to_string(&unit).unwrap_or("another's".to_owned()), "another's", "{attempt}");
        assert!(!machine.path("nowhere").exists());
    }
}

#[test]
fn errors_are_logged_and_lose_only_their_service() {
    let machine = Machine::new();
    machine.declare("etc/conductor/services/web", WEB);
    machine.declare("etc/conductor/services/mail", "concurrency = 'many'\n[exec]\ncommand = ['/usr/bin/true']\n");
    let output = machine.run(3, &[]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("/etc/conductor/services/mail/service.toml:1:15: concurrency: "), "{said}");
    assert!(lines[0].contains("; write a number without quotes"), "{said}");
    assert!(lines[1].contains("mail: not compiled"), "{said}");
    let tree = machine.written("normal");
    assert!(tree.get("web.service".into()).is_some() && tree.get("mail.service".into()).is_none());
    // Asked for less, it says less.
    let quiet = Machine::new();
    quiet.declare("etc/conductor/services/mail", "concurrency = 'many'\n");
    assert_silent_success(&quiet.run(3, &[("SYSTEMD_LOG_LEVEL", "crit")]));
}

/// A machine on which everything happens: a live generation, another one declared, a broken service
/// that runs, a broken one that does not.
fn busy() -> Machine {
    let machine = Machine::new();
    let layout = Layout::system(&machine.path("root"));
    for name in ["web", "mail"] {
        machine.declare(&format!("etc/conductor/services/{name}"), &WEB.replace("www", name));
        let host = compile::compile(&layout, &Units(None));
        let compiled = &host.services[&ServiceName::new(name).expect("a name")];
        let dir = layout.at(&layout.declaration(&compiled.service.name));
        store::store(&layout, &Units(None), compiled, &dir).expect("a stored generation");
    }
    machine.declare("etc/conductor/services/web", &WEB.replace("true", "false"));
    machine.declare("etc/conductor/services/mail", "[exec\n");
    machine.declare("usr/lib/conductor/services/blog", "[exec\n");
    machine
}

#[test]
fn live_generations_are_written_beside_the_declared_ones() {
    let machine = busy();
    let output = machine.run(3, &[]);
    assert!(output.status.success(), "{output:?}");
    let root = machine.path("root");
    let tree = machine.written("normal");
    assert_eq!(tree, compiled(&root, &Layout::system(&root)));
    let templates = |name: &str| {
        tree.iter().filter(|(path, _)| path.as_str().starts_with(name) && path.as_str().ends_with("@.service")).count()
    };
    assert_eq!((templates("web-"), templates("mail-"), templates("blog-")), (2, 1, 0));
}

impl Machine {
    /// Makes what is declared live, as its start would.
    fn start(&self, name: &str) {
        let layout = Layout::system(&self.path("root"));
        let host = compile::compile(&layout, &Units(None));
        let compiled = &host.services[&ServiceName::new(name).expect("a name")];
        let declared = name.split('.').next().expect("a declaration");
        let dir = layout.at(&layout.declaration(&ServiceName::new(declared).expect("a name")));
        store::store(&layout, &Units(None), compiled, &dir).expect("a stored generation");
    }

    /// Changes a snapshot's units, as if another version of conductor had rendered them.
    fn age(&self, name: &str, from: &str, to: &str) {
        let snapshots = self.path("root").join("run/conductor/generations").join(name);
        for snapshot in snapshots.read_dir_utf8().expect("snapshots") {
            let units = snapshot.expect("a snapshot").path().join("units.json");
            let text = fs::read_to_string(&units).expect("units");
            assert!(text.contains(from), "{text}");
            fs::write(&units, text.replace(from, to)).expect("units");
        }
    }

    /// Runs the generator, whose output must be what compiles; returns what is in the early directory.
    #[track_caller]
    fn settled(&self) -> Tree {
        for dir in ["normal", "early"] {
            fs::remove_dir_all(self.path(dir)).expect("a directory");
            fs::create_dir(self.path(dir)).expect("a directory");
        }
        let output = self.run(3, &[]);
        assert!(output.status.success(), "{output:?}");
        let root = self.path("root");
        assert_eq!(self.written("normal"), compiled(&root, &Layout::system(&root)));
        self.written("early")
    }
}

/// The generator removes the units of a service that loses its route to another, and keeps the units that it runs on.
#[test]
fn a_service_that_loses_has_what_is_live_and_nothing_else() {
    let machine = Machine::new();
    machine.declare("etc/conductor/services/web", WEB);
    machine.start("web");
    machine.declare("etc/conductor/services/shop", WEB);
    assert!(machine.settled().is_empty());
    assert!(!machine.path("normal").join("shop.service").exists(), "shop lost to web, which runs");
    // It runs itself, with another route, and is declared with the other's.
    machine.declare("etc/conductor/services/shop", &WEB.replace("www", "shop"));
    machine.start("shop");
    machine.declare("etc/conductor/services/shop", &WEB.replace("Web shop", "Other"));
    machine.settled();
    let unit = fs::read_to_string(machine.path("normal").join("shop.service")).expect("it runs");
    assert!(unit.contains("Description=Web shop"), "{unit}");
}

/// Deployments' units that compile to something else than what is live are where systemd finds them first.
#[test]
fn what_another_version_rendered_is_replaced() {
    let machine = Machine::new();
    machine.declare("etc/conductor/services/web", WEB);
    machine.start("web");
    assert!(machine.settled().is_empty());
    machine.age("web", "Type=exec", "Type=simple");
    let early = machine.settled();
    let paths: Vec<_> = early.iter().map(|(path, _)| path.as_str()).collect();
    assert!(matches!(paths[..], [path] if path.starts_with("web-") && path.ends_with("@.service")), "{paths:?}");
    // One that loses to others keeps the units that it runs on.
    machine.declare("etc/conductor/services/mail", &WEB.replace("www", "mail"));
    machine.start("mail");
    machine.age("mail", "Type=exec", "Type=simple");
    machine.declare("etc/conductor/services/mail", &format!("{WEB}[install]\nwanted_by = ['graphical.target']\n"));
    assert!(machine.settled().iter().all(|(path, _)| path.as_str().starts_with("web-")));
}

/// Links and other units that a live service no longer declares go, except those that others of its group have.
#[test]
fn what_is_no_longer_declared_goes() {
    let machine = Machine::new();
    let install = |target: &str| format!("[install]\nwanted_by = ['{target}']\n");
    machine.declare("etc/conductor/services/web", &format!("{WEB}{}", install("graphical.target")));
    machine.start("web");
    machine.declare("etc/conductor/services/web", WEB);
    machine.settled();
    assert!(!machine.path("normal").join("graphical.target.wants/web.service").exists());
    let part = |name: &str| format!("[[part]]\nname = '{name}'\n[part.exec]\ncommand = ['/usr/bin/true']\n");
    let shop = |target: &str, parts: &[&str]| {
        let parts: String = parts.iter().map(|name| part(name)).collect();
        format!("description = 'Shop'\n{}{parts}", install(target))
    };
    machine.declare("etc/conductor/services/shop", &shop("graphical.target", &["front", "back"]));
    machine.start("shop.front");
    machine.start("shop.back");
    machine.settled();
    // The other part goes on until it is stopped, and with it what it brought to the group.
    machine.declare("etc/conductor/services/shop", &shop("multi-user.target", &["front"]));
    machine.settled();
    machine.declare("etc/conductor/services/shop", "[exec\n");
    machine.settled();
}

/// Calls that change nothing.
const HARMLESS: &[&str] = &[
    "access",
    "arch_prctl",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "getcwd",
    "lstat",
    "newfstatat",
    "readlink",
    "readlinkat",
    "stat",
    "statfs",
    "statx",
];

/// What is wrong with a call, for a program that may only write below these directories.
fn crime<'a>(call: &'a str, allowed: &[Utf8PathBuf]) -> Option<&'a str> {
    let (name, arguments) = call.split_once('(')?;
    let is_thread = name.starts_with("clone") && arguments.contains("CLONE_THREAD");
    // A call that was interrupted by another thread's is judged where it began.
    if HARMLESS.contains(&name) || is_thread || call.starts_with("<... ") {
        return None;
    }
    let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"];
    if matches!(name, "open" | "openat" | "openat2") && !writes.iter().any(|flag| arguments.contains(flag)) {
        return None;
    }
    // The last path is the one that is made; a link's first one is only what it says.
    let paths: Vec<&str> = arguments.split('"').skip(1).step_by(2).collect();
    let made = if name.starts_with("rename") || name.starts_with("link") {
        &paths[..]
    } else {
        &paths[paths.len().saturating_sub(1)..]
    };
    let inside = |path: &&str| *path == "/dev/kmsg" || allowed.iter().any(|dir| Utf8Path::new(path).starts_with(dir));
    let writer = ["open", "creat", "mkdir", "symlink", "rename", "unlink", "chmod", "fchmodat"];
    let known = writer.iter().any(|writer| name.starts_with(writer));
    let climbs = made.iter().any(|path| path.contains(".."));
    (!known || made.is_empty() || climbs || !made.iter().all(inside)).then_some(call)
}

/// The system calls of a generator, by strace(1).
fn calls(machine: &Machine, environment: &[(&str, &str)]) -> Vec<String> {
    let trace = machine.path("trace");
    let plain = machine.command(3, &[]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "4096", "-e", "trace=%process,%network,%file", "-o", trace.as_str()]);
    strace.arg(plain.get_program()).args(plain.get_args());
    strace.env_clear().env("PATH", "/usr/bin:/bin").env("CONDUCTOR_ROOT", machine.path("root"));
    let output = strace.envs(environment.iter().copied()).output().expect("strace is installed (apt install strace)");
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&trace).expect("what strace saw");
    // Each line is "PID CALL(…) = …".
    let calls = text.lines().filter_map(|line| line.split_once(' '));
    let calls: Vec<String> = calls.map(|(_, call)| call.trim_start().to_owned()).collect();
    assert!(calls[0].starts_with("execve("), "{}", calls[0]);
    calls
}

/// The kernel's log is the system's: a user may not write there.
#[test]
#[ignore = "needs strace(1)"]
fn only_the_systems_generator_opens_the_kernels_log() {
    let user = [("SYSTEMD_SCOPE", "user"), ("HOME", "/home/ann"), ("XDG_RUNTIME_DIR", "/run/user/1000")];
    for (environment, opens) in [(&[("SYSTEMD_SCOPE", "system")][..], true), (&user, false), (&[], false)] {
        let machine = Machine::new();
        let calls = calls(&machine, environment);
        assert_eq!(calls.iter().any(|call| call.contains("/dev/kmsg")), opens, "{environment:?}");
    }
    let machine = Machine::new();
    machine.declare("home/ann/.config/conductor/services/web", "[exec\n");
    let output = machine.run(3, &user);
    assert!(String::from_utf8_lossy(&output.stderr).contains("service.toml:1:"), "{output:?}");
}

/// No process, no socket, no write outside the directories that systemd gives.
#[test]
#[ignore = "needs strace(1)"]
fn it_only_writes_its_directories() {
    let machine = busy();
    // The kernel's log is the one place beyond; nothing of a test belongs into this machine's.
    let calls = calls(&machine, &[("SYSTEMD_SCOPE", "system"), ("SYSTEMD_LOG_LEVEL", "crit")]);
    let allowed = ["normal", "early", "late"].map(|dir| machine.path(dir));
    let crimes: Vec<&str> = calls[1..].iter().filter_map(|call| crime(call, &allowed)).collect();
    assert!(crimes.is_empty(), "{crimes:#?}");
    assert!(calls.iter().filter(|call| call.contains("O_CREAT|O_EXCL")).count() > 5, "strace saw the units written");
    assert!(!machine.written("normal").is_empty());
}

#[test]
fn crimes_are_seen() {
    let allowed = [Utf8PathBuf::from("/gen")];
    for call in [
        "execve(\"/bin/sh\", [\"sh\"], 0x1 /* 3 vars */) = 0",
        "clone3({flags=CLONE_VM|CLONE_VFORK}, 88) = 7",
        "vfork() = 7",
        "socket(AF_UNIX, SOCK_STREAM, 0) = 3",
        "openat(AT_FDCWD, \"/etc/x\", O_WRONLY|O_CREAT, 0666) = 3",
        "openat(AT_FDCWD, \"/gen/../etc/x\", O_WRONLY|O_CREAT, 0666) = 3",
        "openat(AT_FDCWD, \"/generator/x\", O_RDWR) = 3",
        "mkdir(\"/etc/x\", 0777) = 0",
        "symlink(\"/gen/x\", \"/etc/x\") = 0",
        "rename(\"/etc/x\", \"/gen/x\") = 0",
        "unlink(\"/etc/x\") = 0",
    ] {
        assert_eq!(crime(call, &allowed), Some(call));
    }
    for call in [
        "openat(AT_FDCWD, \"/etc/x\", O_RDONLY|O_CLOEXEC) = 3",
        "openat(AT_FDCWD, \"/gen/x\", O_WRONLY|O_CREAT|O_EXCL, 0644) = 3",
        "openat(AT_FDCWD, \"/dev/kmsg\", O_WRONLY|O_CLOEXEC) = 3",
        "symlink(\"../target\", \"/gen/x.wants/x\") = 0",
        "exit_group(0) = ?",
        "clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD}, 88) = 7",
        "<... openat resumed>) = 3",
    ] {
        assert_eq!(crime(call, &allowed), None);
    }
}
