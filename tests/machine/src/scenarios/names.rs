//! Parts in containers call each other by name.

use std::collections::BTreeMap;
use std::time::Duration;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("names":
    callers_lose_nothing: "parts that containers call by name are rolled, recreated, scaled, stopped and started" => "no call fails",
    kills: "a container that others call by name is killed, five times" => "callers wait for the next one; what fails was connected to it, or called before systemd had noticed",
    equal_names_do_not_meet: "two services have parts of the same names, on the same ports, which the host uses too" => "each name leads to the own service's part, from containers and pods",
    idle_part_is_woken: "a container calls a part that rests by its name, also after a boot" => "the part starts, and answers",
    firewall_drops_what_comes_in: "the host's firewall drops what comes in" => "parts reach each other by name; no other machine reaches them",
    taken_address: "two parts have the same address" => "`declare` refuses the second one and says what to write",
);

const LIMIT: Duration = Duration::from_secs(180);
const CALLERS: u32 = 4;
/// What curl(1) exits with if it cannot connect in time.
const TIMED_OUT: i32 = 28;

/// Calls each of its arguments in turn, for ever, and writes down what came of it.
const CALLER: &str = r#"while :; do
  for at in "$@"; do
    if /bin/busybox wget -q -O /dev/null "http://$at/"; then echo "$at ok"; else echo "$at failed"; fi
    /bin/sleep 0.02
  done
done >>/calls/log
"#;

/// A database that is recreated, a server that rolls, and containers that call both.
fn stack() -> String {
    format!(
        r#"[[part]]
name = "db"
deploy = {{ strategy = "recreate" }}
{}
port = 5432

[[part]]
name = "api"
concurrency = 2
{}
port = 80

[[part]]
name = "web"
after = ["db", "api"]
concurrency = {CALLERS}
listen = {{ type = "none" }}
[part.container]
image = "{IMAGE}"
exec = ["/bin/sh", "/calls/caller", "db:5432", "api"]
volume = ["/srv/calls:/calls"]
podman_args = ["--init"]
"#,
        server("1"),
        server("1"),
    )
}

/// A container that answers with its version.
fn server(version: &str) -> String {
    format!(
        r#"health = {{ http = "/healthz" }}
[part.container]
image = "{IMAGE}"
exec = ["/bin/app", "--stop-delay", "0s", "--address", "0.0.0.0"]
environment = {{ VERSION = "{version}" }}"#
    )
}

fn declare(m: &Machine, name: &str, text: &str) {
    m.write(&format!("/root/{name}/service.toml"), text);
    m.run(&format!("conductor service declare /root/{name}"));
}

/// The calls of each kind so far.
struct Calls<'a>(&'a Machine);

impl<'a> Calls<'a> {
    fn start(m: &'a Machine) -> Self {
        image::make(m, IMAGE, "1");
        m.write("/srv/calls/caller", CALLER);
        declare(m, "stack", &stack());
        let calls = Self(m);
        calls.go_on();
        calls
    }

    fn count(&self) -> BTreeMap<String, u64> {
        let lines = self.0.run("sort /srv/calls/log | uniq --count");
        let lines = lines.lines().filter_map(|line| line.trim().split_once(' '));
        lines.map(|(count, what)| (what.to_owned(), count.parse().expect("a number"))).collect()
    }

    /// Waits until each caller has been served by both parts.
    fn go_on(&self) {
        let of = |count: &BTreeMap<String, u64>, name: &str| count.get(name).copied().unwrap_or_default();
        let before = self.count();
        for name in ["db:5432 ok", "api ok"] {
            self.0.until("callers are served", LIMIT, || {
                of(&self.count(), name) > of(&before, name) + u64::from(2 * CALLERS)
            });
        }
    }

    #[track_caller]
    fn none_failed(&self) {
        let count = self.count();
        assert_eq!(count.keys().collect::<Vec<_>>(), ["api ok", "db:5432 ok"], "{count:?}");
    }
}

fn container(m: &Machine, part: &str) -> String {
    m.run(&format!("podman ps --format '{{{{.Names}}}}' | grep '^{part}-' | head --lines=1")).trim().to_owned()
}

/// The version that answers to a name in a container of a part.
fn call(m: &Machine, part: &str, address: &str) -> String {
    let answer = m.run(&format!("podman exec {} /bin/busybox wget -q -O - http://{address}/", container(m, part)));
    answer.split(' ').next().unwrap_or_default().to_owned()
}

/// Nothing is left of the namespace once no part needs it.
fn is_gone(m: &Machine) {
    m.until("the namespace is gone", LIMIT, || m.prop("conductor-names.service", "ActiveState") == "inactive");
    assert_eq!(m.run("ip netns list | grep conductor || true; ip route show | grep 169.254 || true"), "");
    assert!(!m.try_run("ip link show conductor").success());
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn callers_lose_nothing(m: &mut Machine) {
    let calls = Calls::start(m);
    for verbs in [
        "conductor service restart stack.db",
        "conductor service restart stack.api",
        "conductor service set stack.db config.ROUND=2",
        "conductor service set stack.api config.ROUND=2",
        "conductor service scale stack.api 3",
        "conductor service scale stack.api 1",
        "conductor service restart stack.api",
        "conductor service set stack.api deploy.strategy=blue-green config.ROUND=3",
        "systemctl restart 'stack.db-????????????@1.service'",
        "systemctl restart 'stack.api-????????????@1.service'",
        "conductor service restart stack",
    ] {
        m.run(verbs);
        calls.go_on();
    }
    calls.none_failed();
    m.note(format!("{:?}", calls.count()));
    m.run("conductor service rm stack");
    is_gone(m);
}

fn kills(m: &mut Machine) {
    let calls = Calls::start(m);
    for part in ["db", "api"] {
        for _ in 0..5 {
            let unit = m
                .run(&format!("systemctl list-units --plain --no-legend --full 'stack.{part}-????????????@1.service'"));
            let unit = unit.split_whitespace().next().unwrap_or_default().to_owned();
            let pid = m.prop(&unit, "MainPID");
            m.run(&format!("kill -KILL {pid}"));
            m.until("it runs again", LIMIT, || {
                m.prop(&unit, "SubState") == "running" && m.prop(&unit, "MainPID") != pid
            });
            calls.go_on();
        }
    }
    m.note(format!("{:?}", calls.count()));
    m.run("conductor service rm stack");
    is_gone(m);
}

fn equal_names_do_not_meet(m: &mut Machine) {
    image::make(m, IMAGE, "1");
    m.write("/root/left/pod/pod.yaml", &image::pod("pod"));
    m.write("/root/right/pod/pod.yaml", &image::pod("pod"));
    for name in ["left", "right"] {
        let part = |part: &str, port: u16| {
            format!("[[part]]\nname = \"{part}\"\n{}\nport = {port}\n", server(&format!("{name}-{part}")))
        };
        // Caddy listens on 80.
        let text = format!(
            "{}{}{}{}",
            part("db", 8080),
            part("api", 8080),
            part("web", 80),
            "[[part]]\nname = \"pod\"\n[part.pod]\ntemplate = \"pod/pod.yaml\"\nport = 8080\n"
        );
        let text = text + &format!("environment = {{ VERSION = \"{name}-pod\" }}\n");
        declare(m, name, &text);
    }
    for name in ["left", "right"] {
        for caller in ["db", "web", "pod"] {
            for (part, address) in [("db", "db:8080"), ("api", "api:8080"), ("web", "web"), ("pod", "pod:8080")] {
                let answer = call(m, &format!("{name}.{caller}"), address);
                assert_eq!(answer, format!("{name}-{part}"), "{name}.{caller} calls {address}");
            }
        }
    }
    m.run("systemctl stop left.db");
    let output =
        m.try_run(&format!("podman exec {} /bin/busybox wget -q -O - http://db:8080/", container(m, "left.web")));
    assert!(!output.success() && output.stderr.contains("refused"), "{output}");
    assert_eq!(call(m, "right.web", "db:8080"), "right-db");
    m.run("systemctl start left.db");
    assert_eq!(call(m, "left.web", "db:8080"), "left-db");
    m.run("conductor service rm left");
    assert_eq!(call(m, "right.web", "db:8080"), "right-db");
    m.run("conductor service rm right");
    is_gone(m);
}

fn idle_part_is_woken(m: &mut Machine) {
    image::make(m, IMAGE, "1");
    let text = format!(
        "[[part]]\nname = \"db\"\nlisten = {{ idle_timeout = \"1s\" }}\n{}\nport = 5432\n\n[[part]]\nname = \"web\"\n{}\nport = 80\n",
        server("db"),
        server("web")
    );
    declare(m, "stack", &text);
    for _ in 0..2 {
        m.until("db rests", LIMIT, || container(m, "stack.db").is_empty());
        assert_eq!(call(m, "stack.web", "db:5432"), "db");
    }
    m.poweroff(LIMIT);
    m.power_on();
    m.run("systemctl is-system-running --wait || true");
    m.until("web runs", LIMIT, || !container(m, "stack.web").is_empty());
    assert_eq!(call(m, "stack.web", "db:5432"), "db", "after a boot");
    m.run("conductor service rm stack");
    is_gone(m);
}

fn firewall_drops_what_comes_in(m: &mut Machine) {
    image::make(m, IMAGE, "1");
    m.run(
        "iptables --append INPUT --in-interface lo --jump ACCEPT
        iptables --append INPUT --match conntrack --ctstate ESTABLISHED,RELATED --jump ACCEPT
        iptables --policy INPUT DROP",
    );
    let part = |name: &str| {
        format!("[[part]]\nname = \"{name}\"\naddress = \"169.254.64.7\"\n{}\nport = 8080\n", server(name))
    };
    let text = part("db") + &part("web").replace("64.7", "200.7");
    declare(m, "stack", &text);
    assert_eq!(call(m, "stack.web", "db:8080"), "db");
    m.run("curl --silent --fail --max-time 60 http://169.254.64.7:8080/");
    // Another machine, which routes these addresses to this one.
    m.run(
        "iptables --policy INPUT ACCEPT
        ip netns add other
        ip link add other type veth peer name eth0 netns other
        ip address add 192.168.77.1/24 dev other
        ip link set other up
        ip -netns other address add 192.168.77.2/24 dev eth0
        ip -netns other link set eth0 up
        ip -netns other route add default via 192.168.77.1",
    );
    let connects = |to: &str, seconds: u32| {
        let call = format!("ip netns exec other curl --silent --connect-timeout {seconds} http://{to}/");
        m.try_run(&call).status != TIMED_OUT
    };
    assert!(connects("192.168.77.1", 60), "the machines reach each other");
    assert!(!connects("169.254.64.7:8080", 3));
}

fn taken_address(m: &mut Machine) {
    image::make(m, IMAGE, "1");
    let part = |name: &str| {
        format!("[[part]]\nname = \"{name}\"\naddress = \"169.254.64.7\"\n{}\nport = 8080\n", server(name))
    };
    declare(m, "left", &part("db"));
    m.write("/root/right/service.toml", &part("db"));
    let output = m.try_run("conductor service declare /root/right");
    assert!(
        !output.success() && output.stderr.contains("the part left.db already has the address 169.254.64.7"),
        "{output}"
    );
    assert!(output.stderr.contains("help: give one of the two another: address = "), "{output}");
    m.write("/root/right/service.toml", &(part("db") + &part("api")));
    let output = m.try_run("conductor check /root/right");
    assert!(!output.success() && output.stderr.contains("already has the address"), "{output}");
}
