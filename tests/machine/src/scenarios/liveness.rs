//! `[health.live]`: processes that were ready and no longer work are restarted.

use std::time::Duration;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("liveness":
    answering_is_drained: "a process answers callers, and its live check with 500" => "it is drained and restarted; no request fails",
    hung_is_killed: "a process that was ready hangs" => "it is killed after `failures` checks, and its callers are served again",
    worker_by_command: "a worker's live check exits with 1" => "it is restarted",
    container_by_command: "the live check of a container exits with 1" => "it is restarted",
    watchdog: "a process stops sending WATCHDOG=1" => "systemd restarts it",
    nobody_else_is_disturbed,
);

const SECOND: Duration = Duration::from_secs(1);
const DIR: &str = "/root/app";

/// Answers with its process; `/break` makes `/live` answer 500 from then on.
const SERVER: &str = r#"#!/usr/bin/python3
import http.server, os, socket
broken = False
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global broken
        broken = broken or self.path == "/break"
        body = f"1 {os.getpid()}\n".encode()
        self.send_response(500 if broken and self.path == "/live" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
    def address_string(self): return ""
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
"#;

fn declare(m: &Machine, live: &str, rest: &str) {
    let text = format!(
        "concurrency = 2\n[exec]\ncommand = [\"./server\"]\n[health]\nhttp = \"/healthz\"\n[health.live]\ninterval = \"1s\"\n{live}\n\
         [[route]]\nhost = [\"app.localhost\"]\ntls = \"off\"\n[deploy]\ndrain_timeout = \"10s\"\n{rest}"
    );
    m.write(&format!("{DIR}/service.toml"), &text);
    m.write_executable(&format!("{DIR}/server"), SERVER);
    m.run(&format!("conductor service declare {DIR}"));
}

/// The main processes of the service's deployments, in order.
fn pids(m: &Machine) -> Vec<String> {
    let shown = m.run("systemctl show --property=MainPID --value 'app-????????????@*.service'");
    shown.split_whitespace().map(str::to_owned).collect()
}

fn warning(m: &Machine) -> String {
    m.run("journalctl --sync; journalctl --priority=warning --output=cat CONDUCTOR_SERVICE=app | cat")
}

/// Waits until another process has taken the place of one, and both are ready.
fn until_replaced(m: &Machine, pid: &str) {
    m.until("another process is there", 60 * SECOND, || {
        let now = pids(m);
        now.len() == 2 && !now.contains(&pid.to_owned()) && !now.contains(&"0".to_owned())
    });
    m.until("both are ready", 30 * SECOND, || {
        let rows: serde_json::Value = serde_json::from_str(&m.run("conductor deployment list --json")).expect("JSON");
        rows.as_array().is_some_and(|rows| rows.len() == 2 && rows.iter().all(|row| row["state"] == "active"))
    });
}

fn answering_is_drained(m: &mut Machine) {
    declare(m, "http = \"/live\"\nfailures = 2", "");
    let load = m.load(Load { host: "app.localhost".into(), post: false, pause_ms: 5, clients: 4, ..Load::default() });
    for _ in 0..2 {
        let broken = m.run("curl --silent --fail http://app.localhost/break").trim().to_owned();
        let pid = broken.split(' ').nth(1).expect("a process").to_owned();
        until_replaced(m, &pid);
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    let told = warning(m);
    let expected = "does not live: 2 checks in a row failed (GET /live: 500 Internal Server Error";
    assert!(told.contains(expected) && told.contains("restarting it when"), "{told}");
    m.note(seen);
}

fn hung_is_killed(m: &mut Machine) {
    declare(m, "http = \"/live\"\ntimeout = \"1s\"", "");
    let pid = pids(m)[0].clone();
    m.run(&format!("kill -STOP {pid}"));
    // Those who came meanwhile wait for it: they are served by the next process, or refused with it.
    until_replaced(m, &pid);
    for _ in 0..12 {
        m.run("curl --silent --fail --max-time 5 http://app.localhost/");
    }
    let told = warning(m);
    assert!(told.contains("3 checks in a row failed (GET /live: no answer within 1s); killing it"), "{told}");
    let status = m.run("conductor service status app");
    assert!(!status.contains("live checks"), "{status}");
}

const WORKER: &str = "[exec]\ncommand = [\"sleep\", \"infinity\"]\n[systemd.service]\nStateDirectory = \"app\"\n";

fn worker_by_command(m: &mut Machine) {
    m.write_executable(
        &format!("{DIR}/alive"),
        "#!/bin/sh\n[ \"$(id -un)\" = conductor-app ] && [ ! -e \"$STATE_DIRECTORY/stuck\" ]\n",
    );
    m.write(
        &format!("{DIR}/service.toml"),
        &format!(
            "{WORKER}[listen]\ntype = \"none\"\n[health.live]\nexec = [\"./alive\"]\ninterval = \"1s\"\nfailures = 2\n"
        ),
    );
    m.run(&format!("conductor service declare {DIR}"));
    let pid = pids(m)[0].clone();
    m.run("touch /var/lib/app/stuck");
    m.until("its check has failed", 60 * SECOND, || m.run("conductor service status app").contains("live checks"));
    m.until("another process is there", 60 * SECOND, || !["0", &pid].contains(&pids(m)[0].as_str()));
    m.run("rm /var/lib/app/stuck");
    let told = warning(m);
    assert!(told.contains("2 checks in a row failed (./alive: exited with status 1)"), "{told}");
    m.until("it lives", 60 * SECOND, || !m.run("conductor service status app").contains("live checks"));
}

fn container_by_command(m: &mut Machine) {
    image::make(m, IMAGE, "1");
    m.write(
        &format!("{DIR}/service.toml"),
        &format!(
            "[container]\nimage = {IMAGE:?}\nport = 8080\nexec = [\"/bin/app\", \"--address\", \"0.0.0.0\", \"--tcp\", \"8080\", \"--stop-delay\", \"0s\"]\n\
             [health]\nhttp = \"/healthz\"\n[health.live]\nexec = [\"/bin/app\", \"--no-such-option\"]\ninterval = \"1s\"\n"
        ),
    );
    m.run(&format!("conductor service declare {DIR}"));
    let pid = pids(m)[0].clone();
    m.until("another process is there", 60 * SECOND, || !["0", &pid].contains(&pids(m)[0].as_str()));
    let told = warning(m);
    assert!(told.contains("does not live: 3 checks in a row failed"), "{told}");
}

/// Reports to systemd until there is a file.
const NOTIFIES: &str = r#"#!/usr/bin/python3
import os, socket, time
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0"))
notify.send(b"READY=1")
while True:
    if not os.path.exists(os.environ["STATE_DIRECTORY"] + "/stuck"): notify.send(b"WATCHDOG=1")
    time.sleep(0.2)
"#;

fn watchdog(m: &mut Machine) {
    m.write_executable(&format!("{DIR}/server"), NOTIFIES);
    m.write(
        &format!("{DIR}/service.toml"),
        "[exec]\ncommand = [\"./server\"]\n[listen]\ntype = \"none\"\n[health]\nnotify = true\n\
         [health.live]\nnotify = true\ninterval = \"10s\"\n[systemd.service]\nStateDirectory = \"app\"\n",
    );
    m.run(&format!("conductor service declare {DIR}"));
    let pid = pids(m)[0].clone();
    m.run("touch /var/lib/app/stuck");
    m.until("another process is there", 60 * SECOND, || !["0", &pid].contains(&pids(m)[0].as_str()));
    m.run("rm /var/lib/app/stuck");
}

/// A deployment that rests is not woken, the journal is not filled, and the timer goes with the last service that wants it.
fn nobody_else_is_disturbed(m: &mut Machine) {
    declare(m, "http = \"/live\"", "[listen]\nidle_timeout = \"2s\"\n");
    m.until("both rest", 60 * SECOND, || {
        let rows: serde_json::Value = serde_json::from_str(&m.run("conductor deployment list --json")).expect("JSON");
        rows.as_array().is_some_and(|rows| rows.len() == 2 && rows.iter().all(|row| row["state"] == "idle"))
    });
    let runs = || {
        m.run("systemctl show --property=ActiveEnterTimestampMonotonic --value conductor-live@1s.timer; systemctl show --property=InactiveExitTimestampMonotonic --value conductor-live@1s.service")
    };
    let before = runs();
    m.until("it was asked again", 30 * SECOND, || runs() != before);
    assert_eq!(m.run("pgrep --full '[.]/server' || true"), "");
    assert_eq!(m.run("journalctl --sync; journalctl --quiet --output=cat --unit=conductor-live@1s.service"), "");
    m.run("systemctl stop app");
    m.until("the timer is gone", 30 * SECOND, || m.prop("conductor-live@1s.timer", "ActiveState") == "inactive");
    m.run("systemctl start app");
    assert_eq!(m.prop("conductor-live@1s.timer", "ActiveState"), "active");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}
