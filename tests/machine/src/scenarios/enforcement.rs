//! Limits that hold. The other machines share the host's control groups, whose controllers they may not have:
//! there a limit is set, and these scenarios show on an emulated machine with all of them that it is kept.

use std::time::Instant;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::{Machine, installed};
use conductor_machine::vm::{APP, Vm};

use crate::scenario::scenarios;

scenarios!("enforcement":
    memory_max_holds_in_an_emulated_machine: "a process takes more memory than its service may have (on an emulated Debian 13)"
        => "the kernel kills it and nothing else; systemd starts it again and it serves; one that does so at its start fails, and the error names the limit",
);

const LIMIT: u64 = 64 << 20;

fn memory_max_holds_in_an_emulated_machine(m: &mut Machine) {
    // The kernel enforces what the other scenarios see set on both releases. One will do: an emulated machine
    // keeps two processors busy for a minute, which the scenarios beside it need.
    if m.suite != "trixie" {
        return m.note("shown on trixie only");
    }
    let start = Instant::now();
    let vm = Vm::boot(&m.suite, &installed(&m.suite));
    m.note(format!("booted in {:.1} s", start.elapsed().as_secs_f64()));
    vm.run(&format!("install -D {APP} /root/image/bin/app; {}", image::recipe(IMAGE, "1")));
    for (name, engine) in [("exec", EXEC), ("container", CONTAINER), ("pod", POD)] {
        m.note(holds(&vm, name, engine));
    }
    tells(&vm, "glutton", &format!("[exec]\ncommand = {GLUTTON}\n"));
    tells(&vm, "boxed", &format!("[container]\nimage = \"{IMAGE}\"\nexec = {GLUTTON}\n"));
}

const EXEC: &str = "[exec]\ncommand = [\"/usr/local/bin/app\"]\n";
const CONTAINER: &str = r#"[container]
image = "localhost/app:1"
exec = ["/bin/app", "--stop-delay", "0s", "--address", "0.0.0.0", "--tcp", "${PORT}"]
port = 8080
"#;
const POD: &str = "[pod]\ntemplate = \"pod.yaml\"\nport = 8080\n";
fn declare(vm: &Vm, name: &str, engine: &str) {
    vm.write(&format!("/root/{name}/pod.yaml"), &image::pod("web"));
    vm.write(
        &format!("/root/{name}/service.toml"),
        &format!(
            r#"{engine}
[health]
http = "/healthz"

# A pod's start is a minute of an emulated processor where the real one is busy.
[deploy]
health_timeout = "170s"

[[route]]
host = ["{name}.localhost"]
tls = "off"

[resources]
memory_max = "64M"
"#
        ),
    );
    vm.run(&format!("conductor service declare /root/{name}"));
}

/// Doubles a text for as long as it has memory.
const GLUTTON: &str = r#"["/bin/busybox", "awk", "BEGIN { s = \"x\"; while (1) s = s s }"]"#;

/// Declares a service that takes too much memory before it is ready: the error says so.
fn tells(vm: &Vm, name: &str, engine: &str) {
    vm.write(
        &format!("/root/{name}/service.toml"),
        &format!(
            "{engine}[listen]\ntype = \"none\"\n[health]\nexec = [\"/bin/sh\", \"-c\", \"exit 1\"]\n[resources]\nmemory_max = \"64M\"\n\
             [deploy]\nhealth_timeout = \"170s\"\n"
        ),
    );
    let output = vm.try_run(&format!("conductor service declare /root/{name}"));
    assert!(!output.success() && output.stderr.contains("it took more memory than it may"), "{name}: {output}");
    assert!(output.stderr.contains("help: raise memory_max = \"64M\" in [resources]"), "{name}: {output}");
}

/// Declares a service with one deployment and 64 MiB, and sends it a body of 96 MiB, which it keeps until it has all
/// of it. Says how long it was away.
fn holds(vm: &Vm, name: &str, engine: &str) -> String {
    declare(vm, name, engine);
    let get = |path: &str| vm.try_run(&format!("curl -sS --fail --max-time 20 http://{name}.localhost{path}"));
    let answer = || {
        let output = get("/");
        assert!(output.success(), "{name}: {output}");
        output.stdout
    };
    let group = format!("/sys/fs/cgroup/conductor.slice/conductor-{name}.slice");
    let kills = || {
        let events = vm.run(&format!("cat {group}/memory.events"));
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.parse::<u32>().ok()).unwrap_or_else(|| panic!("{events}"))
    };
    let others = || vm.run("systemctl show --property=Id,MainPID,NRestarts caddy dbus systemd-journald");

    assert_eq!(vm.run(&format!("cat {group}/memory.max")).trim(), LIMIT.to_string());
    assert_eq!(kills(), 0);
    answer();
    let around = others();
    let post = format!(
        "curl --silent --show-error --fail --max-time 60 --upload-file - --request POST http://{name}.localhost/"
    );
    let eaten = vm.try_run(&format!("head -c 96M /dev/zero | {post} >/dev/null"));
    assert!(!eaten.success(), "{name} takes more than it may: {eaten}");

    let start = Instant::now();
    // Callers wait in the socket's queue for the next process, or are refused until it is noticed that there is none.
    let another = || (0..100).any(|_| get("/").success());
    assert!(another(), "{name} serves again");
    let waited = start.elapsed().as_secs_f64();
    assert!(kills() > 0, "{name}: nothing was killed for memory");
    let peak: u64 = vm.run(&format!("cat {group}/memory.peak")).trim().parse().expect("a number");
    // The kernel charges some pages before it refuses more.
    assert!(peak <= LIMIT + (2 << 20), "{name} had {peak} bytes");
    let said = vm.run(&format!("journalctl --sync; journalctl --output=cat --unit='{name}-*' --no-pager"));
    assert!(said.contains("has been killed by the OOM killer"), "{name}: {said}");
    assert_eq!(others(), around, "what else runs, goes on");
    assert_eq!(vm.run("systemctl --failed --plain --no-legend"), "");
    format!("{name} serves again {waited:.1} s after it was killed")
}
