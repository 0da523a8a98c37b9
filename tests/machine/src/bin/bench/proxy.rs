//! Reverse proxies: requests through what Conductor writes against the best that is written by hand, updates under a
//! million requests, and how long routes take until they are served.

use std::fs;

use conductor_machine::figure::median;
use conductor_machine::load::Load;
use conductor_machine::machine::{Machine, Suite};

use crate::Outcome;
use crate::build::files;
use crate::clock::milliseconds;
use crate::table::Table;

/// Rounds, in each of which every side has its turn.
const ROUNDS: usize = 5;
const REQUESTS: u64 = 20_000;
/// Requests of the updates without an end.
const MANY_REQUESTS: u64 = 1_000_000;
/// Numbers of sites whose publication is timed.
const SITES: [usize; 3] = [1, 100, 1000];
/// The application for the configurations by hand: two processes, at these sockets.
const BARE: &str = "/run/bare";

/// A reverse proxy, with what an administrator writes for the same two processes on port 8080.
struct Proxy {
    name: &'static str,
    /// Writes that configuration, with connections that are kept and the proxy's defaults.
    by_hand: &'static str,
    /// How fast the routes must be beside it: by default, and with `keepalive = true`.
    at_least: [f64; 2],
}

const PROXIES: [Proxy; 3] = [
    Proxy {
        name: "caddy",
        by_hand: "printf 'http://:8080 {\n\treverse_proxy unix//run/bare/1 unix//run/bare/2\n}\n' >>/etc/caddy/Caddyfile",
        at_least: [0.75, 0.95],
    },
    Proxy {
        name: "nginx",
        by_hand: "printf 'upstream bare {\n\tserver unix:/run/bare/1;\n\tserver unix:/run/bare/2;\n\tkeepalive 64;\n}\n\
                  server {\n\tlisten 8080;\n\tlocation / {\n\t\tproxy_pass http://bare;\n\t\tproxy_http_version 1.1;\n\
                  \t\tproxy_set_header Connection \"\";\n\t\tproxy_set_header Host $host;\n\t}\n}\n' >/etc/nginx/conf.d/bare.conf",
        at_least: [0.75, 0.95],
    },
    Proxy {
        name: "haproxy",
        // Its processes are in a root directory of their own.
        by_hand: "mkdir -p /var/lib/haproxy/run/bare; mount --bind /run/bare /var/lib/haproxy/run/bare; \
                  printf 'frontend bare\n\tbind :8080\n\tdefault_backend bare\nbackend bare\n\thttp-reuse always\n\
                  \tserver one unix@/run/bare/1\n\tserver two unix@/run/bare/2\n' >>/etc/haproxy/haproxy.cfg",
        at_least: [0.92, 0.95],
    },
];

const SERVICE: &str = r#"concurrency = 2
exec.command = ["./app"]
exec.environment = { VERSION = "{{ VERSION }}" }

[[route]]
host = ["default.localhost"]
tls = "off"

[[route]]
host = ["kept.localhost"]
tls = "off"
keepalive = true
"#;

/// Measures requests, and publications.
pub(crate) fn measure(suite: &Suite, table: &mut Table) -> Outcome {
    for proxy in &PROXIES {
        let machine = proxy.boot(suite);
        proxy.requests(suite, &machine, table);
        proxy.publications(suite, &machine, table)?;
    }
    Ok(())
}

/// Updates a service through each proxy until a million requests are answered.
pub(crate) fn update_without_end(suite: &Suite, table: &mut Table) -> Outcome {
    for proxy in &PROXIES {
        let machine = proxy.boot(suite);
        let load = Load { requests: MANY_REQUESTS, seconds: 1200, clients: 32, ..of_host("default.localhost") };
        let load = machine.load(load);
        let mut updates = 0;
        let seen = std::thread::scope(|scope| {
            let load = scope.spawn(|| load.wait());
            while !load.is_finished() {
                updates += 1;
                machine.run(&format!("conductor service declare /root/web VERSION={updates}"));
            }
            load.join().expect("the load")
        });
        println!("{}, {}, {updates} updates: {seen}", suite.name, proxy.name);
        let figure = format!("failed requests in {updates} updates through {}, {}", proxy.name, suite.name);
        table.count(&figure, seen.failed, seen.requests());
    }
    Ok(())
}

fn of_host(host: &str) -> Load {
    Load { host: host.into(), post: false, requests: REQUESTS, ..Load::default() }
}

impl Proxy {
    /// Boots a machine on which this proxy serves a service, and two bare processes by its administrator's configuration.
    fn boot(&self, suite: &Suite) -> Machine {
        let machine = Machine::boot(suite);
        let name = self.name;
        machine.run("systemctl stop caddy nginx haproxy");
        machine.copy_app("/usr/local/bin/app");
        machine.run(&format!(
            "mkdir -p {BARE}; chmod 755 {BARE}
            for i in 1 2; do systemd-run --quiet --unit=bare-$i /usr/local/bin/app --unix {BARE}/$i; done
            until test -S {BARE}/1 -a -S {BARE}/2; do sleep 0.1; done; chmod 666 {BARE}/1 {BARE}/2
            {}",
            self.by_hand
        ));
        machine.write("/etc/conductor/conductor.toml", &format!("[proxy]\ndriver = \"{name}\"\n"));
        machine.run(&format!("conductor daemon-reload; systemctl restart {name}"));
        machine.write("/root/web/service.toml", SERVICE);
        machine.copy_app("/root/web/app");
        machine.run("conductor service declare /root/web VERSION=0");
        machine
    }

    fn requests(&self, suite: &Suite, machine: &Machine, table: &mut Table) {
        let by_hand = Load { connect: "127.0.0.1:8080".into(), ..of_host("bare.localhost") };
        let mut sides =
            [of_host("default.localhost"), of_host("kept.localhost"), by_hand].map(|load| (load, Vec::new()));
        for _ in 0..ROUNDS {
            for (load, took) in &mut sides {
                let seen = machine.load(load.clone()).wait();
                assert_eq!(seen.failed, 0, "{seen}");
                took.push(seen.seconds * 1000.0);
            }
        }
        let [default, kept, by_hand] = sides.map(|(_, took)| median(&took));
        let figure = |what: &str| {
            format!("{REQUESTS} requests through {}{what}, {}, against one by hand", self.name, suite.name)
        };
        table.compare(&figure(""), default, by_hand, 1.0 / self.at_least[0]);
        table.compare(&figure(" with keepalive"), kept, by_hand, 1.0 / self.at_least[1]);
    }

    /// A route more, until it is served, against the proxy's own reload of as much.
    fn publications(&self, suite: &Suite, machine: &Machine, table: &mut Table) -> Outcome {
        let services = files(machine).join("etc/conductor/services");
        let site = |number: usize| format!("[[route]]\nhost = [\"site-{number}.localhost\"]\ntls = \"off\"\n");
        let mut written = 0;
        for sites in SITES {
            for number in written..sites {
                let dir = services.join(format!("site-{number:04}"));
                fs::create_dir_all(&dir)?;
                let rest = "[install]\nwanted_by = []\n";
                let process = "exec.command = [\"/bin/sleep\", \"infinity\"]\n";
                fs::write(dir.join("service.toml"), format!("{process}{}{rest}", site(number)))?;
            }
            written = sites;
            machine.run("systemctl daemon-reload; systemctl reload-or-restart conductor-proxy");
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let more = format!("{}{}", site(0), site(10_000 + round));
                let text = format!("exec.command = [\"/bin/sleep\", \"infinity\"]\n{more}[install]\nwanted_by = []\n");
                fs::write(services.join("site-0000/service.toml"), text)?;
                machine.run("systemctl daemon-reload");
                // The publication asks for the reload; a reload that has ended follows it.
                let wait = format!(
                    "while systemctl list-jobs --no-legend {}.service | grep -q .; do sleep 0.01; done",
                    self.name
                );
                ours.push(milliseconds(machine, &format!("systemctl reload conductor-proxy; {wait}")));
                theirs.push(milliseconds(machine, &format!("systemctl reload {}", self.name)));
            }
            let figure =
                format!("publishing a route of {sites} services by {}, {}, against its reload", self.name, suite.name);
            table.compare(&figure, median(&ours), median(&theirs), (sites == 1000).then_some(1.2));
        }
        Ok(())
    }
}
