//! An emulated machine: Debian's own kernel with every controller, for what a container's host may not enforce.
//! It boots the same root as the others, of which `build-vm` has made a disk, and is spoken to by a serial port.
//! Emulation is some twenty times slower than the processor: it is for few questions.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::command::{Output, host, sibling};
use crate::machine::SCRATCH;
use crate::recorded::Recorded;

const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// Longer than the agent lets a command take.
const ANSWER_LIMIT: Duration = Duration::from_secs(190);

/// Where the application under test is.
pub const APP: &str = "/usr/local/bin/app";

/// Answers commands: a line of JSON each, there and back. The first line says how the boot went.
const AGENT: &str = r#"import json, subprocess

port = open("/dev/vport0p1", "r+b", buffering=0)


def run(words, text=""):
    done = subprocess.run(words, input=text.encode(), capture_output=True)
    output = {"stdout": done.stdout.decode(errors="replace"), "stderr": done.stderr.decode(errors="replace")}
    answer = memoryview(json.dumps({"status": done.returncode, **output}).encode() + b"\n")
    while answer:
        answer = answer[port.write(answer):]


run(["systemctl", "is-system-running", "--wait"])
with open(port.fileno(), "rb", closefd=False) as lines:
    while line := lines.readline():
        ask = json.loads(line)
        run(["timeout", "--kill-after=5", "180", "sh", "-ec", ask["command"]], ask["input"])
"#;

const AGENT_UNIT: &str = "\
[Unit]
Description=Commands of the test's harness

[Service]
Type=exec
ExecStart=python3 /usr/local/lib/agent.py
Environment=HOME=/root LANG=C.UTF-8 TERM=dumb
# Memory that runs out is the services', whatever limits hold.
OOMScoreAdjust=-1000
";

/// `quiet` but for systemd's own lines, which tell where a boot stands. Mitigations and checks cost an emulation
/// much and give it nothing. What modules-load reads is a link to nowhere here, and that fails.
const KERNEL: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr apparmor=0 audit=0 no_timer_check \
    random.trust_cpu=on cryptomgr.notests systemd.unified_cgroup_hierarchy=1 systemd.show_status=yes \
    systemd.mask=systemd-modules-load.service systemd.mask=systemd-pstore.service";

/// A line of the agent's.
#[derive(Deserialize)]
struct Answer {
    status: i32,
    stdout: String,
    stderr: String,
}

/// A machine that is booted; it ends when this is dropped.
pub struct Vm {
    qemu: Child,
    asks: ChildStdin,
    answers: Receiver<String>,
    dir: PathBuf,
}

impl Vm {
    /// Boots a fresh machine with `layer` laid over the suite's root, and waits until it has come up.
    pub fn boot(suite: &str, layer: &Path) -> Self {
        Self::start(suite, layer, &[])
    }

    /// Boots a machine that has a recorded disk as well, /dev/vdc.
    pub fn boot_with(suite: &str, layer: &Path, disk: &Recorded) -> Self {
        Self::start(suite, layer, &disk.arguments())
    }

    fn start(suite: &str, layer: &Path, more: &[String]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let built = host(Command::new(env!("CARGO_MANIFEST_DIR").to_owned() + "/build-vm").arg(suite));
        let built = PathBuf::from(built.expect("build-vm").trim());
        let dir =
            Path::new(SCRATCH).join(format!("vm-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        bring(&dir, layer);

        let drive = |file: PathBuf, more: &str| format!("if=virtio,format=raw,file={},{more}", file.display());
        let mut qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "1", "-m", "1G"])
            .arg("-kernel")
            .arg(built.join("vmlinuz"))
            .arg("-initrd")
            .arg(built.join("initrd"))
            .args(["-append", KERNEL])
            // What is written goes to a temporary file without a name.
            .args(["-drive", &drive(built.join("disk.img"), "snapshot=on,cache=unsafe")])
            .args(["-drive", &drive(dir.join("brought.tar"), "readonly=on")])
            .args(more)
            .args(["-chardev", "stdio,id=agent,signal=off", "-device", "virtio-serial"])
            .args(["-device", "virtserialport,chardev=agent,name=agent"])
            .arg("-serial")
            .arg(format!("file:{}", dir.join("console").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("qemu")).expect("a file for its errors"))
            .process_group(0) // Ctrl-C is for the harness
            .spawn()
            .expect("setpriv");
        let (sender, answers) = channel();
        let lines = BufReader::new(qemu.stdout.take().expect("a pipe")).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let vm = Self { asks: qemu.stdin.take().expect("a pipe"), qemu, answers, dir };

        let state = vm.answer(BOOT_LIMIT).unwrap_or_else(|error| panic!("boot of {suite}: {error}")).stdout;
        assert_eq!(state.trim(), "running", "after boot: {}", vm.run("systemctl --failed --no-legend"));
        vm
    }

    /// Runs a shell command in the machine and returns its output; panics with the output if it fails.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        let output = self.try_run(command);
        assert!(output.success(), "{command}: {output}");
        output.stdout
    }

    /// Runs a shell command in the machine.
    #[track_caller]
    pub fn try_run(&self, command: &str) -> Output {
        self.ask(command, "")
    }

    /// Writes a file, and the directories above it.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let output = self.ask(&format!("install -D -m 644 /dev/stdin '{path}'"), text);
        assert!(output.success(), "{path}: {output}");
    }

    #[track_caller]
    fn ask(&self, command: &str, input: &str) -> Output {
        self.exchange(command, input).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    fn exchange(&self, command: &str, input: &str) -> Result<Output, String> {
        let line = format!("{}\n", json!({ "command": command, "input": input }));
        (&self.asks).write_all(line.as_bytes()).map_err(|error| error.to_string())?;
        self.answer(ANSWER_LIMIT)
    }

    fn answer(&self, limit: Duration) -> Result<Output, String> {
        let line = self.answers.recv_timeout(limit).map_err(|error| format!("no answer: {error}"))?;
        let answer: Answer = serde_json::from_str(&line).map_err(|error| format!("{line:?}: {error}"))?;
        Ok(Output { status: answer.status, stdout: answer.stdout, stderr: answer.stderr })
    }

    /// The end of its journal and of its console, and what the emulator had to say.
    fn logs(&self) -> String {
        let journal = self.exchange("journalctl --no-pager --output=short-precise --lines=100", "");
        let journal = journal.map_or_else(|error| error, |output| output.stdout);
        let read = |name| fs::read(self.dir.join(name)).unwrap_or_default();
        let end = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(6000)..]).into_owned();
        format!("--- journal\n{journal}--- console\n{}\n--- emulator\n{}---", end(read("console")), end(read("qemu")))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.logs());
        }
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Packs what the initrd unpacks over the root: the layer, the agent, and the application under test.
fn bring(dir: &Path, layer: &Path) {
    let own = dir.join("own");
    let units = own.join("etc/systemd/system");
    let write = |path: PathBuf, text: &[u8]| {
        fs::create_dir_all(path.parent().expect("a directory")).and_then(|()| fs::write(&path, text))
    };
    let written = write(own.join("usr/local/lib/agent.py"), AGENT.as_bytes())
        .and_then(|()| write(units.join("agent.service"), AGENT_UNIT.as_bytes()))
        .and_then(|()| write(units.join("multi-user.target.d/agent.conf"), b"[Unit]\nWants=agent.service\n"))
        .and_then(|()| fs::create_dir_all(own.join("usr/local/bin")))
        .and_then(|()| fs::copy(sibling("app"), own.join(APP.trim_start_matches('/'))));
    written.unwrap_or_else(|error| panic!("{}: {error}", own.display()));
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "-cf"]).arg(dir.join("brought.tar"));
    host(tar.arg("-C").arg(layer).arg(".").arg("-C").arg(&own).arg(".")).expect("tar");
}
