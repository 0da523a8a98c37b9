//! Ports of `[listen] type = "tcp"`, and a local user who binds them.

use std::time::Duration;

use conductor_machine::command::Background;
use conductor_machine::machine::Machine;

use super::super::shop::{self, Engine, Listen, Shop};
use crate::scenario::scenarios;

scenarios!("attacks":
    port_of_another: "a local user binds the port of a `tcp` deployment before its process does"
        => "the deployment starts again with another port, in the same rollout",
    ports_are_not_known: "a local user binds each port that /run, /proc, systemd or the journal tells, at once"
        => "rolling updates succeed and lose no request; nobody but the service answers, also when its processes crash",
    ports_on_command_lines: "a local user binds each port that a program has on its command line, before the program does"
        => "the rollout fails after some attempts and names that process; the old generation serves",
    ports_are_all_taken: "a local user listens on all of Conductor's ports" => "deployments get others",
);

/// Binds each port that it learns of, and answers there. It says so in /tmp/stolen.
const THIEF: &str = r#"import glob, os, re, selectors, socket, subprocess, threading, time

known, mine, ready = set(), {}, selectors.DefaultSelector()
RANGE = range(20000, 32000)

def learn(numbers):
    known.update(number for number in numbers if number in RANGE)

def words(text):
    learn(int(word) for word in re.findall(r"(?<![0-9.])[23][0-9]{4}(?![0-9])", text))

def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""

def processes():
    while True:
        for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
            words(read(path).replace("\0", " "))
        time.sleep(0.001)

def sockets():
    while True:
        for line in read("/proc/net/tcp").splitlines()[1:]:
            fields = line.split()
            learn(int(address.split(":")[1], 16) for address in fields[1:3])
        time.sleep(0.001)

def files():
    while True:
        for top, _, names in os.walk("/run/conductor"):
            for name in names:
                words(read(os.path.join(top, name)))
        for command in ["systemctl show shop-*", "systemctl status shop-*", "journalctl --lines=200", "ss -ltn"]:
            done = subprocess.run(command.split(), capture_output=True, text=True)
            words(done.stdout)
        time.sleep(0.2)

def bind():
    while True:
        for port in known - mine.keys():
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(64)
            except OSError:
                listener.close()
                continue
            mine[port] = listener
            ready.register(listener, selectors.EVENT_READ)
        time.sleep(0.0005)

for work in processes, sockets, files, bind:
    threading.Thread(target=work, daemon=True).start()
print("begun", flush=True)
while True:
    for key, _ in ready.select(0.1):
        caller, _ = key.fileobj.accept()
        request = caller.recv(1000)
        open("/tmp/stolen", "ab").write(b"%d %r\n" % (key.fileobj.getsockname()[1], request))
        caller.sendall(b"HTTP/1.1 200 OK\r\nX-Version: stolen\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        caller.close()
"#;

/// Starts a program of mallory's, whose processes say that they have begun.
fn mallory(m: &Machine, program: &str, begun: usize) -> Background {
    m.run("id mallory >/dev/null 2>&1 || useradd --create-home mallory");
    m.write("/home/mallory/program", program);
    let thief = m.spawn("exec runuser -u mallory -- timeout 200 python3 /home/mallory/program >/home/mallory/said");
    let said = || m.try_run("cat /home/mallory/said").stdout.matches("begun").count();
    m.until("mallory has begun", Duration::from_secs(60), || said() >= begun);
    thief
}

fn end(m: &Machine, thief: Background) {
    m.run("pkill --uid mallory");
    drop(thief.wait());
}

/// A program that takes its port from the environment alone.
fn shop(concurrency: u32) -> Shop {
    Shop::new(concurrency).engine(Engine::Exec(Listen::Tcp))
}

fn without_argument(m: &Machine) {
    m.run(&format!("sed -i 's|, \"--tcp\", \"${{PORT}}\"||' {}/service.toml", shop::DIR));
}

fn ports(m: &Machine) -> Vec<String> {
    let lines = m.try_run("cat /run/conductor/deployments/shop-*/environment").stdout;
    lines.lines().filter_map(|line| line.strip_prefix("PORT=")).map(str::to_owned).collect()
}

/// The program does not mind that its port is taken: it waits, while another answers.
fn port_of_another(m: &mut Machine) {
    shop(1).declare(m, "1");
    assert!(shop::get(m).starts_with("1 "));
    m.write_executable(
        &format!("{}/slow", shop::DIR),
        "#!/bin/sh\nwhile test -e /srv/wait; do sleep 0.1; done\nexec ./app \"$@\"\n",
    );
    m.run("touch /srv/wait; useradd --create-home mallory; cp /root/shop/app /home/mallory/app");
    shop(1).write(m);
    m.run(&format!(
        "sed -i 's|\\[\"./app\"|[\"./slow\"|; s|^sandbox.*||; /^\\[exec\\]/a sandbox = \"none\"' {}/service.toml",
        shop::DIR
    ));
    let mut known = ports(m);
    let declare = m.spawn(&shop::command("2"));
    let mut next = |what: &str| {
        let mut new = None;
        m.until(what, Duration::from_secs(20), || {
            new = ports(m).into_iter().find(|port| !known.contains(port));
            new.is_some()
        });
        known.extend(new.clone());
        new.expect("it was there")
    };
    let port = next("the new deployment has a port");
    let thief = m.spawn(&format!("exec runuser -u mallory -- env VERSION=stolen /home/mallory/app --tcp {port}"));
    next("the new deployment has another port");
    m.run("rm /srv/wait");
    declare.finish();
    assert!(shop::get(m).starts_with("2 "));
    let said =
        m.run("journalctl --sync; journalctl --output=cat --unit='shop-*@1.service' --grep='listens on its port'");
    assert!(said.contains("the user mallory (app, process ") && said.lines().count() == 1, "{said}");
    end(m, thief);
}

fn ports_are_not_known(m: &mut Machine) {
    let declare = |version: u32| {
        shop(2).write(m);
        without_argument(m);
        m.run(&shop::command(&version.to_string()));
    };
    declare(0);
    let thief = mallory(m, THIEF, 1);
    let load = m.load(shop::load());
    for version in 1..=6 {
        declare(version);
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert!(!seen.versions.contains_key("stolen"), "{:?}", seen.versions);
    m.note(&seen);
    // Each crash ends requests in flight; those that come then must wait for the service's own next process.
    let load = m.load(shop::load());
    for _ in 0..8 {
        let killed =
            m.run("systemctl reset-failed 'shop-*'; pid=$(pgrep --newest --exact app); kill -KILL $pid; echo $pid");
        m.until("both serve", Duration::from_secs(30), || {
            let processes = m.run("pgrep --exact app || true");
            let is_back = processes.lines().count() == 2 && processes.lines().all(|pid| pid != killed.trim());
            is_back && shop::deployments(m) == shop::active(&shop::generation(m), 1..=2)
        });
    }
    let seen = load.stop();
    let stolen = m.try_run("cat /tmp/stolen").stdout;
    assert!(!seen.versions.contains_key("stolen"), "{:?} {stolen}", seen.versions);
    m.note(format!("{} answers while processes crashed", seen.ok));
    assert_eq!(stolen, "", "nobody asked mallory");
    end(m, thief);
}

fn ports_on_command_lines(m: &mut Machine) {
    shop(1).declare(m, "1");
    let thief = mallory(m, THIEF, 1);
    let failed = shop(1).flags("--start-delay 5s").try_declare(m, "2");
    assert_eq!(failed.status, 1, "{failed}");
    let told = "is not ready: the user mallory (python3, process ";
    assert!(failed.stderr.contains(told) && failed.stderr.contains("after 5 attempts"), "{failed}");
    assert!(failed.stderr.contains("help: end that process"), "{failed}");
    assert!(shop::get(m).starts_with("1 "));
    // The same program without the port on its command line.
    shop(1).flags("--start-delay 1s").write(m);
    without_argument(m);
    m.run(&shop::command("3"));
    assert!(shop::get(m).starts_with("3 "));
    end(m, thief);
    shop(1).flags("--start-delay 1s").declare(m, "4");
    assert!(shop::get(m).starts_with("4 "));
}

/// Each of its processes has as many sockets as it may.
const ALL: &str = r#"import os, socket, time
for first in range(20000, 32000, 800):
    if os.fork() == 0:
        listeners = []
        for port in range(first, min(first + 800, 32000)):
            listener = socket.socket()
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen(1)
                listeners.append(listener)
            except OSError:
                listener.close()
        print("begun", flush=True)
        time.sleep(150)
        os._exit(0)
time.sleep(150)
"#;

fn ports_are_all_taken(m: &mut Machine) {
    shop(1).declare(m, "1");
    let thief = mallory(m, ALL, 15);
    shop(2).declare(m, "2");
    shop::assert_serves(m, "2", 2);
    let ports = ports(m);
    assert!(ports.iter().all(|port| port.parse::<u16>().expect("a port") >= 32_000), "{ports:?}");
    end(m, thief);
}
