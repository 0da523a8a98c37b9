//! Scale to zero, and plain ports with no reverse proxy.

use std::time::{Duration, Instant};

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, Engine, Listen, Shop};
use crate::scenario::scenarios;

scenarios!("listeners":
    idle_activation(|m| rests(m, Engine::Exec(Listen::Activation))),
    idle_unix(|m| rests(m, Engine::Exec(Listen::Unix))),
    idle_tcp(|m| rests(m, Engine::Exec(Listen::Tcp))),
    idle_container(|m| rests(m, Engine::Container(Listen::Tcp))),
    idle_pod(|m| rests(m, Engine::Pod(Listen::Unix))),
    wake_takes_little_longer_than_a_start,
    burst_at_zero: "500 callers connect at once to a deployment that rests" => "it starts once; all are answered",
    wake_fails: "a deployment that rests cannot start any more" => "callers are refused; after a repair the next caller is served",
    redis_rolls,
    example_cache,
    port_follows_its_declaration,
    port_is_taken: "a declared port belongs to somebody else" => "`declare` restores the previous declaration; the old generation serves",
    callers_are_announced,
    port_outlives_a_kill: "the process behind a plain port is killed" => "the port stays; who connects then waits or is refused, and the next is served",
);

const IDLE: &str = "idle_timeout = \"1s\"";

/// A shop that rests after a second.
fn idle(concurrency: u32, engine: Engine) -> Shop {
    let shop = Shop::new(concurrency).engine(engine);
    match engine {
        Engine::Exec(Listen::Activation) => shop.extra(&format!("[listen]\n{IDLE}")),
        _ => shop,
    }
}

/// Declares it; the others have a `[listen]` already.
fn declare(m: &Machine, shop: &Shop, version: &str) -> String {
    shop.write(m);
    if !shop.extra.contains(IDLE) {
        m.run(&format!("sed -i '/^type = /a {IDLE}' {}/service.toml", shop::DIR));
    }
    m.run(&shop::command(version))
}

fn processes(m: &Machine) -> String {
    m.run("pgrep --exact app || true; pgrep --exact systemd-socket- || true")
}

fn until_it_rests(m: &Machine) {
    m.until("no process is there", Duration::from_secs(20), || processes(m).is_empty());
    m.until("no container is there", Duration::from_secs(10), || m.run("podman ps --all --quiet").is_empty());
    let idle = |row: &serde_json::Value| row["state"] == "idle";
    m.until("all are idle", Duration::from_secs(5), || {
        let rows: serde_json::Value = serde_json::from_str(&m.run("conductor deployment list --json")).expect("JSON");
        rows.as_array().is_some_and(|rows| !rows.is_empty() && rows.iter().all(idle))
    });
}

/// To zero, back for the first caller, through an update at rest and one under load, and gone.
fn rests(m: &mut Machine, engine: Engine) {
    let shop = idle(2, engine);
    declare(m, &shop, "1");
    until_it_rests(m);
    assert_eq!(m.failed_units(), Vec::<String>::new());
    assert_eq!(m.run("podman ps --all --quiet"), "");
    assert_eq!(shop::slots(m).len(), 12);
    assert_eq!(m.run("conductor daemon-reload").trim(), "every service is as declared");
    let start = Instant::now();
    assert!(shop::get(m).starts_with("1 "));
    m.note(format!("woken in {:.0} ms", start.elapsed().as_secs_f64() * 1000.0));
    // Both: a slot each.
    for _ in 0..12 {
        shop::get(m);
    }
    assert_eq!(m.run("pgrep --exact app | wc -l").trim(), "2");
    until_it_rests(m);
    // At rest another generation takes over all the same, and callers never see a gap.
    let old = shop::generation(m);
    declare(m, &shop, "2");
    assert_eq!(shop::traces(m, &old), "");
    let load = m.load(shop::load());
    declare(m, &shop, "3");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    until_it_rests(m);
    // Rested or not, it is there after a reboot and goes when it is told.
    m.reboot();
    assert!(shop::get(m).starts_with("3 "));
    until_it_rests(m);
    let generation = shop::generation(m);
    m.run("systemctl stop shop");
    assert_eq!(shop::traces(m, &generation), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(seen);
}

/// Prints two medians in milliseconds: plain.service started until it answers, and an answer of a socket whose unit rests.
const WAKE: &str = r#"import os, socket, statistics, subprocess, time
UNIT, SOCKET = "{unit}", "{socket}"

def get(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = connection.recv(100)
    assert b"200" in answer, answer
    connection.close()

def rest():
    while subprocess.run(["systemctl", "is-active", "--quiet", UNIT]).returncode == 0:
        time.sleep(0.05)
    time.sleep(0.1)

def own_start():
    start = time.monotonic()
    subprocess.run(["systemctl", "start", "plain.service"], check=True)
    while True:
        try:
            get("/run/plain/socket")
            break
        except OSError:
            time.sleep(0.0005)
    took = time.monotonic() - start
    subprocess.run(["systemctl", "stop", "plain.service"], check=True)
    return took

def wake():
    rest()
    start = time.monotonic()
    get(SOCKET)
    return time.monotonic() - start

own, woken = [], []
for _ in range(7):
    own.append(own_start())
    woken.append(wake())
print(f"{statistics.median(own) * 1000:.1f} {statistics.median(woken) * 1000:.1f}")
"#;

/// The same unit, started by systemctl until it answers, against the first caller of one that rests.
fn wake_takes_little_longer_than_a_start(m: &mut Machine) {
    let shop = idle(1, Engine::Exec(Listen::Unix));
    declare(m, &shop, "1");
    let unit = format!("shop-{}@1.service", shop::generation(m));
    let socket = format!("/run/conductor/sockets/shop-{}/1", shop::generation(m));
    m.write("/root/wake.py", &WAKE.replace("{unit}", &unit).replace("{socket}", &socket));
    // The deployment's own unit without conductor: what the server's start is.
    let template = format!("/run/systemd/generator/shop-{}@.service", shop::generation(m));
    m.run(&format!(
        "sed -e '/conductor deployment/d; /^RuntimeDirectory=/d; /^StopWhenUnneeded/d; /^PartOf/d; /^LogExtra/d; s/%i/1/g' \
            -e 's|^ExecStart=\\([^ ]*\\).*|ExecStart=\\1 --unix /run/plain/socket|; s/^Type=.*/&\\nRuntimeDirectory=plain/' \
            {template} >/run/systemd/system/plain.service; systemctl daemon-reload"
    ));
    let medians = m.run("python3 /root/wake.py");
    let (own, woken) = medians.trim().split_once(' ').expect("two numbers");
    let more = woken.parse::<f64>().expect("a number") - own.parse::<f64>().expect("a number");
    m.note(format!("own start {own} ms, woken {woken} ms: {more:.1} ms more"));
}

fn burst_at_zero(m: &mut Machine) {
    for engine in [Engine::Exec(Listen::Activation), Engine::Exec(Listen::Tcp)] {
        let shop = idle(1, engine);
        declare(m, &shop, "1");
        until_it_rests(m);
        let unit = format!("shop-{}@1", shop::generation(m));
        let seen = m
            .load(Load {
                clients: 500,
                connect: format!("/run/conductor/sockets/shop-{}/1", shop::generation(m)),
                requests: 5_000,
                ..shop::saturating_load()
            })
            .wait();
        assert_eq!(seen.failed, 0, "{seen}");
        assert_eq!(m.prop(&format!("{unit}.socket"), "ActiveState"), "active");
        let starts = m.run(&format!(
            "journalctl --sync; journalctl --unit={unit}.service --output=cat --grep='^Started' | wc -l"
        ));
        assert_eq!(starts.trim(), "2", "at its declaration and now");
        until_it_rests(m);
        assert!(shop::get(m).starts_with("1 "));
        m.note(seen);
    }
}

fn wake_fails(m: &mut Machine) {
    let shop =
        idle(1, Engine::Exec(Listen::Unix)).extra("[hooks]\npre_start = [\"test\", \"!\", \"-e\", \"/srv/broken\"]");
    declare(m, &shop, "1");
    until_it_rests(m);
    m.run("touch /srv/broken");
    // By an answer, and not by curl's own patience.
    assert_eq!(m.try_run("curl --silent --fail --max-time 10 http://shop.localhost/").status, 22);
    let unit = format!("shop-{}@1", shop::generation(m));
    assert_eq!(m.prop(&format!("{unit}.socket"), "ActiveState"), "active");
    m.run("rm /srv/broken");
    m.until("it serves again", Duration::from_secs(20), || {
        m.try_run("curl --silent --fail --max-time 10 http://shop.localhost/").stdout.starts_with("1 ")
    });
    until_it_rests(m);
    assert!(shop::get(m).starts_with("1 "));
}

/// Where redis listens for clients that know no proxy.
const REDIS: &str = "/root/db/service.toml";

fn redis(listen: &str, flags: &str, ports: &[&str]) -> String {
    let ports: String = ports.iter().map(|port| format!("[[port]]\nlisten = {port:?}\n")).collect();
    format!(
        r#"[exec]
command = ["redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no", "--loglevel", "{{{{ LEVEL }}}}", {flags}]
[listen]
type = "{listen}"
[deploy]
drain_timeout = "2s"
{ports}"#
    )
}

fn declare_redis(m: &Machine, text: &str, level: &str) -> conductor_machine::command::Output {
    m.write(REDIS, text);
    m.try_run(&format!("conductor service declare /root/db LEVEL={level}"))
}

const TCP: (&str, &str) = ("tcp", r#""--port", "${PORT}""#);
const UNIX: (&str, &str) = ("unix", r#""--port", "0", "--unixsocket", "${CONDUCTOR_SOCKET}""#);

/// redis-benchmark connects anew for every request while the server is updated. It stops at the first refusal.
fn redis_rolls(m: &mut Machine) {
    for (listen, flags) in [TCP, UNIX] {
        let text = redis(listen, flags, &["127.0.0.1:6379", "/run/db.sock"]);
        assert!(declare_redis(m, &text, "notice").success());
        assert_eq!(m.run("redis-cli -p 6379 ping; redis-cli -s /run/db.sock ping"), "PONG\nPONG\n");
        let benchmark = "redis-benchmark -p 6379 -k 0 -c 16 -n 8000 -t ping_inline,set --csv 2>&1";
        let mut client = m.spawn(benchmark);
        let mut updates = 0;
        while client.is_running() {
            let level = ["verbose", "notice"][updates % 2];
            let output = declare_redis(m, &text, level);
            assert!(output.success(), "{output}");
            updates += 1;
        }
        let told = client.finish();
        assert!(updates >= 3, "{updates} updates");
        assert!(told.contains("\"SET\"") && !told.to_lowercase().contains("err"), "{told}");
        let rate = told.lines().find(|line| line.starts_with("\"SET\"")).and_then(|line| line.split('"').nth(3));
        m.note(format!("{listen}: {updates} updates in 16,000 connections, SET {}/s", rate.unwrap_or("?")));
    }
}

fn example_cache(m: &mut Machine) {
    let declare = "conductor service declare /usr/share/doc/conductor/examples/cache MEMORY=";
    m.run(&format!("{declare}32mb"));
    assert_eq!(m.run("redis-cli config get maxmemory"), "maxmemory\n33554432\n");
    m.run(&format!("{declare}48mb"));
    assert_eq!(m.run("redis-cli config get maxmemory"), "maxmemory\n50331648\n");
}

fn listening(m: &Machine) -> Vec<String> {
    let list = m.run("systemctl list-sockets --no-legend --plain 'db-port@*' | cut -d ' ' -f 1 | sort");
    list.lines().map(str::to_owned).collect()
}

fn port_follows_its_declaration(m: &mut Machine) {
    let (listen, flags) = UNIX;
    let declare = |ports: &[&str]| {
        let output = declare_redis(m, &redis(listen, flags, ports), "notice");
        assert!(output.success(), "{output}");
    };
    declare(&["127.0.0.1:6379"]);
    let process = m.run("pgrep redis-server");
    assert_eq!(listening(m), ["127.0.0.1:6379"]);
    declare(&["127.0.0.1:6380", "[::1]:6379"]);
    assert_eq!(listening(m), ["127.0.0.1:6380", "[::1]:6379"]);
    assert_eq!(m.run("redis-cli -p 6380 ping; redis-cli -h ::1 ping"), "PONG\nPONG\n");
    assert_eq!(m.run("pgrep redis-server"), process, "nothing rolled");
    // A caller that is connected stays so until the deployment has drained.
    let client = m.spawn("{ echo PING; sleep 2; echo PING; } | redis-cli -p 6380");
    std::thread::sleep(Duration::from_millis(500));
    m.run("systemctl stop db");
    assert_eq!(client.finish(), "PONG\nPONG\n");
    assert_eq!(listening(m), [""; 0]);
    m.run("systemctl start db");
    m.reboot();
    assert_eq!(m.run("redis-cli -p 6380 ping"), "PONG\n");
    m.run("conductor service rm db");
    assert_eq!(listening(m), [""; 0]);
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'db-*'"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn port_is_taken(m: &mut Machine) {
    let (listen, flags) = UNIX;
    assert!(declare_redis(m, &redis(listen, flags, &["127.0.0.1:6379"]), "notice").success());
    let output = declare_redis(m, &redis(listen, flags, &["127.0.0.1:6379", "80"]), "verbose");
    assert!(!output.success() && output.stderr.contains("caddy.service (caddy, process "), "{output}");
    assert_eq!(listening(m), ["127.0.0.1:6379"]);
    assert_eq!(m.run("redis-cli ping"), "PONG\n");
    // Of another service it is known before anything is done.
    m.run("cp -r /root/db /root/other");
    let output = m.try_run("conductor service declare /root/other LEVEL=notice");
    assert_eq!(output.status, 3, "{output}");
    let conflict = "the service db already listens on 127.0.0.1:6379";
    assert!(output.stderr.contains(conflict), "{output}");
    let output = m.try_run("conductor check /root/other LEVEL=notice");
    assert!(output.status == 3 && output.stderr.matches(conflict).count() == 1, "{output}");
}

fn port_outlives_a_kill(m: &mut Machine) {
    let (listen, flags) = TCP;
    assert!(declare_redis(m, &redis(listen, flags, &["6379"]), "notice").success());
    for _ in 0..3 {
        m.run("kill -KILL $(pgrep redis-server)");
        m.until("it answers again", Duration::from_secs(10), || m.try_run("redis-cli ping").stdout == "PONG\n");
    }
    assert_eq!(m.prop("db-port@6379.socket", "ActiveState"), "active");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// Answers each request with the line of the PROXY protocol before it; refuses one without.
const ANNOUNCED: &str = r#"#!/usr/bin/python3
import socketserver, os
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        announced = self.rfile.readline()
        if not announced.startswith(b"PROXY "): return
        while self.rfile.readline().strip(): pass
        body = announced.strip() + b" of " + os.environ["VERSION"].encode() + b" " * 1000000
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
class Server(socketserver.ThreadingUnixStreamServer):
    request_queue_size = 100
    daemon_threads = True
Server(os.environ["CONDUCTOR_SOCKET"], Handler).serve_forever()
"#;

/// A server behind the relay of a port sees its callers' addresses, and its own health check passes.
fn callers_are_announced(m: &mut Machine) {
    let declare = |version: &str| {
        m.write(
            "/root/seen/service.toml",
            &format!(
                "[exec]\ncommand = [\"./server\"]\nenvironment = {{ VERSION = \"{version}\" }}\n[listen]\ntype = \"unix\"\n\
                 [health]\nhttp = \"/\"\n[[port]]\nlisten = \"7007\"\nproxy_protocol = true\n"
            ),
        );
        m.write_executable("/root/seen/server", ANNOUNCED);
        m.run("conductor service declare /root/seen");
    };
    declare("1");
    let get = |address: &str| m.run(&format!("curl --silent --fail --local-port 40007-40099 http://{address}:7007/"));
    let answer = get("127.0.0.1");
    let words: Vec<_> = answer.split_whitespace().collect();
    let ["PROXY", "TCP4", "127.0.0.1", "127.0.0.1", from, "7007", "of", "1"] = words[..] else { panic!("{words:?}") };
    assert!((40007..=40099).contains(&from.parse::<u16>().expect("a port")), "{from}");
    assert!(get("[::1]").starts_with("PROXY TCP6 ::1 ::1 400"));
    let mut client = m.spawn(
        "for i in $(seq 300); do curl --silent --fail http://127.0.0.1:7007/ | cut -c1-10; done | sort | uniq -c",
    );
    let mut versions = 1;
    while client.is_running() {
        versions += 1;
        declare(&versions.to_string());
    }
    let told = client.finish();
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), ["300", "PROXY", "TCP4"], "{told}");
    assert!(get("127.0.0.1").trim_end().ends_with(&format!("of {versions}")));
    m.note(format!("{} updates in 300 calls, 0 failed", versions - 1));
    m.run("conductor service rm seen");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'seen*'; ss -lnHt 'sport = 7007'"), "");
}
