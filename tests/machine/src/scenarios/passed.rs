//! Ports whose sockets the processes take: `[[port]] pass = true`, for streams and datagrams.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("passed":
    sockets_are_shared: "a server of TCP and UDP is updated, scaled, killed and rolled back while callers come"
        => "no caller and no datagram is lost; the server sees its callers' addresses",
    taken_port: "a port that processes are to take belongs to somebody else" => "`declare` says whose it is; what served before serves on",
    own_connections_drain: "a server of long connections is told to stop accepting when it is updated"
        => "each process answers those that it has accepted, and no new caller is refused",
    beside_a_listener,
    follows_its_service,
);

const SECOND: Duration = Duration::from_secs(1);
const DIR: &str = "/root/echo";

/// Answers each caller, and each datagram, with its version, its process and the caller's port, until SIGTERM; then what
/// it has accepted is answered and the rest is left to others.
const SERVER: &str = r#"#!/usr/bin/python3
import os, selectors, signal, socket
names = dict(zip(os.environ["LISTEN_FDNAMES"].split(":"), range(3, 3 + int(os.environ["LISTEN_FDS"]))))
assert set(names) >= {"tcp", "udp"}, names
stream, datagram = socket.socket(fileno=names["tcp"]), socket.socket(fileno=names["udp"])
wake, told = os.pipe()
os.set_blocking(told, False)
signal.set_wakeup_fd(told)
signal.signal(signal.SIGTERM, lambda *_: None)
words = lambda peer: f"{os.environ['VERSION']} {os.getpid()} {peer[1]}\n".encode()
ready = selectors.DefaultSelector()
for one in (stream, datagram, wake):
    if one is not wake: one.setblocking(False)
    ready.register(one, selectors.EVENT_READ)
while True:
    found = [key.fileobj for key, _ in ready.select()]
    if wake in found: break
    try:
        if stream in found:
            caller, peer = stream.accept()
            caller.settimeout(5)
            caller.recv(100)
            caller.sendall(words(peer))
            caller.close()
        if datagram in found:
            _, peer = datagram.recvfrom(100)
            datagram.sendto(words(peer), peer)
    except BlockingIOError:
        pass  # another deployment was faster
"#;

/// Calls a port one after the other, by TCP and UDP, until there is a file /run/over; prints the calls, and what failed. With another
/// argument it calls once each.
const CALLER: &str = r#"import os, socket, sys, threading, time
calls, failed, versions = [0], [], set()

def answer_to(kind, port):
    with socket.socket(socket.AF_INET, kind) as caller:
        caller.settimeout(20)
        caller.connect(("127.0.0.1", port))
        caller.send(b"hello")
        version, _, peer = caller.recv(100).split()
        assert int(peer) == caller.getsockname()[1], (peer, caller)
        return version.decode()

def call(kind):
    while not os.path.exists("/run/over"):
        try:
            versions.add(answer_to(kind, int(sys.argv[1])))
        except Exception as error:
            failed.append(f"{kind.name}: {error!r}")
        calls[0] += 1
        time.sleep(0.005)

if sys.argv[2:]:
    sys.exit(print(*(answer_to(kind, int(sys.argv[1])) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))))
threads = [threading.Thread(target=call, args=(kind,)) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(calls[0], ",".join(sorted(versions)), *failed[:10], sep="\n")
"#;

fn declaration(ports: &str, rest: &str) -> String {
    format!(
        r#"concurrency = 2
[exec]
command = ["./server"]
environment = {{ VERSION = "{{{{ VERSION }}}}" }}
{rest}
{ports}"#
    )
}

const WORKER: &str = "[listen]\ntype = \"none\"\n[health]\nstart = \"100ms\"";

fn ports(number: u16) -> String {
    format!(
        "[[port]]\nlisten = \"127.0.0.1:{number}\"\npass = true\nname = \"tcp\"\n\
         [[port]]\nlisten = \"127.0.0.1:{number}\"\npass = true\ndatagram = true\nname = \"udp\"\n"
    )
}

fn write(m: &Machine, text: &str) {
    m.write(&format!("{DIR}/service.toml"), text);
    m.write_executable(&format!("{DIR}/server"), SERVER);
    m.write("/root/caller.py", CALLER);
}

fn declare(m: &Machine, version: &str) -> String {
    m.run(&format!("conductor service declare {DIR} VERSION={version} 2>&1"))
}

/// The versions that answer by TCP and by UDP.
fn answers(m: &Machine, port: u16) -> String {
    m.run(&format!("python3 /root/caller.py {port} once")).trim().to_owned()
}

fn sockets(m: &Machine) -> Vec<String> {
    let listed = m.run("systemctl list-units --plain --no-legend 'echo-passed@*.socket' | cut -d ' ' -f 1");
    listed.lines().map(str::to_owned).collect()
}

fn sockets_are_shared(m: &mut Machine) {
    write(m, &declaration(&ports(7007), WORKER));
    declare(m, "1");
    let caller = m.spawn("python3 /root/caller.py 7007");
    for version in ["2", "3"] {
        declare(m, version);
    }
    m.run("conductor service scale echo 3");
    m.run("conductor service restart echo");
    m.run("kill -TERM $(systemctl show --property=MainPID --value 'echo-????????????@1.service')");
    m.run("conductor service rollback echo");
    let broken =
        m.try_run(&format!("sed -i 's/^assert/raise/' {DIR}/server; conductor service declare {DIR} VERSION=4"));
    assert!(!broken.success(), "{broken}");
    m.run("touch /run/over");
    let told = caller.finish();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 2, "{told}");
    assert!(["1", "2", "3"].iter().all(|version| lines[1].split(',').any(|seen| seen == *version)), "{told}");
    m.note(format!("{} calls, 0 failed", lines[0]));
    assert_eq!(sockets(m), ["echo-passed@127.0.0.1-7007-udp.socket", "echo-passed@127.0.0.1-7007.socket"]);
}

fn taken_port(m: &mut Machine) {
    write(m, &declaration(&ports(7007), WORKER));
    declare(m, "1");
    for kind in ["DGRAM", "STREAM"] {
        let listen = if kind == "STREAM" { "; taken.listen()" } else { "" };
        let mut other = m.spawn(&format!(
            "exec python3 -c 'import socket, time
taken = socket.socket(socket.AF_INET, socket.SOCK_{kind}); taken.bind((\"127.0.0.1\", 7008)){listen}; time.sleep(100)'"
        ));
        m.until("it listens", 10 * SECOND, || m.run("ss -lnHtu 'sport = 7008' | wc -l").trim() == "1");
        write(m, &declaration(&ports(7008), WORKER));
        let output = m.try_run(&format!("conductor check {DIR} VERSION=2"));
        assert!(!output.success() && output.stderr.contains("python3 (process "), "{kind}: {output}");
        let output = m.try_run(&format!("conductor service declare {DIR} VERSION=2"));
        assert!(!output.success() && output.stderr.contains("python3"), "{kind}: {output}");
        assert_eq!(answers(m, 7007), "1 1");
        assert!(other.is_running());
        m.run("kill $(pgrep --full 'time[.]sleep')");
        drop(other.wait());
    }
    // Other numbers than the process expects are another generation.
    write(m, &declaration(&ports(7008), WORKER));
    declare(m, "2");
    assert_eq!(sockets(m), ["echo-passed@127.0.0.1-7008-udp.socket", "echo-passed@127.0.0.1-7008.socket"]);
    assert_eq!(answers(m, 7008), "2 2");
    // Of another service it is known before anything is done; TCP and UDP have numbers of their own.
    m.run(&format!("cp -r {DIR} /root/other"));
    let output = m.try_run("conductor check /root/other VERSION=1");
    assert!(output.stderr.contains("the service echo already listens on 127.0.0.1:7008"), "{output}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// A process may have passed sockets beside the one that the proxy's callers reach.
fn beside_a_listener(m: &mut Machine) {
    let http = SERVER.replace(
        "wake, told",
        "http = socket.socket(fileno=names['listen'])\nthreading.Thread(target=web, daemon=True).start()\nwake, told",
    );
    let http = http.replace(
        "names = dict",
        "import threading\ndef web():\n    while True:\n        caller = http.accept()[0]\n        caller.recv(1000)\n        \
         caller.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nhello')\n        \
         caller.close()\nnames = dict",
    );
    let web = "[health]\nhttp = \"/\"\n[[route]]\nhost = [\"echo.localhost\"]\ntls = \"off\"";
    write(m, &declaration(&ports(7007), web));
    m.write_executable(&format!("{DIR}/server"), &http);
    declare(m, "1");
    assert_eq!(m.run("curl --silent --fail http://echo.localhost/"), "hello");
    assert_eq!(answers(m, 7007), "1 1");
    declare(m, "2");
    assert_eq!(m.run("curl --silent --fail http://echo.localhost/"), "hello");
    assert_eq!(answers(m, 7007), "2 2");
}

fn follows_its_service(m: &mut Machine) {
    write(m, &declaration(&ports(7007), WORKER));
    declare(m, "1");
    // Callers who come while every process has been killed wait for the next.
    m.run("systemctl kill --signal=KILL 'echo-????????????@*.service'");
    assert_eq!(answers(m, 7007), "1 1");
    m.until("both run", 20 * SECOND, || {
        m.run("systemctl list-units --plain --no-legend --state=active 'echo-????????????@*.service' | wc -l").trim()
            == "2"
    });
    let output = m.try_run("systemctl stop echo");
    assert!(output.success() && output.stderr.is_empty(), "{output}");
    assert_eq!(m.run("ss -lnHtu 'sport = 7007'"), "");
    assert_eq!(sockets(m), [""; 0]);
    m.run("systemctl start echo");
    assert_eq!(answers(m, 7007), "1 1");
    m.run("conductor daemon-reload; systemctl daemon-reload");
    assert_eq!(answers(m, 7007), "1 1");
    m.reboot();
    assert_eq!(answers(m, 7007), "1 1");
    m.run("conductor service rm echo");
    assert_eq!(m.run("ss -lnHtu 'sport = 7007'; systemctl list-units --all --plain --no-legend 'echo*'"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// Accepts until SIGUSR1; a caller who says "long" is answered after two seconds, and one who says "ping" at once. SIGTERM ends
/// it whatever it does.
const LONG: &str = r#"#!/usr/bin/python3
import os, signal, socket, threading, time
listener = socket.socket(fileno=3)
wake, told = os.pipe()
signal.signal(signal.SIGUSR1, lambda *_: os.write(told, b"x"))
def serve(caller):
    word = caller.recv(100)
    if word == b"long": time.sleep(2)
    caller.sendall(os.environ["VERSION"].encode())
    caller.close()
import select
while True:
    ready, _, _ = select.select([listener, wake], [], [])
    if wake in ready: break
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
listener.close()
threading.Event().wait()
"#;

/// Makes calls, half of them long, until there is a file; prints the calls and what failed.
const LONG_CALLER: &str = r#"import os, socket, threading, time
calls, failed = [0], []
def call(word):
    while not os.path.exists("/run/over"):
        try:
            with socket.create_connection(("127.0.0.1", 7007), timeout=60) as caller:
                caller.sendall(word)
                if not caller.recv(100): failed.append("closed")
        except OSError as error:
            failed.append(repr(error))
        calls[0] += 1
        time.sleep(0.005)
threads = [threading.Thread(target=call, args=(word,)) for word in (b"long", b"ping") for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(calls[0], *failed[:10], sep="\n")
"#;

fn own_connections_drain(m: &mut Machine) {
    let port = "[[port]]\nlisten = \"127.0.0.1:7007\"\npass = true\n";
    write(m, &declaration(port, &format!("{WORKER}\n[deploy]\ndrain_signal = \"SIGUSR1\"\ndrain_timeout = \"1min\"")));
    m.write_executable(&format!("{DIR}/server"), LONG);
    m.write("/root/long.py", LONG_CALLER);
    declare(m, "1");
    let caller = m.spawn("python3 /root/long.py");
    for version in ["2", "3", "4"] {
        declare(m, version);
    }
    m.run("touch /run/over");
    let told = caller.finish();
    assert_eq!(told.lines().count(), 1, "{told}");
    m.note(format!("{} calls, 0 failed", told.trim()));
}
