//! `make bench-cgi`: functions against the servers that people use for CGI, on one booted machine, in turn.
//!
//! The same static C program and the same shell script are served by conductor at the function's own socket, by lighttpd's
//! mod_cgi, Apache's mod_cgid, and nginx with fcgiwrap; conductor also behind that nginx. Every round has every server;
//! figures are medians of rounds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use conductor_machine::figure::{median, verdict};
use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::{Machine, Packages, Suite, isolate};

const ROUNDS: usize = 5;
/// Seconds of a load.
const SECONDS: u64 = 2;
const CONNECTIONS: [usize; 2] = [1, 16];

/// Measures functions against CGI servers from Debian's packages, and prints a table
#[derive(Parser)]
struct Options {
    /// Debian release to boot: bookworm (systemd 252), trixie (systemd 257) or all
    #[arg(long, default_value = "all")]
    suite: String,
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
}

/// Answers as CGI; with an argument as HTTP, until its input ends.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char block[65536];
static int large(int reads) {
    static const char text[] = "Content-Type: text/plain\r\n\r\n";
    long size = 0;
    ssize_t got;
    if (reads) while ((got = read(0, block, sizeof block)) > 0) size += got;
    if (write(1, text, sizeof text - 1) < 0) return 1;
    if (reads) return dprintf(1, "%ld", size) < 0;
    while (size < 100L << 20) {
        if ((got = write(1, block, sizeof block)) < 0) return 1;
        size += got;
    }
    return 0;
}
int main(int argc, char **argv) {
    if (argc < 2) {
        const char *query = getenv("QUERY_STRING");
        if (query && (!strcmp(query, "large=up") || !strcmp(query, "large=down"))) return large(query[6] == 'u');
        static const char text[] = "Content-Type: text/plain\r\n\r\nhello\n";
        return write(1, text, sizeof text - 1) < 0;
    }
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";
    char buffer[65536];
    size_t have = 0;
    for (;;) {
        ssize_t got = read(0, buffer + have, sizeof buffer - 1 - have);
        if (got <= 0) return 0;
        have += got;
        buffer[have] = 0;
        if (!strstr(buffer, "\r\n\r\n")) continue;
        have = 0;
        static const char last[] =
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
        if (argv[1][0] == 'o') return write(1, last, sizeof last - 1) < 0;
        if (write(1, text, sizeof text - 1) < 0) return 1;
    }
}
"#;

const SCRIPT: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello\\n'\n";

const LIGHTTPD: &str = r#"
server.modules = ("mod_cgi")
server.document-root = "/srv/cgi"
server.bind = "/run/bench/lighttpd"
server.max-keep-alive-requests = 65535
cgi.assign = ("" => "")
"#;

const APACHE: &str = r#"
ServerRoot /etc/apache2
ServerName localhost
PidFile /run/bench/apache.pid
Listen 127.0.0.1:8082
ErrorLog /run/bench/apache.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
User www-data
Group www-data
MaxKeepAliveRequests 0
ScriptSock /run/bench/cgid
ScriptAlias / /srv/cgi/
"#;

const NGINX: &str = r#"
user www-data;
worker_processes auto;
pid /run/bench/nginx.pid;
error_log /run/bench/nginx.log;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_max_body_size 0;
    upstream conductor { server unix:/run/conductor/cgi/PROGRAM; keepalive 32; }
    upstream script { server unix:/run/conductor/cgi/SCRIPT; keepalive 32; }
    server {
        listen unix:/run/bench/nginx;
        root /srv/cgi;
        location / {
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME /srv/cgi$uri;
            fastcgi_pass unix:/run/bench/fcgiwrap;
        }
        location /c-program/ { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://conductor/; }
        location /c-script/ { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://script/; }
    }
}
"#;

fn main() -> ExitCode {
    let options = Options::parse();
    let suites = match options.suite.as_str() {
        "all" => vec!["bookworm", "trixie"],
        one => vec![one],
    };
    let outcome = isolate().and_then(|()| suites.into_iter().try_for_each(|suite| measure(suite, options.rounds)));
    if let Err(error) = outcome {
        eprintln!("not everything was measured: {error}");
    }
    ExitCode::SUCCESS
}

/// Where the program is compiled.
const COMPILED: &str = "/run/conductor-machine/bench-cgi";

/// The program, linked statically: of its start nothing belongs to a loader.
fn compiled() -> Result<Vec<u8>, String> {
    let dir = Path::new(COMPILED);
    let failed = |error: std::io::Error| format!("the program cannot be made: {error}");
    fs::create_dir_all(dir).map_err(failed)?;
    fs::write(dir.join("hello.c"), PROGRAM).map_err(failed)?;
    let mut compiler = Command::new("gcc");
    compiler.current_dir(dir).args(["-O2", "-static", "-o", "hello", "hello.c"]);
    let status = compiler.status().map_err(failed)?;
    if !status.success() {
        return Err(format!("gcc: {status}"));
    }
    fs::read(dir.join("hello")).map_err(failed)
}

/// A function of the program or the script; its ID is returned.
fn declare(m: &Machine, name: &str, manifest: &str) -> String {
    m.run(&format!("mkdir -p /root/{name}; cp /srv/cgi/hello /srv/cgi/script /root/{name}/"));
    m.write(&format!("/root/{name}/function.toml"), &format!("name = \"{name}\"\n{manifest}"));
    m.run(&format!("conductor cgi declare /root/{name}")).trim().to_owned()
}

fn socket(id: &str) -> String {
    format!("/run/conductor/cgi/{id}")
}

/// Who answers, where.
struct Server {
    name: &'static str,
    connect: String,
    path: &'static str,
}

#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, answer: &Seen) {
        self.rates.push(answer.ok as f64 / answer.seconds);
        self.p50.push(f64::from(answer.p50_us) / 1e3);
        self.p99.push(f64::from(answer.p99_us) / 1e3);
    }
}

/// Measures on one suite, and prints its tables.
fn measure(suite: &str, rounds: usize) -> Result<(), String> {
    let m = Machine::boot(&Suite::prepare(suite, Packages::Base, false, false)?);
    let servers = servers(&m)?;
    let mut seen: BTreeMap<(&str, usize), Rounds> = BTreeMap::new();
    let mut bare: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for round in 0..=rounds {
        for clients in CONNECTIONS {
            for one in &servers {
                let answer = ask(&m, one, clients, if round == 0 { 1 } else { SECONDS })?;
                if round > 0 {
                    seen.entry((one.name, clients)).or_default().add(&answer);
                }
            }
            if round > 0 {
                bare.entry(clients).or_default().push(spawn_rate(clients));
            }
        }
    }
    report(suite, &servers, &seen, &bare);
    large(&m, suite, rounds, &servers);
    isolated(&m, suite, rounds);
    resting(&m, suite);
    Ok(())
}

/// Starts all servers on a machine, and returns where each answers.
fn servers(m: &Machine) -> Result<Vec<Server>, String> {
    m.install("/srv/cgi/hello", "755", &compiled()?);
    m.write_executable("/srv/cgi/script", SCRIPT);
    m.write("/etc/caddy/Caddyfile", "{\n}\n");
    m.run("systemctl stop caddy; mkdir -p -m 755 /run/bench");
    let exec = |words: &str| format!("[exec]\ncommand = [{words}]\n");
    let program = declare(m, "program", &format!("max_body = \"100M\"\n{}", exec("\"./hello\"")));
    let script = declare(m, "script", &exec("\"./script\""));
    let warm = "interface = \"http\"\npreload = 2\nmax_requests = 1000000\n".to_owned();
    let warm = declare(m, "warm", &(warm + &exec("\"./hello\", \"http\"")));
    start_peers(m, &program, &script);
    let server = |name, connect: &str, path| Server { name, connect: connect.to_owned(), path };
    Ok(vec![
        server("conductor", &socket(&program), "/hello"),
        server("lighttpd mod_cgi", "/run/bench/lighttpd", "/hello"),
        server("Apache mod_cgid", "127.0.0.1:8082", "/hello"),
        server("nginx + fcgiwrap", "/run/bench/nginx", "/hello"),
        server("nginx + conductor", "/run/bench/nginx", "/c-program/"),
        server("conductor, sh", &socket(&script), "/script"),
        server("lighttpd mod_cgi, sh", "/run/bench/lighttpd", "/script"),
        server("Apache mod_cgid, sh", "127.0.0.1:8082", "/script"),
        server("nginx + fcgiwrap, sh", "/run/bench/nginx", "/script"),
        server("nginx + conductor, sh", "/run/bench/nginx", "/c-script/"),
        server("conductor, http workers", &socket(&warm), "/"),
    ])
}

/// Starts Debian's servers; nginx is also in front of the functions with these IDs.
fn start_peers(m: &Machine, program: &str, script: &str) {
    m.write("/root/lighttpd.conf", LIGHTTPD);
    m.write("/root/apache.conf", APACHE);
    m.write("/root/nginx.conf", &NGINX.replace("PROGRAM", program).replace("SCRIPT", script));
    m.run("usermod --append --groups conductor-proxy www-data
        systemd-run --quiet --unit=bench-lighttpd lighttpd -D -f /root/lighttpd.conf
        systemd-run --quiet --unit=bench-apache apache2 -D FOREGROUND -f /root/apache.conf
        systemd-run --quiet --unit=bench-fcgiwrap -p User=www-data -p Group=www-data -p RuntimeDirectory=bench2 fcgiwrap -c 16 -s unix:/run/bench2/fcgiwrap
        until [ -S /run/bench2/fcgiwrap ]; do sleep 0.1; done; ln -s /run/bench2/fcgiwrap /run/bench/fcgiwrap
        systemd-run --quiet --unit=bench-nginx nginx -g 'daemon off;' -c /root/nginx.conf
        timeout 20 sh -c 'until [ -S /run/bench/nginx ] && [ -S /run/bench/lighttpd ] && curl --silent http://127.0.0.1:8082/hello; do sleep 0.1; done'");
}

/// Loads a server, which must answer every request.
fn ask(m: &Machine, server: &Server, clients: usize, seconds: u64) -> Result<Seen, String> {
    let (connect, path) = (server.connect.clone(), server.path.to_owned());
    let answer = m.load(Load { clients, connect, path, post: false, seconds, ..Load::default() }).wait();
    if answer.failed > 0 { Err(format!("{}: {answer}", server.name)) } else { Ok(answer) }
}

/// How often a second the program can be started and waited for, by so many at a time.
fn spawn_rate(at_a_time: usize) -> f64 {
    let program = &Path::new(COMPILED).join("hello");
    let limit = Duration::from_secs(SECONDS);
    let begun = Instant::now();
    let count: usize = thread::scope(|scope| {
        let one = || {
            let mut count = 0;
            while begun.elapsed() < limit {
                let spawned = Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).status();
                count += usize::from(spawned.is_ok_and(|status| status.success()));
            }
            count
        };
        let threads: Vec<_> = (0..at_a_time).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    count as f64 / begun.elapsed().as_secs_f64()
}

fn report(suite: &str, servers: &[Server], seen: &BTreeMap<(&str, usize), Rounds>, bare: &BTreeMap<usize, Vec<f64>>) {
    println!("\n{suite}{:28} {:>12} {:>9} {:>9} {:>8}", "", "requests/s", "p50 ms", "p99 ms", "of bare");
    let rate = |name: &str, clients| median(&seen[&(name, clients)].rates);
    let p99 = |name: &str, clients| median(&seen[&(name, clients)].p99);
    for clients in CONNECTIONS {
        let floor = median(&bare[&clients]);
        println!("{clients:2} spawn and wait, nothing else {floor:>12.0}");
        for one in servers {
            let it = &seen[&(one.name, clients)];
            let rate = median(&it.rates);
            println!(
                "{clients:2} {:28} {rate:>12.0} {:>9.2} {:>9.2} {:>8.2}",
                one.name,
                median(&it.p50),
                median(&it.p99),
                rate / floor
            );
        }
    }
    for clients in CONNECTIONS {
        for suffix in ["", ", sh"] {
            let peers =
                ["lighttpd mod_cgi", "Apache mod_cgid", "nginx + fcgiwrap"].map(|name| format!("{name}{suffix}"));
            let best = peers.iter().map(|name| rate(name, clients)).fold(0.0, f64::max);
            let least = peers.iter().map(|name| p99(name, clients)).fold(f64::MAX, f64::min);
            let ours = format!("conductor{suffix}");
            let ratio = rate(&ours, clients) / best;
            println!(
                "{clients:2} {ours:18} against the best peer: {ratio:5.2} (at least 1.2: {}); p99 {:5.2} ms, theirs {least:5.2} ({})",
                verdict(ratio >= 1.2),
                p99(&ours, clients),
                verdict(p99(&ours, clients) <= least)
            );
            let ratio = rate(&format!("nginx + conductor{suffix}"), clients)
                / rate(&format!("nginx + fcgiwrap{suffix}"), clients);
            println!(
                "{clients:2} {ours:18} through nginx, against fcgiwrap: {ratio:5.2} (at least 1.2: {})",
                verdict(ratio >= 1.2)
            );
        }
        let of_bare = rate("conductor", clients) / median(&bare[&clients]);
        println!("{clients:2} conductor of spawn and wait: {of_bare:5.2} (at least 0.8: {})", verdict(of_bare >= 0.8));
        let warm = rate("conductor, http workers", clients) / rate("conductor", clients);
        println!("{clients:2} http workers against its own cgi: {warm:5.1} (at least 5: {})", verdict(warm >= 5.0));
    }
}

/// Bodies of 100 MiB up and down, one at a time: the program reads all, or writes all.
fn large(m: &Machine, suite: &str, rounds: usize, servers: &[Server]) {
    m.run("truncate --size 100M /root/large");
    let time = |server: &Server, query: &str| -> f64 {
        let upload = if query == "up" { "--request POST --header Expect: --upload-file /root/large" } else { "" };
        let (connect, path) = (&server.connect, server.path);
        let (socket, host) = if connect.starts_with('/') {
            (format!("--unix-socket {connect}"), "x")
        } else {
            (String::new(), &**connect)
        };
        let seconds = m.run(&format!("curl --silent --fail --max-time 60 --output /root/answer --write-out '%{{time_total}}' {socket} {upload} 'http://{host}{path}?large={query}'"));
        let size = if query == "up" { "cat /root/answer" } else { "stat --format %s /root/answer" };
        assert_eq!(m.run(size).trim(), "104857600", "{}, {query}", server.name);
        seconds.trim().parse::<f64>().expect("seconds") * 1e3
    };
    let measured: Vec<_> = servers.iter().filter(|server| server.path == "/hello").collect();
    println!("\n{suite}, 100 MiB {:>24} {:>9}", "up ms", "down ms");
    let mut seen: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for server in &measured {
            for query in ["up", "down"] {
                seen.entry((server.name, query)).or_default().push(time(server, query));
            }
        }
    }
    let figure = |name, query| median(&seen[&(name, query)]);
    for server in &measured {
        println!("{:28} {:>9.0} {:>9.0}", server.name, figure(server.name, "up"), figure(server.name, "down"));
    }
    for query in ["up", "down"] {
        let best = figure("lighttpd mod_cgi", query).min(figure("Apache mod_cgid", query));
        let ratio = figure("conductor", query) / best;
        println!(
            "conductor {query:4} against the best of lighttpd and Apache: {ratio:5.2} (at most 1.2: {})",
            verdict(ratio <= 1.2)
        );
    }
}

/// What systemd alone does with a connection, and with the lines of our sandbox.
const BARE: &str = "[Socket]\nListenStream=/run/bench/NAME\nAccept=yes\nMaxConnections=4096\nTriggerLimitIntervalSec=0\nSocketMode=0666\n";

fn isolated(m: &Machine, suite: &str, rounds: usize) {
    let exec = "[exec]\ncommand = [\"./hello\", \"once\"]\n";
    let http = declare(m, "isolated", &format!("mode = \"isolated\"\ninterface = \"http\"\n{exec}"));
    let open = declare(
        m,
        "open",
        &format!("mode = \"isolated\"\ninterface = \"http\"\nnetwork = true\n{exec}sandbox = \"none\"\n"),
    );
    let cgi = declare(m, "isolated-cgi", "mode = \"isolated\"\n[exec]\ncommand = [\"./hello\"]\n");
    let unit = "[Service]\nExecStart=/srv/cgi/hello once\nStandardInput=socket\nStandardOutput=socket\n";
    m.write("/run/systemd/system/bare.socket", &BARE.replace("NAME", "bare"));
    m.write("/run/systemd/system/bare@.service", unit);
    m.write("/run/systemd/system/boxed.socket", &BARE.replace("NAME", "boxed"));
    m.run(&format!("sed 's|^ExecStart=.*|ExecStart=/srv/cgi/hello once|' /run/systemd/generator/conductor-cgi-{http}-request@.service >/run/systemd/system/boxed@.service
        systemctl daemon-reload; systemctl start bare.socket boxed.socket"));
    let all = [
        ("bare Accept=yes", "/run/bench/bare".to_owned()),
        ("the same in the same sandbox", "/run/bench/boxed".to_owned()),
        ("isolated http", socket(&http)),
        ("isolated http, sandbox none", socket(&open)),
        ("isolated cgi", socket(&cgi)),
    ];
    println!();
    let bare = latencies(
        m,
        suite,
        "a caller who rests 200 ms",
        &all,
        Load { pause_ms: 200, requests: 20, ..Load::default() },
        rounds,
    );
    println!("isolated against bare: {:.2} (at most 1.3: {})", bare[2] / bare[0], verdict(bare[2] / bare[0] <= 1.3));
    let of = latencies(m, suite, "a caller without a rest", &all, Load { requests: 40, ..Load::default() }, rounds);
    println!("isolated against bare: {:.2} (at most 1.3: {})", of[2] / of[0], verdict(of[2] / of[0] <= 1.3));
    println!(
        "isolated against bare in the same sandbox: {:.2} (at most 1.3: {})",
        of[2] / of[1],
        verdict(of[2] / of[1] <= 1.3)
    );
    let burst = Load {
        clients: 500,
        connect: socket(&http),
        post: false,
        requests: 1000,
        timeout_ms: 120_000,
        ..Load::default()
    };
    let seen = m.load(burst).wait();
    println!(
        "500 callers at once, isolated: {:.0}/s, {} of {} refused or lost ({})",
        seen.ok as f64 / seen.seconds,
        seen.failed,
        seen.ok + seen.failed,
        verdict(seen.failed == 0)
    );
}

/// The median time of a request to each, in milliseconds.
fn latencies(m: &Machine, suite: &str, who: &str, all: &[(&str, String)], load: Load, rounds: usize) -> Vec<f64> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); all.len()];
    for _ in 0..rounds {
        for (times, (_, connect)) in times.iter_mut().zip(all) {
            let load = Load { clients: 1, connect: connect.clone(), post: false, ..load.clone() };
            times.push(f64::from(m.load(load).wait().p50_us) / 1e3);
        }
    }
    let of: Vec<f64> = times.iter().map(|times| median(times)).collect();
    for ((name, _), time) in all.iter().zip(&of) {
        println!(
            "{suite} {who}, {name:32} {time:6.2} ms, {:5.2} times bare, {:5.2} times the same sandbox",
            time / of[0],
            time / of[1]
        );
    }
    of
}

fn resting(m: &Machine, suite: &str) {
    let id = declare(m, "rests", "idle_timeout = \"1s\"\n[exec]\ncommand = [\"./hello\"]\n");
    let mut first = Vec::new();
    for _ in 0..7 {
        let time = m.run(&format!(
            "curl --silent --output /dev/null --write-out '%{{time_total}}' --unix-socket {} http://x/",
            socket(&id)
        ));
        first.push(time.trim().parse::<f64>().unwrap_or(f64::NAN) * 1e3);
        m.until("it rests", Duration::from_secs(10), || {
            m.prop(&format!("conductor-cgi-{id}.service"), "ActiveState") == "inactive"
        });
    }
    let left = m
        .run(&format!("systemctl show --property=TasksCurrent,MemoryCurrent conductor-cgi-{id}.service"))
        .replace('\n', " ");
    let first = median(&first[1..]);
    println!(
        "{suite} first request after rest: {first:.1} ms (at most 25 and the program's start: {}); at rest: {left}",
        verdict(first <= 26.0)
    );
}
