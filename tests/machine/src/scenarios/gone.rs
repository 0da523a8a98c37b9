//! Connections that callers have closed and processes have not: a drain waits for them for abandoned_timeout alone.

use std::time::{Duration, Instant};

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, Engine, Listen, Shop};
use crate::scenario::scenarios;

const GONE: &str = "callers have gone, and the process keeps their connections open";
const NO_WAIT: &str = "a rollout does not wait until drain_timeout; no request fails";

scenarios!("gone":
    activation(|m| rolls(m, Engine::Exec(Listen::Activation))): GONE => "a rollout waits for abandoned_timeout; no request fails",
    unix(|m| rolls(m, Engine::Exec(Listen::Unix))): GONE => "a rollout waits for abandoned_timeout; no request fails",
    tcp(|m| rolls(m, Engine::Exec(Listen::Tcp))): GONE => NO_WAIT,
    container(|m| rolls(m, Engine::Container(Listen::Tcp))): GONE => NO_WAIT,
    container_unix(|m| rolls(m, Engine::Container(Listen::Unix))): GONE => NO_WAIT,
    port: "callers of a port have gone, and the process keeps their connections open"
        => "a stop does not wait until drain_timeout",
    never_accepted: "callers have gone whom the process never accepted" => "a stop does not wait until drain_timeout",
    checks: "the process keeps the connections of health checks open" => "no stop waits for them",
    waiting: "callers wait for their answers when their deployment stops, one has closed its sending side"
        => "they get all of it, long after abandoned_timeout",
);

const HOUR: &str = "drain_timeout = \"1h\"";
const SECOND: Duration = Duration::from_secs(1);

/// What the hooks of deployments have logged about connections that they did not wait for.
fn told(m: &Machine) -> String {
    m.run("journalctl --sync; journalctl --output=cat | grep -e 'not waiting for' -e 'stopping although' || true")
}

/// Who would be waited for until drain_timeout is over would exceed the limit of any command here.
fn rolls(m: &mut Machine, engine: Engine) {
    // It keeps a descriptor for each request.
    let deploy = format!("[deploy]\n{HOUR}\nabandoned_timeout = \"1s\"\n[systemd.service]\nLimitNOFILE = 500000");
    let shop = Shop::new(2).engine(engine).flags("--never-close").extra(&deploy);
    shop.declare(m, "1");
    let load = m.load(Load { clients: 8, pause_ms: 20, ..shop::load() });
    let start = Instant::now();
    shop.declare(m, "2");
    let took = start.elapsed();
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("{took:.1?}, {seen}"));
    shop::assert_serves(m, "2", 2);
    let told = told(m);
    let is_bridged = matches!(engine, Engine::Exec(Listen::Tcp) | Engine::Container(Listen::Tcp));
    if is_bridged {
        assert_eq!(told, "");
    } else {
        assert_eq!(told.matches("not waiting for connections that callers closed 1s ago").count(), 2, "{told}");
        assert!(took >= 2 * SECOND, "one deployment after the other: {took:?}");
    }
}

/// Takes the socket of systemd and answers `whole` and a million bytes once /run/answer is there: after a line, or the end
/// of what its caller sends. With `deaf` it accepts a single connection, that of the health check; it closes none.
const SERVER: &str = r#"#!/usr/bin/python3
import os, socket, sys, threading, time
listener = socket.socket(fileno=3)
kept = []
def serve(connection):
    kept.append(connection)
    if not connection.recv(100):
        return
    while not os.path.exists("/run/answer"):
        time.sleep(0.01)
    connection.sendall(b"whole" + b"." * 1000000 + b"\n")
    connection.shutdown(socket.SHUT_WR)
while True:
    connection = listener.accept()[0]
    threading.Thread(target=serve, args=[connection]).start()
    while "deaf" in sys.argv:
        time.sleep(1)
"#;

/// Sends a line to the first slot, or to port 7000, and leaves, or prints how long the answer was; `half` closes its
/// sending side.
const CLIENT: &str = r#"#!/usr/bin/python3
import socket, sys
if "7000" in sys.argv:
    caller = socket.create_connection(("127.0.0.1", 7000))
else:
    caller = socket.socket(socket.AF_UNIX)
    caller.connect("/run/conductor/slots/slow/1")
caller.sendall(b"hello\n")
if "leave" in sys.argv:
    sys.exit()
if "half" in sys.argv:
    caller.shutdown(socket.SHUT_WR)
length = 0
while read := caller.recv(100000):
    length += len(read)
print(length)
"#;

/// Asks the shop for its health, and leaves the connection to the kernel.
const CHECK: &str = r#"#!/usr/bin/python3
import os, socket
asking = socket.socket(socket.AF_UNIX)
asking.connect(os.environ["CONDUCTOR_SOCKET"])
asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n")
assert asking.recv(100).startswith(b"HTTP/1.1 200")
"#;

/// Declares the server above as `slow`.
fn declare(m: &Machine, flag: &str, extra: &str) {
    m.write_executable("/root/server", SERVER);
    m.write_executable("/root/client", CLIENT);
    m.run("install -D --mode=755 /root/server /root/slow/server");
    let text = format!("[exec]\ncommand = [\"./server\"{flag}]\n[health]\ntcp = true\n{extra}\n");
    m.write("/root/slow/service.toml", &text);
    m.run("conductor service declare /root/slow");
}

fn is_stopping(m: &Machine) -> bool {
    m.run("systemctl show --property=ActiveState --value 'slow-*@1.service'").trim() == "deactivating"
}

/// Waits until the process has so many connections open, one of them that of its health check.
fn until_open(m: &Machine, connections: u32) {
    let count = "ss --unix --no-header state established | grep -c /run/conductor/sockets/slow- || true";
    m.until("connections are open", 60 * SECOND, || m.run(count).trim() == connections.to_string());
}

fn port(m: &mut Machine) {
    declare(m, "", &format!("[[port]]\nlisten = \"127.0.0.1:7000\"\n[deploy]\n{HOUR}\nabandoned_timeout = \"1s\""));
    for _ in 0..3 {
        m.run("/root/client 7000 leave");
    }
    until_open(m, 4);
    m.run("systemctl stop slow");
    assert_eq!(told(m).matches("callers closed 1s ago: 3 accepted and 0 queued").count(), 1, "{}", told(m));
}

fn never_accepted(m: &mut Machine) {
    declare(m, ", \"deaf\"", &format!("[deploy]\n{HOUR}\nabandoned_timeout = \"1s\""));
    for _ in 0..3 {
        m.run("/root/client leave");
    }
    m.run("systemctl stop slow");
    assert_eq!(told(m).matches("callers closed 1s ago: 0 accepted and 3 queued").count(), 1, "{}", told(m));
}

fn checks(m: &mut Machine) {
    let deploy = format!("[deploy]\n{HOUR}\nabandoned_timeout = \"1h\"");
    declare(m, "", &deploy);
    until_open(m, 1);
    m.run("systemctl stop slow");
    for listen in [Listen::Activation, Listen::Unix, Listen::Tcp] {
        let shop = Shop::new(2).engine(Engine::Exec(listen)).flags("--never-close").extra(&deploy);
        shop.declare(m, "1");
        m.run("systemctl kill --signal=KILL 'shop-*@1.service'");
        m.until("it is back", 60 * SECOND, || shop::deployments(m) == shop::active(&shop::generation(m), 1..=2));
        shop.declare(m, "2");
        m.run("conductor service rm shop");
    }
    // A command that asks by itself, as the service's user.
    let shop = Shop::new(2).engine(Engine::Exec(Listen::Unix)).flags("--never-close").extra(&deploy);
    m.write_executable("/root/shop/check", CHECK);
    shop.write(m);
    m.run("sed -i 's/^http = .*/exec = [\".\\/check\"]/' /root/shop/service.toml");
    m.run(&shop::command("1"));
    m.run("conductor service stop shop");
    assert_eq!(told(m), "");
}

fn waiting(m: &mut Machine) {
    declare(m, "", &format!("[deploy]\n{HOUR}\nabandoned_timeout = \"10ms\""));
    let callers = [m.spawn("/root/client"), m.spawn("/root/client half")];
    until_open(m, 3);
    let stop = m.spawn("systemctl stop slow");
    m.until("it stops", 60 * SECOND, || is_stopping(m));
    std::thread::sleep(SECOND);
    assert!(is_stopping(m), "it waits for its callers");
    m.write("/run/answer", "");
    for caller in callers {
        assert_eq!(caller.finish().trim(), "1000006");
    }
    stop.finish();
}
