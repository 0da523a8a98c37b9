//! Connections that outlive a request: they go on through a rollout until drain_timeout.

use std::time::{Duration, Instant};

use conductor_machine::command::Background;
use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use super::watch::Watch;
use crate::scenario::scenarios;

scenarios!("long":
    websocket_ends_by_itself: "a websocket is open on an old deployment during a rollout"
        => "it goes on until it ends by itself, then the rollout ends; no request fails",
    websocket_is_closed: "a websocket on an old deployment never ends"
        => "it goes on until drain_timeout and is closed then; nothing else is disturbed",
    long_poll: "a request takes longer than a rollout's other steps"
        => "it is answered by the old deployment, which the rollout waits for; no request fails",
    websockets_on_both_generations: "websockets are open on an old and a new deployment"
        => "only the old one's is closed at drain_timeout",
);

const SECOND: Duration = Duration::from_secs(1);

/// Opens a connection that is upgraded, has a line echoed every 100 ms for so many seconds, and prints the version
/// that answered, how many lines came back, and how it ended.
const CLIENT: &str = r#"#!/usr/bin/python3
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[3])), 5)
s.sendall(b"GET /upgrade HTTP/1.1\r\nHost: shop.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
f = s.makefile("rb")
status = f.readline()
headers = dict(line.strip().lower().split(b": ", 1) for line in iter(f.readline, b"\r\n"))
with open("/run/connected-" + sys.argv[2], "w") as connected:
    connected.write(headers[b"x-version"].decode())
lines, end = 0, time.monotonic() + float(sys.argv[1])
how = "ended"
while time.monotonic() < end:
    try:
        s.sendall(b"line %d\n" % lines)
        back = f.readline()
    except OSError:
        back = b""
    if back != b"line %d\n" % lines:
        how = "closed"
        break
    lines += 1
    time.sleep(0.1)
print(status.split()[1].decode(), headers[b"x-version"].decode(), lines, how)
"#;

fn open(m: &Machine, name: &str, seconds: u32) -> Background {
    open_at(m, 80, name, seconds)
}

/// Opens a connection to Caddy, or to a port of the shop's own.
pub(super) fn open_at(m: &Machine, port: u16, name: &str, seconds: u32) -> Background {
    m.write_executable("/root/client", CLIENT);
    let client = m.spawn(&format!("/root/client {seconds} {name} {port}"));
    m.until("the connection is upgraded", 60 * SECOND, || {
        m.try_run(&format!("test -e /run/connected-{name}")).success()
    });
    client
}

/// Status, version, lines, how it ended.
pub(super) fn told(client: Background) -> (String, u32, String) {
    let told = client.finish();
    let words: Vec<_> = told.split_whitespace().collect();
    assert_eq!(words[0], "101", "{told}");
    (words[1].into(), words[2].parse().expect("a number"), words[3].into())
}

fn rollout(m: &Machine, drain: &str) -> Duration {
    let shop = Shop::new(2).extra(&format!("[deploy]\ndrain_timeout = \"{drain}\"\n"));
    let (watch, load) = (Watch::begin(m), m.load(Load { clients: 8, pause_ms: 5, ..shop::load() }));
    let start = Instant::now();
    shop.declare(m, "2");
    let took = start.elapsed();
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("rolled in {took:.1?}, {seen}"));
    took
}

fn first(m: &Machine, drain: &str) {
    Shop::new(2).extra(&format!("[deploy]\ndrain_timeout = \"{drain}\"\n")).declare(m, "1");
}

fn websocket_ends_by_itself(m: &mut Machine) {
    first(m, "5min");
    let client = open(m, "one", 3);
    let took = rollout(m, "5min");
    assert!(took < 60 * SECOND, "{took:?}");
    let (version, lines, how) = told(client);
    assert_eq!((version.as_str(), how.as_str()), ("1", "ended"));
    assert!(lines >= 20, "{lines} lines");
    shop::assert_serves(m, "2", 2);
}

fn websocket_is_closed(m: &mut Machine) {
    first(m, "2s");
    let client = open(m, "one", 60);
    let took = rollout(m, "2s");
    assert!((2 * SECOND..45 * SECOND).contains(&took), "{took:?}");
    let (version, lines, how) = told(client);
    assert_eq!((version.as_str(), how.as_str()), ("1", "closed"));
    assert!((15..500).contains(&lines), "{lines} lines");
    shop::assert_serves(m, "2", 2);
}

fn long_poll(m: &mut Machine) {
    first(m, "5min");
    let poll = m.spawn(&format!("curl --silent --fail 'http://{}/slow?ms=4000'", shop::HOST));
    m.until("the request is on its way", 20 * SECOND, || {
        m.try_run("ss -x state established | grep -q /shop-").success()
    });
    let took = rollout(m, "5min");
    assert!(took < 60 * SECOND, "{took:?}");
    assert!(poll.finish().starts_with("1 "));
    shop::assert_serves(m, "2", 2);
}

fn websockets_on_both_generations(m: &mut Machine) {
    first(m, "2s");
    let old = open(m, "old", 60);
    let declare = m.spawn(&shop::command("2"));
    m.until("a deployment of version 2 answers", 60 * SECOND, || shop::get(m).starts_with("2 "));
    let news: Vec<_> = (0..4).map(|number| (format!("new{number}"), open(m, &format!("new{number}"), 4))).collect();
    declare.finish();
    assert_eq!(told(old).2, "closed");
    let mut ended = 0;
    for (name, client) in news {
        let (version, lines, how) = told(client);
        if version == "2" {
            assert_eq!(how, "ended", "{name}");
            assert!(lines > 30, "{name}: {lines} lines");
            ended += 1;
        }
    }
    assert!(ended > 0, "no connection to version 2");
    m.note(format!("{ended} of 4 were to version 2"));
    shop::assert_serves(m, "2", 2);
}
