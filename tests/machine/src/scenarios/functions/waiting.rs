//! Callers that wait for their turn, callers that read nothing, and bodies that are too large.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, count, curl, declare, direct, get, ready};

scenarios!("functions":
    many_wait: "200 callers at once for a program that takes half a second, with a `timeout` shorter than they wait"
        => "all are answered; with a `queue_timeout` as short, those that wait longer get 503",
    silent_readers: "a caller reads nothing of an endless answer, of programs of each interface and mode"
        => "at the `timeout` the program is killed and the connection closed; the next caller is served",
    default_max_body: "a body is larger than the default of `max_body`, by its length or by its chunks"
        => "the answer is 413, before the rest of it is sent",
);

/// Calls so often at once, and counts the statuses.
const MANY: &str = r#"
import collections, http.client, sys, threading
seen = collections.Counter()
def call():
    connection = http.client.HTTPConnection("127.0.0.1", 80)
    connection.request("GET", sys.argv[1])
    answer = connection.getresponse()
    answer.read()
    seen[answer.status] += 1
threads = [threading.Thread(target=call) for _ in range(int(sys.argv[2]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(dict(seen))
"#;

fn many_wait(m: &mut Machine) {
    ready(m);
    m.write("/root/many.py", MANY);
    // 25 rounds of half a second.
    declare(m, "act", ACT, &format!("aliases = [\"/act\"]\nmax_concurrency = 8\ntimeout = \"5s\"\n{EXEC}"));
    assert_eq!(m.run("python3 /root/many.py /act/slow 200").trim(), "{200: 200}");
    let short = "max_concurrency = 1\nqueue_timeout = \"2s\"\n";
    declare(m, "short", ACT, &format!("aliases = [\"/short\"]\n{short}{EXEC}"));
    let seen = m.run("python3 /root/many.py /short/slow 20");
    assert!(seen.contains("200: ") && seen.contains("503: "), "{seen}");
}

/// Writes for ever in HTTP.
const ENDLESS: &str = r#"#!/usr/bin/python3
import sys
i, o = sys.stdin.buffer, sys.stdout.buffer
while i.readline():
    while i.readline() not in (b"\r\n", b""): pass
    o.write(b"HTTP/1.1 200 OK\r\n\r\n")
    if sys.argv[1] == "endless-6005":
        while True: o.write(b"x" * 65536)
"#;

/// Asks and reads nothing until the connection is closed, which a write notices.
const SILENT: &str = r#"
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
try:
    while True: s.send(b"\r\n"); time.sleep(0.1)
except OSError as error: print(type(error).__name__)
"#;

fn silent_readers(m: &mut Machine) {
    ready(m);
    m.write("/root/silent.py", SILENT);
    let cgi = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nexec python3 -c 'import sys\nwhile True: sys.stdout.write(\"x\" * 65536)' endless-6005\n";
    for (interface, mode) in [("cgi", "pooled"), ("http", "pooled"), ("cgi", "isolated"), ("http", "isolated")] {
        let program = if interface == "cgi" { cgi } else { ENDLESS };
        let limits = "max_concurrency = 1\npreload = 0\ntimeout = \"3s\"\n";
        let manifest = format!(
            "interface = \"{interface}\"\nmode = \"{mode}\"\n{limits}[exec]\ncommand = [\"./act\", \"endless-6005\"]\n"
        );
        let id = declare(m, &format!("{interface}-{mode}"), program, &manifest);
        let silent = m.spawn(&format!("python3 /root/silent.py /run/conductor/cgi/{id}"));
        m.until("it writes", Duration::from_secs(10), || count(m, "endless-6005") > 0);
        assert_eq!(silent.finish().trim(), "BrokenPipeError", "{interface} {mode}");
        m.until("the program is killed", Duration::from_secs(5), || count(m, "endless-6005") == 0);
        let next = m.try_run(&format!(
            "curl --silent --max-time 2 --output /dev/null --write-out '%{{http_code}}' --unix-socket /run/conductor/cgi/{id} http://x/"
        ));
        assert!(next.stdout.ends_with("200"), "{interface} {mode}: {next}");
    }
}

fn default_max_body(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, &format!("aliases = [\"/act\"]\n{EXEC}"));
    m.run("truncate --size 64M /root/most; truncate --size 67108865 /root/more");
    for options in ["", "--header 'Transfer-Encoding: chunked'"] {
        let post = |file: &str| direct(m, &id, "/count", &format!("--upload-file {file} --header Expect: {options}"));
        assert_eq!(post("/root/most"), (200, "67108864 67108864\n".into()), "{options}");
        assert_eq!(post("/root/more").0, 413, "{options}");
    }
    // A client that asks first sends nothing of it. Through Caddy it sends what Caddy has room for.
    let asked = |options: &str| {
        m.run(&format!(
            "curl --silent --output /dev/null --write-out '%{{http_code}} %{{size_upload}}' --expect100-timeout 60 --header 'Expect: 100-continue' --upload-file /root/more {options}"
        ))
    };
    assert_eq!(asked(&format!("--unix-socket /run/conductor/cgi/{id} http://x/count")).trim(), "413 0");
    let through = asked("http://localhost/act/count");
    assert!(through.starts_with("413"), "{through}");
    assert_eq!(curl(m, "/act/count", "--data x"), (200, "1 1\n".into()));
    assert_eq!(get(m, "/act/x").0, 200);
}
