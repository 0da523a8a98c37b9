//! Callers and programs of functions that try to get around a function's limits.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, count, curl, declare, direct, get, ready};

scenarios!("attacks":
    slow_readers: "callers ask for large answers and read nothing, of each interface and mode"
        => "the program, its slot and the connection end at the timeout; the next caller is served",
    large_bodies: "callers send bodies without end, with Content-Length and chunked, through the proxy and at the socket"
        => "413 at once; a body takes no room before it is sent; nothing is left on the disk",
    slow_senders: "a caller sends its body a byte a second" => "it takes no slot of a program: others are served",
    processes_that_flee: "programs leave processes behind in other sessions, with another request's variables, and that start others without end"
        => "none outlives its request, also while other requests run",
    gateway_from_inside: "a program without a sandbox reads, writes and traces its gateway"
        => "the kernel refuses each, and the variables of systemd's notification are not the program's",
    stopped_gateway: "a program stops its gateway with SIGSTOP" => "systemd's watchdog replaces it, and callers are served",
    smuggled_requests: "requests with two lengths, odd lengths, odd line ends, two hosts, and names that end up in variables"
        => "one answer each; no second request comes of it, and no variable that the proxy did not send",
    programs_that_flood: "programs write headers, bodies and errors without end"
        => "502 or the answer's end at the timeout; the gateway needs no more memory",
);

/// Writes more than any buffer has room for, in HTTP on stdin and stdout.
const LARGE_HTTP: &str = r#"#!/usr/bin/python3
import sys
small = False
for line in iter(sys.stdin.buffer.readline, b""):
    small = small or line.startswith(b"GET /small")
    if line != b"\r\n": continue
    size = 5 if small else 70_000_000
    sys.stdout.buffer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    sys.stdout.buffer.flush()
    small = False
"#;

/// The same as a CGI program.
const LARGE_CGI: &str = r#"#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
case "$PATH_INFO" in
/small) printf small ;;
/medium) head -c 280000 /dev/zero ;;
*) exec head -c 70000000 /dev/zero ;;
esac
"#;

/// Asks on so many connections to a socket, reads nothing, and ends when the last connection has been closed.
const MUTE: &str = r#"
import select, socket, sys
left, poll = {}, select.poll()
for _ in range(int(sys.argv[3])):
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    s.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    left[s.fileno()] = s; poll.register(s, 0)
while left:
    closed = poll.poll(40_000)
    assert closed, "open after 40 s"
    for number, _ in closed: poll.unregister(number); del left[number]
"#;

fn slow_readers(m: &mut Machine) {
    ready(m);
    m.write("/root/mute.py", MUTE);
    for (interface, mode) in [("cgi", "pooled"), ("http", "pooled"), ("cgi", "isolated"), ("http", "isolated")] {
        let program = if interface == "cgi" { LARGE_CGI } else { LARGE_HTTP };
        let id = declare(
            m,
            &format!("{interface}-{mode}"),
            program,
            &format!("interface = \"{interface}\"\nmode = \"{mode}\"\ntimeout = \"2s\"\nmax_concurrency = 2\n{EXEC}"),
        );
        assert_eq!(direct(m, &id, "/small", "").0, 200, "{interface} {mode}");
        let mute = m.spawn(&format!("exec python3 /root/mute.py /run/conductor/cgi/{id} /large 2"));
        std::thread::sleep(Duration::from_millis(500));
        m.until("a third is served", Duration::from_secs(15), || direct(m, &id, "/small", "").0 == 200);
        mute.finish();
    }
    m.until("their programs have ended", Duration::from_secs(10), || count(m, "head -c 70000000") == 0);

    // Through the proxy, and what is left in buffers after the program's end.
    let manifest = format!("aliases = [\"/rest\"]\ntimeout = \"2s\"\nmax_concurrency = 2\n{EXEC}");
    let id = declare(m, "rest", LARGE_CGI, &manifest);
    assert_eq!(get(m, "/rest/small"), (200, "small".into()));
    let slow = m.spawn("for i in 1 2 3 4 5 6; do curl --silent --limit-rate 1k --max-time 20 --output /dev/null http://localhost/rest/large & done; wait");
    m.until("programs run", Duration::from_secs(5), || count(m, "head -c 70000000") == 2);
    m.until("programs have ended", Duration::from_secs(15), || count(m, "head -c 70000000") == 0);
    assert_eq!(get(m, "/rest/small"), (200, "small".into()));
    m.spawn(&format!("exec python3 /root/mute.py /run/conductor/cgi/{id} /medium 2")).finish();
    slow.wait();
}

fn large_bodies(m: &mut Machine) {
    ready(m);
    let used =
        || m.run("df --output=used --block-size=1M /var/tmp | tail --lines=1").trim().parse::<i64>().expect("MiB");
    let before = used();
    for (interface, mode) in [("cgi", "pooled"), ("http", "pooled"), ("cgi", "isolated"), ("http", "isolated")] {
        let (name, program) = (format!("{interface}-{mode}"), if interface == "cgi" { ACT } else { READER });
        let id = declare(
            m,
            &name,
            program,
            &format!("interface = \"{interface}\"\nmode = \"{mode}\"\nmax_body = \"1M\"\n{EXEC}"),
        );
        let home = format!("/cgi/{id}");
        m.run("head -c 1048576 /dev/zero >/root/most; head -c 1048577 /dev/zero >/root/more");
        let post = |path: &str, options: &str| direct(m, &id, path, &format!("--request POST {options}"));
        for chunked in ["", "--header Transfer-Encoding:chunked"] {
            assert_eq!(
                post("/count", &format!("--data-binary @/root/most {chunked}")),
                (200, "1048576 1048576\n".into()),
                "{name}"
            );
            assert_eq!(post("/count", &format!("--data-binary @/root/more {chunked}")).0, 413, "{name} {chunked}");
        }
        // Its length alone is enough: nothing of it is sent.
        let alone = raw(m, &id, "b'POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 99999999999\\r\\n\\r\\n'");
        assert!(alone.starts_with("HTTP/1.1 413"), "{name}: {alone}");
        let endless = format!(
            "head -c 1500000000 /dev/zero | curl --silent --output /dev/null --write-out '%{{http_code}}' --upload-file - http://localhost{home}/count || true"
        );
        // Caddy may close the connection of a client that still sends before the client has read the answer.
        let seen = m.run(&endless);
        assert_ne!(seen.trim(), "200", "{name}");
        m.until("the journal has it", Duration::from_secs(5), || {
            m.run(&format!("journalctl --sync; journalctl CONDUCTOR_FUNCTION={id} --output=cat | cat"))
                .contains(&format!("PUT {home}/count: 413: "))
        });
        assert_eq!(get(m, &format!("{home}/count")).0, 200, "{name}");
    }
    assert!(used() < before + 50, "{before} MiB, then {}", used());

    // A body takes no room before it is sent.
    let id = declare(m, "room", ACT, &format!("max_body = \"1G\"\ntimeout = \"10s\"\n{EXEC}"));
    assert_eq!(direct(m, &id, "/x", "").0, 200);
    m.write("/root/announce.py", &format!("import socket, time\ns = socket.socket(socket.AF_UNIX); s.connect('/run/conductor/cgi/{id}')\ns.sendall(b'POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 1073741824\\r\\n\\r\\n'); time.sleep(0.5); open('/root/announced', 'w'); print(s.recv(99).decode())\n"));
    let announced = m.spawn("exec python3 /root/announce.py");
    m.until("it has announced its body", Duration::from_secs(8), || m.try_run("test -e /root/announced").success());
    let post = || direct(m, &id, "/count", "--include --data x").1;
    assert!(post().starts_with("HTTP/1.1 200"));
    assert!(announced.finish().starts_with("HTTP/1.1 408"));
    assert!(post().starts_with("HTTP/1.1 200"));
}

/// Reads bodies in HTTP on stdin and stdout, and answers as ACT does at `/count`.
const READER: &str = r#"#!/usr/bin/python3
import sys
i, o = sys.stdin.buffer, sys.stdout.buffer
while True:
    first, length, chunked = i.readline(), 0, False
    if not first: break
    for line in iter(i.readline, b"\r\n"):
        name, value = line.lower().split(b":", 1)
        if name == b"content-length": length = int(value)
        if name == b"transfer-encoding": chunked = True
    size = len(i.read(length))
    while chunked:
        line = i.readline()
        if not line: sys.exit()
        part = int(line, 16)
        size += len(i.read(part)); i.readline()
        if not part: break
    text = b"%d %d\n" % (size, size)
    o.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text); o.flush()
"#;

/// Sends bytes, a Python expression, to a function's socket, and returns what comes back.
fn raw(m: &Machine, id: &str, bytes: &str) -> String {
    m.write("/root/raw.py", &format!(
        "import socket\ns = socket.socket(socket.AF_UNIX); s.connect('/run/conductor/cgi/{id}'); s.settimeout(5)\ns.sendall({bytes})\nout = b''\ntry:\n    while part := s.recv(65536): out += part\nexcept OSError: pass\nprint(out.decode('latin1'))\n"));
    m.run("python3 /root/raw.py")
}

fn slow_senders(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, &format!("max_concurrency = 1\ntimeout = \"3s\"\n{EXEC}"));
    assert_eq!(direct(m, &id, "/x", "").0, 200);
    m.write("/root/slow.py", &format!("import socket, time\ns = socket.socket(socket.AF_UNIX); s.connect('/run/conductor/cgi/{id}'); s.settimeout(1)\ns.sendall(b'POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 1000\\r\\n\\r\\n')\nwhile True:\n    s.sendall(b'x')\n    try: print(s.recv(99).decode()); break\n    except TimeoutError: pass\n"));
    let slow = m.spawn("exec python3 /root/slow.py");
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..3 {
        assert_eq!(direct(m, &id, "/x", "").0, 200, "others have the slot");
    }
    assert!(slow.finish().starts_with("HTTP/1.1 408"));
    assert_eq!(direct(m, &id, "/count", "--data x"), (200, "1 1\n".into()));
}

/// Leaves processes behind; `sleep 60` of a number is to be found by it.
const FLEEING: &str = r#"#!/usr/bin/python3
import os, sys, time
how = os.environ["PATH_INFO"]
print("Content-Type: text/plain\n\n", how, flush=True)
if how == "/waits": time.sleep(8); sys.exit()
if os.fork(): time.sleep(0.2); sys.exit()
os.setsid()
if os.fork(): os._exit(0)
if how == "/forges":
    number = str(int(os.environ["CONDUCTOR_REQUEST"]) - 1)
    os.execve("/bin/sleep", ["sleep", "6011"], {"CONDUCTOR_REQUEST": number})
if how == "/hides":
    import ctypes
    ctypes.CDLL(None).prctl(4, 0)
    os.closerange(0, 3)
    time.sleep(6012)
if how == "/chain":
    end = time.time() + 30
    while time.time() < end:
        if os.fork(): os._exit(0)
        os.setsid()
os.closerange(0, 3)
os.execv("/bin/sleep", ["sleep", "6013"])
"#;

fn processes_that_flee(m: &mut Machine) {
    ready(m);
    let id = declare(m, "flee", FLEEING, EXEC);
    let pid = || m.prop(&format!("conductor-cgi-{id}.service"), "MainPID");
    let processes = || {
        m.run(&format!("cat /sys/fs/cgroup/$(systemctl show --property=ControlGroup --value conductor-cgi-{id}.service)/cgroup.procs | wc -l")).trim().parse::<u32>().expect("a number")
    };
    assert_eq!(direct(m, &id, "/plain", "").0, 200);
    m.until("the gateway is alone", Duration::from_secs(5), || processes() == 1);
    let gateway = pid();
    // An earlier request that still runs: the others may not pass for its processes.
    let waits = m.spawn(&format!("curl --silent --unix-socket /run/conductor/cgi/{id} http://x/waits"));
    m.until("it runs", Duration::from_secs(5), || processes() == 2);
    for how in ["/plain", "/forges", "/hides"] {
        assert_eq!(direct(m, &id, how, "").0, 200);
        m.until("its processes are gone", Duration::from_secs(4), || processes() == 2);
    }
    assert!(waits.finish().contains("/waits"), "the earlier one was left alone");
    assert_eq!(pid(), gateway, "the gateway ended them one by one");
    assert_eq!(direct(m, &id, "/chain", "").0, 200);
    m.until("the chain has ended", Duration::from_secs(12), || processes() <= 1);
    m.note(if pid() == gateway {
        "the gateway ended a chain of forks"
    } else {
        "a chain of forks ended with the gateway"
    });
    m.until("it serves", Duration::from_secs(5), || direct(m, &id, "/plain", "").0 == 200);
}

/// Tries what ptrace(2) permits among processes of one user.
const INSIDE: &str = r#"#!/usr/bin/python3
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
gateway = os.getppid()
room = ctypes.create_string_buffer(8)
def call(*arguments):
    if libc.syscall(*arguments) < 0: raise OSError(ctypes.get_errno(), "")
def memory():
    for line in open(f"/proc/{gateway}/maps"):
        if "[heap]" in line: open(f"/proc/{gateway}/mem", "rb+", 0)
print("Content-Type: text/plain\n")
numbers = {"x86_64": (101, 434, 438, 310), "aarch64": (117, 434, 438, 270)}[os.uname().machine]
for name, attempt in {
    "attach": lambda: call(numbers[0], 16, gateway, 0, 0),
    "descriptor": lambda: call(numbers[2], os.pidfd_open(gateway), 0, 0),
    "read": lambda: call(numbers[3], gateway, (ctypes.c_size_t * 2)(ctypes.addressof(room), 8), 1, (ctypes.c_size_t * 2)(0x1000, 8), 1, 0),
    "environ": lambda: open(f"/proc/{gateway}/environ").read(),
    "fd": lambda: os.listdir(f"/proc/{gateway}/fd"),
    "memory": memory,
}.items():
    try: attempt(); print(name, "DONE")
    except OSError as error: print(name, "refused" if error.errno in (1, 2, 13, 22) else error)
print(sorted(set(os.environ) & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS"}))
"#;

fn gateway_from_inside(m: &mut Machine) {
    ready(m);
    for sandbox in ["strict", "none"] {
        let id = declare(m, sandbox, INSIDE, &format!("{EXEC}sandbox = \"{sandbox}\"\n"));
        let (status, told) = direct(m, &id, "/", "");
        let refused = ["attach", "descriptor", "read", "environ", "fd", "memory"].map(|it| format!("{it} refused\n"));
        assert_eq!((status, told), (200, format!("{}[]\n", refused.concat())), "{sandbox}");
    }
}

fn stopped_gateway(m: &mut Machine) {
    ready(m);
    let id = declare(
        m,
        "stop",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhere'\n[ \"$PATH_INFO\" != /stop ] || kill -STOP $PPID\n",
        EXEC,
    );
    let service = format!("conductor-cgi-{id}.service");
    assert_eq!(direct(m, &id, "/x", "").0, 200);
    assert_eq!(m.prop(&service, "WatchdogUSec"), "1min");
    m.run(&format!("systemctl stop {service}"));
    m.write(&format!("/run/systemd/system/{service}.d/soon.conf"), "[Service]\nWatchdogSec=2s\n");
    m.run("systemctl daemon-reload");
    assert_eq!(direct(m, &id, "/x", "").0, 200);
    let first = m.prop(&service, "MainPID");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((direct(m, &id, "/x", "").0, m.prop(&service, "MainPID")), (200, first.clone()), "it reports in time");
    m.try_run(&format!("curl --silent --max-time 1 --unix-socket /run/conductor/cgi/{id} http://x/stop"));
    m.until("callers are served", Duration::from_secs(15), || direct(m, &id, "/x", "--max-time 1").0 == 200);
    assert_ne!(m.prop(&service, "MainPID"), first);
}

fn smuggled_requests(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, EXEC);
    let head = "Host: localhost\\r\\nConnection: close\\r\\n";
    let ask =
        |line: &str, fields: &str, rest: &str| raw(m, &id, &format!("b'{line} HTTP/1.1\\r\\n{fields}\\r\\n{rest}'"));
    for (fields, rest) in [
        ("Content-Length: 3\\r\\nContent-Length: 5\\r\\n", "abcde"),
        ("Content-Length: +3\\r\\n", "abc"),
        ("Content-Length: -3\\r\\n", "abc"),
        ("Content-Length: 18446744073709551616\\r\\n", "abc"),
        ("Transfer-Encoding: xchunked\\r\\n", "0\\r\\n\\r\\n"),
        ("Transfer-Encoding: chunked\\r\\nTransfer-Encoding: identity\\r\\n", "3\\r\\nabc\\r\\n0\\r\\n\\r\\n"),
        ("Transfer-Encoding : chunked\\r\\nContent-Length: 3\\r\\n", "abc"),
        ("X-A: b\\rX-Evil: 1\\r\\n", ""),
        ("X-A: b\\0c\\r\\n", ""),
        ("X-A: b\\r\\n X-Evil: 1\\r\\n", ""),
        ("Transfer-Encoding: chunked\\r\\n", "3 x\\r\\nabc\\r\\n0\\r\\n\\r\\n"),
        ("Transfer-Encoding: chunked\\r\\n", "3;a=\\nb\\r\\nabc\\r\\n0\\r\\n\\r\\n"),
    ] {
        let answer = ask("POST /env", &format!("{head}{fields}"), rest);
        assert!(answer.starts_with("HTTP/1.1 400"), "{fields} {rest}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{fields} {rest}: {answer}");
    }
    for (line, fields) in [
        ("GET /env", "Host: a\\r\\nHost: b\\r\\n"),
        ("GET /env", "Host: a b\\r\\n"),
        ("GET /env", "Host: a@b\\r\\n"),
        ("G(T /env", head),
        ("CONNECT x:80", head),
        ("OPTIONS *", head),
        ("GET /%00", head),
    ] {
        let answer = ask(line, fields, "");
        assert!(answer.starts_with("HTTP/1.1 400"), "{line} {fields}: {answer}");
    }
    let both = ask(
        "POST /env?first",
        &format!("{head}Content-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n"),
        "0\\r\\n\\r\\nGET /env?smuggled HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
    );
    assert!(!both.contains("smuggled"), "{both}");

    let fields = "X_Forwarded_For: 6.6.6.6\\r\\nContent_Length: 5\\r\\nProxy: http://evil\\r\\n-Proxy: evil\\r\\n_Proxy: evil\\r\\nPro.xy: evil\\r\\nX-Forwarded-For: 1.1.1.1\\r\\n";
    let told = ask("GET /env", &format!("{head}{fields}"), "");
    assert!(told.starts_with("HTTP/1.1 200") && told.contains("REMOTE_ADDR=1.1.1.1"), "{told}");
    assert!(!told.contains("6.6.6.6") && !told.contains("HTTP_PROXY=") && !told.contains("CONTENT_LENGTH=5"), "{told}");
    let trailers = ask(
        "POST /env",
        &format!("{head}Transfer-Encoding: chunked\\r\\n"),
        "3\\r\\nabc\\r\\n0\\r\\nX-Forwarded-For: 6.6.6.6\\r\\n\\r\\n",
    );
    assert!(trailers.starts_with("HTTP/1.1 200") && !trailers.contains("6.6.6.6"), "{trailers}");
    let other = ask("GET http://other.example/env", head, "");
    assert!(other.contains("SERVER_NAME=other.example") && other.contains("HTTP_HOST=other.example"), "{other}");
    // Pipelined requests are answered one after the other, each counted.
    let hundred = raw(
        m,
        &id,
        "b'GET /x HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' * 100 + b'GET /x HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'",
    );
    assert_eq!(hundred.matches("HTTP/1.1 200").count(), 101, "{hundred}");
    let many =
        format!("b'GET /env HTTP/1.1\\r\\n{head}' + b''.join(b'X-%d: y\\r\\n' % i for i in range(5000)) + b'\\r\\n'");
    let many = raw(m, &id, &many);
    assert!(many.starts_with("HTTP/1.1 431"), "{}", &many[..many.len().min(200)]);
    assert_eq!(curl(m, &format!("/cgi/{id}/x"), "").0, 200);
}

/// Writes without end, in the way that its path says.
const FLOODING: &str = r#"#!/bin/sh
case "$PATH_INFO" in
/header) yes X-A: b ;;
/line) printf X-A:; exec cat /dev/zero ;;
/fields) seq -f 'X-%.0f: a' 300; echo; ;;
/errors) yes >&2 ;;
/status) printf 'Status: 200 OK\rX: y\n\n' ;;
/lengths) printf 'Content-Type: text/plain\nContent-Length: 3\nContent-Length: 5\n\nabcde' ;;
/head) printf 'Content-Type: text/plain\n\n'; exec cat /dev/zero ;;
esac
"#;

fn programs_that_flood(m: &mut Machine) {
    ready(m);
    let id = declare(m, "flood", FLOODING, &format!("timeout = \"2s\"\n{EXEC}"));
    for (path, status) in
        [("header", 502), ("line", 502), ("fields", 502), ("errors", 504), ("status", 502), ("lengths", 502)]
    {
        assert_eq!(direct(m, &id, &format!("/{path}"), "").0, status, "{path}");
    }
    assert_eq!(direct(m, &id, "/head", "--head").0, 200);
    m.until("nothing runs", Duration::from_secs(6), || count(m, "cat /dev/zero") == 0);
    let pid = m.prop(&format!("conductor-cgi-{id}.service"), "MainPID");
    let peak = m.run(&format!("sed -n 's/VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{pid}/status"));
    assert!(peak.trim().parse::<u32>().expect("KiB") < 32 << 10, "{peak} KiB");
}
