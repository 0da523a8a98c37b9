//! The gap of a recreate: callers wait while no deployment serves.

use std::time::Duration;

use conductor_machine::command::{Background, Output};
use conductor_machine::machine::Machine;
use serde::Deserialize;

use crate::scenario::scenarios;

scenarios!("gaps":
    callers_wait_activation(|m| waits(m, "activation")),
    callers_wait_unix(|m| waits(m, "unix")),
    callers_wait_tcp(|m| waits(m, "tcp")),
    databases_page_under_callers,
    new_one_fails: "with `recreate`, the new deployment fails under callers" => "callers wait, and the old one, started again, serves all of them",
    nothing_comes_back: "with `recreate`, neither the new nor the old deployment starts again" => "callers are disconnected after a time, and none is left waiting; after a repair callers are served",
    killed_in_the_gap: "kill -9 of the relay of waiting callers, then of the rollout, in the gap of a recreate" => "callers wait on, and the next reload serves all of them",
    crash_of_its_own_socket: "a process behind a plain port that has bound its socket itself is killed" => "callers who come meanwhile wait for the next process",
    full_queue: "more callers wait in the gap of a recreate than the kernel's queue takes" => "the log says how many waited, and those are served",
    power_cut_in_the_gap: "the power fails in the gap of a recreate" => "the service starts after boot, and callers are served",
);

const LIMIT: Duration = Duration::from_secs(20);

/// Answers each connection with its version, one after the other. It is slow to start, and cannot start while /srv/broken
/// exists.
const SERVER: &str = r#"import os, socket, sys, time
kind = sys.argv[1]
if os.path.exists("/srv/broken") or os.environ["VERSION"] == "broken":
    sys.exit("cannot start")
time.sleep(0.3)
while os.path.exists("/srv/slow"):
    time.sleep(0.01)
if kind == "activation":
    listener = socket.socket(fileno=3)
elif kind == "unix":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.environ["CONDUCTOR_SOCKET"])
else:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ["PORT"])))
listener.listen(64)
while True:
    connection, _ = listener.accept()
    try:
        if connection.recv(100):
            connection.sendall(os.environ["VERSION"].encode())
    except OSError:
        pass
    connection.close()
"#;

/// Connects anew for each request in some threads, until a file exists, and prints what happened as JSON.
const CALLERS: &str = r#"import collections, json, os, socket, sys, threading, time
address, threads, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
host, port = address.rsplit(":", 1)
kinds, versions, failures, waits, lock = collections.Counter(), [], [], [0.0], threading.Lock()

def call():
    began = time.monotonic()
    try:
        with socket.create_connection((host, int(port)), timeout=120) as connection:
            connection.sendall(b"hello")
            answer = connection.recv(100).decode()
        kind = "ok" if answer else "closed"
    except ConnectionRefusedError:
        kind, answer = "refused", ""
    except ConnectionResetError:
        kind, answer = "reset", ""
    except OSError as error:
        kind, answer = repr(error), ""
    with lock:
        kinds[kind] += 1
        waits[0] = max(waits[0], time.monotonic() - began)
        if answer and (not versions or versions[-1] != answer):
            versions.append(answer)
        if kind != "ok" and len(failures) < 40:
            failures.append(f"{time.strftime('%T')} {kind}")
    if kind == "ok":
        open("/run/served", "w").close()

def caller():
    while not os.path.exists(stop):
        call()
        time.sleep(0.005)

all = [threading.Thread(target=caller) for _ in range(threads)]
[one.start() for one in all]
[one.join() for one in all]
print(json.dumps({"kinds": kinds, "versions": versions, "failures": failures, "longest": waits[0]}))
"#;

const ADDRESS: &str = "127.0.0.1:7001";
const DIR: &str = "/root/store";

#[derive(Debug, Deserialize)]
struct Seen {
    /// Calls by outcome: ok, closed, refused, reset.
    kinds: std::collections::BTreeMap<String, u64>,
    /// The versions that answered, one after the other.
    versions: Vec<String>,
    /// The first failures, with their time.
    #[expect(dead_code, reason = "for people who read what a scenario that fails prints")]
    failures: Vec<String>,
    /// The longest call, in seconds.
    longest: f64,
}

struct Callers<'a>(&'a Machine, Background);

impl<'a> Callers<'a> {
    /// Starts callers and returns once one of them is served.
    fn start(m: &'a Machine, threads: u32) -> Self {
        let callers = Self::begin(m, threads);
        m.until("a caller is served", LIMIT, || m.try_run("test -e /run/served").success());
        callers
    }

    fn begin(m: &'a Machine, threads: u32) -> Self {
        m.write("/root/callers.py", CALLERS);
        m.run("rm -f /run/stop-callers /run/served");
        Self(m, m.spawn(&format!("python3 /root/callers.py {ADDRESS} {threads} /run/stop-callers")))
    }

    fn stop(self) -> Seen {
        self.0.run("touch /run/stop-callers");
        serde_json::from_str(&self.1.finish()).expect("JSON")
    }

    /// Stops them, and panics if a caller was refused or disconnected.
    #[track_caller]
    fn all_served(self) -> Seen {
        let seen = self.stop();
        assert_eq!(seen.kinds.keys().collect::<Vec<_>>(), ["ok"], "{seen:?}");
        seen
    }
}

fn write(m: &Machine, kind: &str) {
    m.write(&format!("{DIR}/server.py"), SERVER);
    m.write(
        &format!("{DIR}/service.toml"),
        &format!(
            r#"[exec]
command = ["/usr/bin/python3", "server.py", "{kind}"]
environment = {{ VERSION = "{{{{ VERSION }}}}" }}
[listen]
type = "{kind}"
[health]
tcp = true
[[port]]
listen = "{ADDRESS}"
[deploy]
strategy = "recreate"
drain_timeout = "1s"
health_timeout = "5s"
"#
        ),
    );
}

fn declare(m: &Machine, version: &str) -> Output {
    m.try_run(&format!("conductor service declare {DIR} VERSION={version}"))
}

fn deployment(m: &Machine) -> String {
    let list = m.run("systemctl list-units --plain --no-legend --full 'store-????????????@*.service'");
    list.split_whitespace().next().unwrap_or_default().to_owned()
}

fn queues(m: &Machine) -> Vec<String> {
    let units = m.run("systemctl list-units --all --plain --no-legend --full 'store-queue@*' | cut -d ' ' -f 1");
    units.lines().map(str::to_owned).collect()
}

/// An update, a rollback, an edit, a scale, and the deployment restarted, stopped and started by hand, all under callers.
fn waits(m: &mut Machine, kind: &str) {
    write(m, kind);
    assert!(declare(m, "one").success());
    let callers = Callers::start(m, 12);
    let output = declare(m, "two");
    assert!(output.success() && output.stdout.contains("store: callers waited for up to "), "{output}");
    assert!(m.run("conductor status store").contains("(gap "));
    m.run("conductor service rollback store");
    m.run("conductor service set store deploy.drain_timeout=2s exec.environment.VERSION=three");
    m.run("conductor service restart store");
    m.run("conductor service scale store 3 && conductor service restart store && conductor service scale store 1");
    let unit = deployment(m);
    m.run(&format!("systemctl restart {unit}"));
    // Until a bridge runs, systemd starts it for a caller, and its deployment: it would cancel the stop.
    m.until("callers are connected again", LIMIT, || {
        let bridge = unit.replace('@', "_bridge@");
        kind != "tcp" || m.prop(&bridge, "ActiveState") == "active"
    });
    m.run(&format!("systemctl stop {unit}; sleep 0.5; systemctl start {unit}"));
    let seen = callers.all_served();
    assert_eq!(seen.versions, ["one", "two", "one", "three"], "{seen:?}");
    m.until("relays of callers who have gone end", LIMIT, || queues(m).is_empty());
    m.run("systemctl stop store");
    assert_eq!(m.run("ls -A /run/conductor/queues"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(format!("{kind}: {} calls, the longest {:.2} s", seen.kinds["ok"], seen.longest));
}

/// The declaration of the page, and redis-benchmark, which connects anew for each request and stops at the first error.
fn databases_page_under_callers(m: &mut Machine) {
    m.write(
        &format!("{DIR}/service.toml"),
        r#"[exec]
command = ["redis-server", "--port", "0", "--unixsocket", "${CONDUCTOR_SOCKET}", "--dir", "${STATE_DIRECTORY}"]
[listen]
type = "unix"
[health]
exec = ["sh", "-c", "redis-cli -s $CONDUCTOR_SOCKET ping | grep PONG"]
[[port]]
listen = "127.0.0.1:6379"
[deploy]
strategy = "recreate"
[systemd.service]
StateDirectory = "store"
"#,
    );
    m.run(&format!("conductor service declare {DIR}"));
    // One client stays connected: it is disconnected when its server ends, and only it.
    let mut client = m.spawn("redis-benchmark -k 0 -c 16 -n 8000 -t ping_inline,set --csv 2>&1");
    let mut restarts = 0;
    while client.is_running() {
        m.run("redis-cli set greeting 'good morning' && redis-cli save && conductor service restart store");
        assert_eq!(m.run("redis-cli get greeting"), "good morning\n");
        restarts += 1;
    }
    let told = client.finish();
    assert!(restarts >= 3, "{restarts} restarts");
    assert!(told.contains("\"SET\"") && !told.to_lowercase().contains("err"), "{told}");
    m.note(format!("{restarts} restarts in 16,000 connections"));
}

fn new_one_fails(m: &mut Machine) {
    for kind in ["activation", "unix", "tcp"] {
        write(m, kind);
        assert!(declare(m, "one").success());
        let callers = Callers::start(m, 12);
        let output = declare(m, "broken");
        assert!(!output.success() && output.stderr.contains(" serves again"), "{output}");
        assert!(output.stdout.contains("store: callers waited for up to "), "{output}");
        let seen = callers.all_served();
        assert_eq!(seen.versions, ["one"], "{seen:?}");
        m.run("conductor service rm store");
        m.note(format!("{kind}: the longest call {:.2} s", seen.longest));
    }
}

fn nothing_comes_back(m: &mut Machine) {
    write(m, "unix");
    assert!(declare(m, "one").success());
    let callers = Callers::start(m, 4);
    m.run("touch /srv/broken");
    let output = declare(m, "broken");
    assert!(!output.success(), "{output}");
    let seen = callers.stop();
    assert!(!seen.kinds.contains_key("refused") && seen.kinds.contains_key("closed"), "{seen:?}");
    assert!(seen.longest > 5.0, "{seen:?}");
    m.until("no relay is left", LIMIT, || queues(m).is_empty());
    m.run("rm /srv/broken");
    assert!(declare(m, "two").success());
    assert_eq!(Callers::start(m, 4).all_served().versions, ["two"]);
    m.note(format!("the longest call {:.1} s", seen.longest));
}

/// Begins an update whose new deployment starts when /srv/slow is gone, and waits until callers are in the queue.
fn until_callers_wait(m: &Machine, unit_of_old: &str) -> Background {
    m.run(&format!("touch /srv/slow; conductor service declare {DIR} VERSION=two --no-start"));
    let reload = m.spawn("systemctl reload store");
    m.until("the old one is gone", LIMIT, || m.prop(unit_of_old, "ActiveState") == "inactive");
    m.until("callers wait", LIMIT, || m.prop("store-queue@1.service", "ActiveState") == "active");
    reload
}

fn killed_in_the_gap(m: &mut Machine) {
    write(m, "activation");
    m.run(&format!("sed -i 's/^health_timeout.*/health_timeout = \"1min\"/' {DIR}/service.toml"));
    assert!(declare(m, "one").success());
    let old = deployment(m);
    let callers = Callers::start(m, 12);
    let reload = until_callers_wait(m, &old);
    for _ in 0..3 {
        let pid = m.prop("store-queue@1.service", "MainPID");
        m.run(&format!("kill -KILL {pid}"));
        m.until("another relay waits", LIMIT, || {
            ![pid.as_str(), "0"].contains(&&*m.prop("store-queue@1.service", "MainPID"))
        });
    }
    m.run("kill -KILL $(cat /sys/fs/cgroup/system.slice/store.service/cgroup.procs)");
    assert!(!reload.wait().success());
    m.run("rm /srv/slow; conductor daemon-reload");
    let seen = callers.all_served();
    assert_eq!(seen.versions, ["one", "two"], "{seen:?}");
    m.until("no relay is left", LIMIT, || queues(m).is_empty());
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(format!("the longest call {:.2} s", seen.longest));
}

fn crash_of_its_own_socket(m: &mut Machine) {
    write(m, "unix");
    assert!(declare(m, "one").success());
    let unit = deployment(m);
    let restarts = |number: &str| {
        m.until("it is ready again", LIMIT, || {
            m.prop(&unit, "NRestarts") == number && m.prop(&unit, "SubState") == "running"
        });
    };
    m.run("touch /srv/slow");
    m.run(&format!("kill -KILL {}", m.prop(&unit, "MainPID")));
    m.until("a queue is open", LIMIT, || !queues(m).is_empty());
    let callers = Callers::begin(m, 12);
    m.until("callers wait", LIMIT, || m.prop("store-queue@1.service", "ActiveState") == "active");
    m.run("rm /srv/slow");
    restarts("1");
    let seen = callers.all_served();
    m.until("no relay is left", LIMIT, || queues(m).is_empty());
    m.note(format!("the longest call {:.2} s", seen.longest));
}

fn full_queue(m: &mut Machine) {
    m.run("sysctl --write net.core.somaxconn=8");
    write(m, "activation");
    assert!(declare(m, "one").success());
    let old = deployment(m);
    let callers = Callers::start(m, 40);
    let reload = until_callers_wait(m, &old);
    m.run("rm /srv/slow");
    assert!(reload.wait().success());
    let log = m.run("journalctl --sync; journalctl --output=cat --grep='raise net.core.somaxconn'");
    assert!(log.contains(" callers waited, and others were refused"), "{log}");
    let seen = callers.stop();
    assert_eq!(seen.versions, ["one", "two"], "{seen:?}");
    assert!(seen.longest > 0.3, "{seen:?}");
    m.note(format!("{:?}", seen.kinds));
}

fn power_cut_in_the_gap(m: &mut Machine) {
    write(m, "tcp");
    assert!(declare(m, "one").success());
    let old = deployment(m);
    let callers = Callers::start(m, 4);
    let _reload = until_callers_wait(m, &old);
    let _cut = callers.1;
    m.kill_power();
    m.power_on();
    m.run("rm /srv/slow");
    m.until("it serves", LIMIT, || m.prop("store.service", "ActiveState") == "active");
    let seen = Callers::start(m, 4).all_served();
    assert_eq!(seen.versions, ["two"], "{seen:?}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}
