//! More than a function takes: requests, connections, and lengths.

use std::time::{Duration, Instant};

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, curl, declare, direct, ready};

scenarios!("functions":
    too_much: "more requests come than a function takes; headers and paths are too long; lengths conflict; headers trickle"
        => "they wait, then 503; 431, 414, 400, and the connection is closed",
    ten_thousand_connections: "10,000 connections at once"
        => "all are answered, or get 503; other functions are not affected, and nothing is left over",
);

fn too_much(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, &format!("max_concurrency = 2\nmax_queue = 2\n{EXEC}"));
    let codes = m.run(&format!(
        "for i in 1 2 3 4 5 6 7 8; do curl --silent --output /dev/null --write-out '%{{http_code}} ' http://localhost/cgi/{id}/slow & done; wait"
    ));
    let count = |code: &str| codes.split_whitespace().filter(|it| *it == code).count();
    assert_eq!((count("200"), count("503")), (4, 4), "{codes}");
    let queued = m.spawn(&format!("for i in 1 2 3 4; do curl --silent http://localhost/cgi/{id}/slow & done; wait"));
    std::thread::sleep(Duration::from_millis(200));
    let refused = curl(m, &format!("/cgi/{id}/x"), "--include").1;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.to_lowercase().contains("retry-after: 1"), "{refused}");
    assert_eq!(queued.finish(), "slow\n".repeat(4));

    let long = "a".repeat(70_000);
    m.write("/root/headers", &format!("X-Long: {long}\n"));
    assert_eq!(direct(m, &id, "/", "--header @/root/headers").0, 431);
    let uri = "a".repeat(10_000);
    assert_eq!(direct(m, &id, &format!("/{uri}"), "").0, 414);
    let raw = |text: &str, seconds: u32| {
        m.write("/root/raw.py", &format!(
            "import socket\ns = socket.socket(socket.AF_UNIX); s.connect('/run/conductor/cgi/{id}'); s.settimeout({seconds})\ns.sendall({text})\nprint(s.recv(4096).decode())\n"));
        m.try_run("python3 /root/raw.py").stdout
    };
    for smuggled in [
        r#"b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde'"#,
        r#"b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc'"#,
        r#"b'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'"#,
        r#"b'GET / HTTP/1.1\r\nHost : x\r\n\r\n'"#,
    ] {
        let answer = raw(smuggled, 5);
        assert!(answer.starts_with("HTTP/1.1 400"), "{smuggled}: {answer}");
    }
    // Both lengths: the one that counts is the chunks', and nothing is left for a second request.
    let both = raw(
        r#"b'POST /cat HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'"#,
        5,
    );
    assert!(!both.contains("smuggled"), "{both}");
    let began = Instant::now();
    raw(r#"b'GET / HTTP/1.1\r\nX-Slow: '"#, 40);
    let closed = began.elapsed().as_secs_f64();
    assert!((5.0..35.0).contains(&closed), "{closed}");
    m.note(format!("a header that does not end: closed after {closed:.0} s"));
}

fn ten_thousand_connections(m: &mut Machine) {
    ready(m);
    let id = declare(m, "many", ACT, EXEC);
    let other = declare(m, "other", ACT, &format!("path_info_strip = 1\n{EXEC}"));
    assert_eq!(direct(m, &id, "/x", "").0, 200);
    let pid = m.prop(&format!("conductor-cgi-{id}.service"), "MainPID");
    let descriptors = || m.run(&format!("ls /proc/{pid}/fd | wc -l")).trim().parse::<u32>().expect("a number");
    let memory = || {
        m.run(&format!("sed -n 's/VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{pid}/status"))
            .trim()
            .parse::<u32>()
            .expect("KiB")
    };
    let (before, small) = (descriptors(), memory());
    let load =
        m.load(Load { clients: 2, path: format!("/cgi/{other}/x"), post: false, pause_ms: 20, ..Load::default() });
    m.write("/root/many.py", &MANY.replace("ID", &id));
    m.run("python3 /root/many.py; python3 /root/many.py");
    let once = memory();
    let seen = m.run("python3 /root/many.py");
    let other = load.stop();
    assert_eq!(other.failed, 0, "{other}");
    m.until("connections are gone", Duration::from_secs(10), || descriptors() <= before + 8);
    assert_eq!(direct(m, &id, "/x", "").0, 200);
    // What a round needs at a time differs by half from one to another, and the allocator keeps it.
    assert!(memory() < 2 * once, "{once} KiB, then {}", memory());
    m.note(format!(
        "{}; {small} KiB before, {} after; the other function p99 {} ms",
        seen.trim(),
        memory(),
        other.p99_us / 1000
    ));
}

/// Connects 10,000 times, then asks on every connection, then reads every answer.
const MANY: &str = r#"
import collections, resource, selectors, socket
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
wanted = min(10000, hard - 100)
sockets = []
for _ in range(wanted):
    s = socket.socket(socket.AF_UNIX); s.connect("/run/conductor/cgi/ID"); sockets.append(s)
for s in sockets: s.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
seen = collections.Counter()
for s in sockets:
    s.settimeout(60)
    data = b""
    while True:
        part = s.recv(4096)
        if not part: break
        data += part
    seen[data[9:12].decode()] += 1
    s.close()
print(wanted, dict(seen))
assert set(seen) <= {"200", "503"} and seen["200"] >= 1000, seen
"#;
