//! A throwaway machine: a real systemd as PID 1, booted by systemd-nspawn on an overlay over a cached root.
//!
//! Everything here leaves the host clean by construction: mounts are made in a mount namespace of this
//! process, and a machine's processes are in a PID namespace that the kernel kills together with the harness.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::{self, Cgroup};
use crate::command::{Background, Output, host, sibling};
use crate::load::{Load, Running};

/// Upper layers and logs are here, on a tmpfs that only this process and its machines see.
pub(crate) const SCRATCH: &str = "/run/conductor-machine";
/// Directories below /var/lib of engines of containers: podman's, and those of a node of Kubernetes.
const CONTAINERS: [&str; 3] = ["containers", "containerd", "kubelet"];
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// Seconds that any one command in a machine may take.
const COMMAND_LIMIT: &str = "300";

/// Gives this process a mount namespace of its own. Call once, before anything else here.
pub fn isolate() -> Result<(), String> {
    let failed = |error: nix::Error| format!("a mount namespace of its own: {error} (this needs root)");
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(failed)?;
    // nspawn keeps state by machine name, which a killed one leaves behind; all of ours have the same name.
    for dir in [SCRATCH, "/run/systemd/nspawn"] {
        fs::create_dir_all(dir).map_err(|error| format!("{dir}: {error}"))?;
        mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).map_err(failed)?;
    }
    cgroup::sweep().map_err(|error| format!("control groups: {error}"))
}

/// The packages that machines have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packages {
    /// Those of `build-root`.
    #[default]
    Base,
    /// The servers of examples/ too.
    Servers,
    /// The CGI programs of tests/machine/programs/ too.
    Programs,
    /// What a node of Kubernetes runs, too.
    Kubernetes,
    /// What a node of Pacemaker runs, too.
    Pacemaker,
}

impl Packages {
    /// All sets, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Base, Self::Servers, Self::Programs, Self::Kubernetes, Self::Pacemaker];

    /// The name that `build-layer` has for what the set adds to `build-root`'s.
    fn layer(self) -> Option<&'static str> {
        match self {
            Self::Base => None,
            Self::Servers => Some("servers"),
            Self::Programs => Some("programs"),
            Self::Kubernetes => Some("kubernetes"),
            Self::Pacemaker => Some("pacemaker"),
        }
    }

    /// Returns whether a suite has the packages: Debian 12 alone has the source of Kubernetes' components.
    pub fn are_in(self, suite: &str) -> bool {
        self != Self::Kubernetes || suite == "bookworm"
    }
}

/// A Debian release with the project installed: what machines boot from. Nothing ever writes to it.
pub struct Suite {
    pub name: String,
    pub(crate) packages: Packages,
    /// Read-only layers, the uppermost first.
    layers: Vec<PathBuf>,
    /// Leave machines running when they are dropped.
    keep: bool,
}

impl Suite {
    /// Builds the root when it is missing, and installs the project (unless `bare`) into a layer above it.
    pub fn prepare(name: &str, packages: Packages, bare: bool, keep: bool) -> Result<Self, String> {
        let mut layers = vec![built("build-root", &[name])?];
        let mut layer = installed(name);
        if let Some(added) = packages.layer() {
            layers.insert(0, built("build-layer", &[added, name])?);
            layer = installed(&format!("{name}-{added}"));
        }
        if packages == Packages::Kubernetes {
            layers.insert(0, built("build-kubernetes", &[])?);
        }
        if !bare {
            install(&layer, &layers, &package()?)?;
            layers.insert(0, layer);
        }
        Ok(Self { name: name.into(), packages, layers, keep })
    }

    /// The root of the Debian release, without the project.
    pub fn root(&self) -> &Path {
        self.layers.last().expect("a root")
    }
}

/// What one of the scripts beside this program has built for a suite, now or before.
fn built(script: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    let script = format!("{}/{script}", env!("CARGO_MANIFEST_DIR"));
    host(Command::new(script).args(arguments)).map(|path| PathBuf::from(path.trim()))
}

/// Where the package is in every machine.
pub const PACKAGE: &str = "/var/cache/conductor.deb";

/// The package that `make deb` has built.
fn package() -> Result<PathBuf, String> {
    let dir = sibling("../deb");
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .find(is_package)
        .ok_or_else(|| format!("no package in {}: make deb", dir.display()))
}

/// Installs the package into a layer above others, unless this process has done so before.
fn install(layer: &Path, layers: &[PathBuf], package: &Path) -> Result<(), String> {
    // The layer gets its name once it is complete.
    if layer.exists() {
        return Ok(());
    }
    let dir = layer.with_extension("incomplete");
    overlay(&dir, layers);
    let root = dir.join("root");
    let outcome = install_below(&root, package);
    umount2(&root, MntFlags::empty()).map_err(|error| format!("{}: {error}", root.display()))?;
    let complete = outcome
        .and_then(|()| fs::rename(dir.join("upper"), layer).map_err(|error| format!("{}: {error}", layer.display())));
    let _ = fs::remove_dir_all(&dir);
    complete
}

/// Installs the package by dpkg in its own root, as an image builder would.
fn install_below(root: &Path, package: &Path) -> Result<(), String> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    fs::copy(package, inside(PACKAGE)).map_err(|error| format!("{}: {error}", package.display()))?;
    let proc = inside("/proc");
    let failed = |error: nix::Error| format!("{}: {error}", proc.display());
    mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), None::<&str>).map_err(failed)?;
    let result = host(Command::new("chroot").arg(root).args(["dpkg", "--install", PACKAGE]));
    umount2(&proc, MntFlags::empty()).map_err(failed)?;
    result.map(drop)
}

/// What the package has put into the machines of a suite that is prepared.
pub fn installed(suite: &str) -> PathBuf {
    Path::new(SCRATCH).join(format!("{suite}-installed"))
}

/// The place of a machine among others.
#[derive(Clone, Debug)]
pub struct Place {
    pub hostname: String,
    /// A network namespace, ip-netns(8); None for one of its own with nothing but a loopback device.
    pub network: Option<PathBuf>,
    /// Whether it runs containers as kubelet wants it: with all capabilities and writable control groups, which are the
    /// host's own kind.
    pub runs_kubelet: bool,
}

impl Default for Place {
    fn default() -> Self {
        Self { hostname: "machine".into(), network: None, runs_kubelet: false }
    }
}

impl Place {
    /// Returns the options of systemd-nspawn(1).
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![match &self.network {
            Some(network) => format!("--network-namespace-path={}", network.display()),
            None => "--private-network".into(),
        }];
        if self.runs_kubelet {
            arguments.extend(["--capability=all".into(), "--system-call-filter=@mount".into()]);
        } else if self.network.is_some() {
            // Addresses move from machine to machine.
            arguments.push("--capability=CAP_NET_ADMIN,CAP_NET_RAW".into());
        }
        arguments
    }

    /// Returns the directories of the engines of containers that run there.
    fn containers(&self) -> impl Iterator<Item = &'static str> {
        CONTAINERS.into_iter().take(if self.runs_kubelet { CONTAINERS.len() } else { 1 })
    }

    /// Returns the variables of systemd-nspawn(1).
    fn environment(&self) -> Vec<(&'static str, &'static str)> {
        let is_unified = !self.runs_kubelet || Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let mut variables = vec![("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", if is_unified { "1" } else { "0" })];
        if self.runs_kubelet {
            variables.push(("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1"));
        }
        variables
    }
}

/// A machine that is booted, or was (after `poweroff` and `kill_power`).
pub struct Machine {
    pub suite: String,
    dir: PathBuf,
    keep: bool,
    place: Place,
    nspawn: Option<Child>,
    /// PID 1 of the machine, as the host sees it.
    leader: Pid,
    notes: Mutex<Vec<String>>,
    // Declared last, so that it is removed after the processes in it.
    cgroup: Cgroup,
}

impl Machine {
    /// Boots a fresh machine and waits until it has come up. Panics with its logs when it does not.
    pub fn boot(suite: &Suite) -> Self {
        Self::boot_at(suite, Place::default())
    }

    /// Boots a fresh machine at a place among others.
    pub fn boot_at(suite: &Suite, place: Place) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(SCRATCH).join(&name);
        overlay(&dir, &suite.layers);
        fs::write(dir.join("root/etc/hostname"), format!("{}\n", place.hostname)).expect("a name for a machine");
        let mut machine = Self {
            suite: suite.name.clone(),
            dir,
            keep: suite.keep,
            place,
            nspawn: None,
            leader: Pid::from_raw(0),
            notes: Mutex::default(),
            cgroup: Cgroup::create(&name).expect("control groups for a machine"),
        };
        machine.power_on();
        machine
    }

    /// Starts the machine on what its disk holds now, and returns once everything it starts at boot is up.
    pub fn power_on(&mut self) {
        assert!(self.nspawn.is_none(), "the machine is on");
        let deadline = Instant::now() + BOOT_LIMIT;
        self.nspawn = Some(self.nspawn());
        let state = loop {
            assert!(Instant::now() < deadline, "the machine does not come up\n{}", self.logs());
            if let Some(state) = self.state() {
                break state;
            }
            if let Some(status) = self.nspawn.as_mut().and_then(|nspawn| nspawn.try_wait().ok()?) {
                panic!("nspawn ended: {status}\n{}", self.logs());
            }
            thread::sleep(Duration::from_millis(20));
        };
        if state != "running" {
            self.note(format!("{state} after boot: {}", self.failed_units().join(" ")));
        }
    }

    fn nspawn(&self) -> Child {
        // Enters the control groups first; everything after that replaces the shell.
        let enter = r#"until [ "$1" = -- ]; do echo $$ >"$1" || exit; shift; done; shift; exec "$@""#;
        let console = File::options().create(true).append(true).open(self.dir.join("console")).expect("a console");
        Command::new("sh")
            .args(["-c", enter, "sh"])
            .args(self.cgroup.procs())
            .arg("--")
            // Killing `unshare`, or the harness, kills all that is in the PID namespace.
            .args(if self.keep { &[][..] } else { &["setpriv", "--pdeathsig", "KILL"] })
            .args(["unshare", "--fork", "--pid", "--kill-child", "--mount-proc"])
            .args(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"])
            .args(["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe", "--machine=machine"])
            // What runtimes of containers, and ports that systemd holds, need beyond what nspawn leaves to a machine.
            .args(["--system-call-filter=@keyring bpf pidfd_getfd"])
            .args(self.place.arguments())
            .arg("-D")
            .arg(self.root())
            // Images and containers are on overlays of their engines' own, which cannot lie on the machine's.
            .args(
                self.place.containers().map(|name| format!("--bind={}:/var/lib/{name}", self.dir.join(name).display())),
            )
            .arg("systemd.show_status=yes")
            .envs(self.place.environment())
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a console"))
            .stderr(console)
            .process_group(0) // Ctrl-C is for the harness
            .spawn()
            .expect("systemd-nspawn")
    }

    /// `running` or `degraded` once the boot is complete.
    fn state(&mut self) -> Option<String> {
        let nspawn = only_child(Pid::from_raw(self.nspawn.as_ref()?.id().try_into().ok()?))?;
        self.leader = only_child(nspawn)?;
        if fs::read_to_string(format!("/proc/{}/comm", self.leader)).ok()? != "systemd\n" {
            return None;
        }
        let state = self.try_run("systemctl is-system-running --wait").stdout.trim().to_owned();
        ["running", "degraded"].contains(&state.as_str()).then_some(state)
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// PID 1 of the machine, as the host sees it; its files are below `/proc/PID/root`.
    pub fn leader(&self) -> i32 {
        self.leader.as_raw()
    }

    /// Runs a shell command in the machine and returns its output; panics with the output if it fails.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        let output = self.try_run(command);
        assert!(output.success(), "{command}: {output}");
        output.stdout
    }

    /// Runs a shell command in the machine.
    pub fn try_run(&self, command: &str) -> Output {
        let output = self.command(&["sh", "-ec", command]).stdin(Stdio::null()).output();
        Output::of(&output.expect("nsenter"))
    }

    /// Starts a shell command in the machine and lets it run. Meant for less than 64 KiB of output.
    pub fn spawn(&self, command: &str) -> Background {
        Background::start(command, &mut self.command(&["sh", "-ec", command]))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", COMMAND_LIMIT, "nsenter", "--all", "--target", &self.leader.to_string(), "--"]);
        command.args(words).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs([("HOME", "/root"), ("LANG", "C.UTF-8"), ("TERM", "dumb")]);
        command
    }

    /// Writes a file, and the directories above it. (From the inside: links must not lead out to the host.)
    pub fn write(&self, path: &str, text: &str) {
        self.install(path, "644", text.as_bytes());
    }

    pub fn write_executable(&self, path: &str, text: &str) {
        self.install(path, "755", text.as_bytes());
    }

    /// Copies the application under test (`bin/app.rs`) to `path`.
    pub fn copy_app(&self, path: &str) {
        let app = fs::read(sibling("app")).expect("the application, built next to this program");
        self.install(path, "755", &app);
    }

    /// Copies a directory of the host.
    pub fn copy_dir(&self, from: &Path, to: &str) {
        let tar = Command::new("tar").arg("-C").arg(from).args(["-c", "."]).output().expect("tar");
        assert!(tar.status.success(), "tar of {}", from.display());
        self.feed(&["sh", "-ec", r#"mkdir -p "$1"; tar -C "$1" --no-same-owner -x"#, "sh", to], &tar.stdout);
    }

    pub fn install(&self, path: &str, mode: &str, content: &[u8]) {
        self.feed(&["install", "-D", "-m", mode, "/dev/stdin", path], content);
    }

    fn feed(&self, words: &[&str], input: &[u8]) {
        let mut process = self.command(words);
        let mut child = process.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter");
        let written = child.stdin.take().expect("a pipe").write_all(input);
        let output = Output::of(&child.wait_with_output().expect("nsenter"));
        assert!(output.success() && written.is_ok(), "{words:?}: {output}");
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        self.run(&format!("cat '{path}'"))
    }

    /// The bytes of a file in the machine.
    #[track_caller]
    pub fn take(&self, path: &str) -> Vec<u8> {
        let output = self.command(&["cat", path]).stdin(Stdio::null()).output().expect("nsenter");
        assert!(output.status.success(), "{path}: {}", Output::of(&output));
        output.stdout
    }

    /// A property of a unit, as `systemctl show` prints it.
    #[track_caller]
    pub fn prop(&self, unit: &str, property: &str) -> String {
        self.run(&format!("systemctl show --property={property} --value '{unit}'")).trim().to_owned()
    }

    pub fn failed_units(&self) -> Vec<String> {
        let list = self.try_run("systemctl --failed --plain --no-legend --no-pager").stdout;
        list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// Waits until something holds, and panics after `limit` when it does not.
    #[track_caller]
    pub fn until(&self, what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + limit;
        while !holds() {
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a load on the machine, and returns once every client has had an answer.
    pub fn load(&self, mut load: Load) -> Running {
        if load.connect.starts_with('/') {
            load.connect = format!("/proc/{}/root{}", self.leader, load.connect);
        }
        // Only its network is the machine's: the program and its libraries are the host's.
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--target", &self.leader.to_string(), "--"])
            .arg(sibling("load"))
            .arg(serde_json::to_string(&load).expect("plain data"));
        Running::start(&mut command)
    }

    /// Shuts down in order, and returns how long that took. Panics when it takes longer than `limit`: then
    /// something waited for a timeout.
    pub fn poweroff(&mut self, limit: Duration) -> Duration {
        let start = Instant::now();
        self.try_run("systemctl poweroff --no-block"); // may be killed by what it asks for
        let mut nspawn = self.nspawn.take().expect("the machine is on");
        while nspawn.try_wait().expect("wait for nspawn").is_none() {
            if start.elapsed() > limit {
                self.nspawn = Some(nspawn);
                panic!("not off within {limit:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        start.elapsed()
    }

    /// Shuts down in order within 20 s, and boots again from the same disk.
    pub fn reboot(&mut self) {
        self.poweroff(Duration::from_secs(20));
        self.power_on();
    }

    /// Returns whether it is on.
    pub fn is_on(&self) -> bool {
        self.nspawn.is_some()
    }

    /// Pulls the plug: nothing in the machine runs any more when this returns. What had been written is kept,
    /// synced or not.
    pub fn kill_power(&mut self) {
        if let Some(mut unshare) = self.nspawn.take() {
            // Killing PID 1 of a namespace kills all others in it, and waiting for it waits for them.
            let nspawn = i32::try_from(unshare.id()).ok().and_then(|pid| only_child(Pid::from_raw(pid)));
            match nspawn {
                Some(nspawn) => drop(kill(nspawn, Signal::SIGKILL)),
                None => drop(unshare.kill()),
            }
            let _ = unshare.wait();
        }
    }

    /// A figure for the line that reports the scenario.
    pub fn note(&self, text: impl fmt::Display) {
        self.notes.lock().expect("no panic while it is locked").push(text.to_string());
    }

    pub fn notes(&self) -> String {
        self.notes.lock().expect("no panic while it is locked").join("; ")
    }

    /// The end of the machine's journal and console, readable whether it is on or off.
    pub fn logs(&self) -> String {
        let mut journal = Command::new("journalctl");
        journal.args(["--no-pager", "--output=short-precise", "--lines=100", "--directory"]);
        let journal = host(journal.arg(self.root().join("var/log/journal"))).unwrap_or_else(|error| error);
        let console = fs::read(self.dir.join("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console[console.len().saturating_sub(3000)..]).into_owned();
        format!("--- journal\n{journal}--- console\n{console}---")
    }

    /// Whether it goes on running when the harness ends.
    pub fn is_kept(&self) -> bool {
        self.keep && self.nspawn.is_some()
    }

    /// How to look around in a machine that is kept.
    pub fn how_to_enter(&self) -> String {
        let nspawn = self.nspawn.as_ref().map_or(0, Child::id);
        format!("enter: nsenter --all --target {}   end: kill -KILL {nspawn}", self.leader)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.is_kept() {
            self.cgroup.leave();
            return;
        }
        self.kill_power();
        let _ = umount2(&self.root(), MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn overlay(dir: &Path, layers: &[PathBuf]) {
    for name in ["upper", "work", "root"].into_iter().chain(CONTAINERS) {
        fs::create_dir_all(dir.join(name)).expect("a directory for a machine");
    }
    let lower: Vec<_> = layers.iter().map(|layer| layer.display().to_string()).collect();
    let dir = dir.display();
    let options = format!("lowerdir={},upperdir={dir}/upper,workdir={dir}/work", lower.join(":"));
    let root = format!("{dir}/root");
    mount(Some("overlay"), root.as_str(), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .unwrap_or_else(|error| panic!("overlay {options}: {error}"));
}

fn only_child(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.trim().parse().ok().map(Pid::from_raw)
}
