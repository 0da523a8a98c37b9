//! Many commands at once, on one service and on many.

use std::thread::sleep;
use std::time::{Duration, Instant};

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, DECLARED, Shop};
use super::watch::Watch;
use crate::scenario::scenarios;

scenarios!("storms":
    reloads_declare_and_rm: "two reloads, a declare and an rm of one service at once"
        => "they are done one after the other, and what the last left in /etc is what runs",
    rm_during_a_declare: "an rm in the middle of a declare of the same service"
        => "the declare ends first, then the service is removed and leaves nothing",
    declares_at_once: "ten versions are declared at once" => "the last one serves, nothing of the others is left, and \
        no request fails",
    fifty_services_one_broken: "50 services are rolled at once, and one does not become healthy"
        => "49 serve the new version, the broken one its old version, and the error names it",
    more_than_take_turns: "120 services start, roll and stop at once, more than may be at it at a time"
        => "they take turns, all finish, and the message bus has connections left for others",
    dependencies_in_a_ring: "four declarations that need each other in a ring are declared at once, again and again"
        => "each says that they depend on each other, none waits for another for ever, and nothing is left",
    dependencies_in_any_order: "services that need each other in a row are declared and removed at once, again and again"
        => "all commands end, and what is declared last serves with its dependencies",
    declaration_deleted_by_hand: "a declaration is deleted by hand, and systemd reloads before conductor"
        => "daemon-reload stops its deployments through their own ExecStop=, draining them, and leaves nothing",
    stored_files_deleted_by_hand: "the stored files of the running generation are deleted by hand"
        => "what runs goes on; the next reload stores them again and a restart works",
);

fn reloads_declare_and_rm(m: &mut Machine) {
    let shop = Shop::new(2);
    for round in 0..4 {
        shop.declare(m, &format!("1{round}"));
        shop.write(m);
        let commands = [
            "systemctl reload shop".to_owned(),
            "conductor service reload shop".to_owned(),
            shop::command(&format!("2{round}")),
            "conductor service rm shop".to_owned(),
        ];
        let running: Vec<_> = commands.iter().cycle().skip(round).take(4).map(|command| m.spawn(command)).collect();
        let outputs: Vec<_> = running.into_iter().map(conductor_machine::command::Background::wait).collect();
        let declared = m.try_run(&format!("cat {DECLARED}/service.toml"));
        if declared.success() {
            assert!(declared.stdout.contains(&format!("\"2{round}\"")), "{outputs:?}");
            shop::assert_serves(m, &format!("2{round}"), 2);
        } else {
            assert_gone(m);
        }
        m.note(if declared.success() { "declared last" } else { "removed last" });
    }
}

fn assert_gone(m: &Machine) {
    assert_eq!(m.run("find /etc/conductor /run /var/lib/conductor -name '*shop*'"), "");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend '*shop*'; pgrep --exact app || true"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn rm_during_a_declare(m: &mut Machine) {
    let shop = Shop::new(2).flags("--start-delay 500ms");
    shop.declare(m, "1");
    shop.write(m);
    let declare = m.spawn(&shop::command("2"));
    m.until("version 2 starts", Duration::from_secs(5), || m.run("pgrep --exact app | wc -l").trim() == "3");
    let removed = m.try_run("conductor service rm shop");
    declare.wait();
    assert!(removed.success(), "{removed}");
    assert_gone(m);
}

fn declares_at_once(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    shop.write(m);
    let (watch, load) = (Watch::begin(m), m.load(Load { clients: 8, pause_ms: 5, ..shop::load() }));
    let declares: Vec<_> = (10..20).map(|version| m.spawn(&shop::command(&version.to_string()))).collect();
    for declare in declares {
        declare.finish();
    }
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    let declared = m.read(&format!("{DECLARED}/service.toml"));
    let (_, version) = declared.split_once("VERSION = \"").expect("a version");
    shop::assert_serves(m, &version[..2], 2);
    m.note(seen);
}

/// A declaration below /root/ring, of a process without a socket.
fn write_link(m: &Machine, name: &str, needs: &str) {
    let needs = if needs.is_empty() { String::new() } else { format!("[[service]]\ndir = \"../{needs}\"\n") };
    let text = "[exec]\ncommand = [\"/usr/bin/sleep\", \"infinity\"]\n[health]\nexec = [\"true\"]\n";
    m.write(&format!("/root/ring/{name}/service.toml"), &format!("{needs}{text}"));
}

/// Runs a command for each name at once, some times, and returns what each said: lines of `exit STATUS` among it.
fn hammer(m: &Machine, rounds: u32, commands: &[String]) -> Vec<String> {
    let each = commands
        .iter()
        .map(|command| format!("for i in $(seq {rounds}); do {command} 2>&1 && echo exit 0 || echo exit $?; done"));
    let running: Vec<_> = each.map(|command| m.spawn(&command)).collect();
    running.into_iter().map(conductor_machine::command::Background::finish).collect()
}

fn dependencies_in_a_ring(m: &mut Machine) {
    let ring = ["ant", "dog", "bee", "cow"];
    for (index, name) in ring.iter().enumerate() {
        write_link(m, name, ring[(index + 1) % ring.len()]);
    }
    let commands = ring.map(|name| format!("timeout 250 conductor service declare /root/ring/{name}"));
    for said in hammer(m, 10, &commands) {
        let exits: Vec<_> = said.lines().filter(|line| line.starts_with("exit ")).collect();
        assert_eq!(exits, ["exit 3"; 10], "{said}");
        assert_eq!(said.matches("services depend on each other").count(), 10, "{said}");
    }
    let left = "ls /etc/conductor/services /run/conductor/locks/declare* /var/lib/conductor/generations 2>/dev/null | grep -v : || true";
    assert_eq!(m.run(left).trim(), "");
}

fn dependencies_in_any_order(m: &mut Machine) {
    // zoo needs ant, ant needs man: not the order of their names.
    for (name, needs) in [("zoo", "ant"), ("ant", "man"), ("man", "")] {
        write_link(m, name, needs);
    }
    let commands = ["zoo", "ant", "man"].map(|name| {
        format!("(timeout 250 conductor service declare /root/ring/{name} && timeout 250 conductor service rm {name})")
    });
    for said in hammer(m, 5, &commands) {
        assert!(!said.contains("exit 124") && !said.contains("panicked"), "{said}");
    }
    m.run("conductor service declare /root/ring/zoo");
    for name in ["zoo", "ant", "man"] {
        assert_eq!(m.prop(&format!("{name}.service"), "ActiveState"), "active", "{name}");
    }
    m.run("conductor service rm zoo; conductor service rm ant || true; conductor service rm man || true");
    assert_eq!(m.run("find /etc/conductor/services /run/conductor/locks /var/lib/conductor/generations -name 'zoo*' -o -name 'ant*' -o -name 'man*'"), "");
}

fn fifty_services_one_broken(m: &mut Machine) {
    m.copy_app("/usr/local/bin/app");
    let declare = |number: u32, version: &str, flags: &str| {
        let limit = if flags.is_empty() { "60s" } else { "20s" };
        let text = format!(
            r#"[exec]
command = ["/usr/local/bin/app", "--version", "{version}"{flags}]
[health]
http = "/healthz"
[deploy]
health_timeout = "{limit}"
[[route]]
host = ["s{number}.localhost"]
tls = "off"
"#
        );
        m.write(&format!("/etc/conductor/services/s{number}/service.toml"), &text);
    };
    (1..=50).for_each(|number| declare(number, "1", ""));
    let start = Instant::now();
    m.run("conductor daemon-reload");
    m.note(format!("started in {:.1?}", start.elapsed()));
    (1..=50).for_each(|number| declare(number, "2", if number == 25 { ", \"--unhealthy\"" } else { "" }));
    let start = Instant::now();
    let output = m.try_run("conductor daemon-reload");
    m.note(format!("rolled in {:.1?}", start.elapsed()));
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stderr.contains("s25-") && output.stderr.contains("is not healthy"), "{output}");
    // Before it stands what each did.
    let (_, error) = output.stderr.split_once("error: ").expect("an error");
    assert!(!error.contains("s24") && !error.contains("s26"), "{output}");
    let answers = m.run("for i in $(seq 50); do curl --silent --fail http://s$i.localhost/ | cut -d ' ' -f 1; done");
    let expected: String = (1..=50).map(|number| if number == 25 { "1\n" } else { "2\n" }).collect();
    assert_eq!(answers, expected, "{output}");
    assert_eq!(m.run("pgrep --exact app | wc -l").trim(), "50");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn more_than_take_turns(m: &mut Machine) {
    const SERVICES: u32 = 120;
    m.copy_app("/usr/local/bin/app");
    let declare = |version: &str| {
        let text = format!("[exec]\ncommand = ['/usr/local/bin/app', '--version', '{version}']\nsandbox = 'none'\n");
        m.write("/root/service.toml", &text);
        m.run(&format!(
            "for i in $(seq {SERVICES}); do install -D -m 644 /root/service.toml /etc/conductor/services/s$i/service.toml; done"
        ));
        let start = Instant::now();
        m.run("conductor daemon-reload");
        m.note(format!("version {version} after {:.1?}", start.elapsed()));
        let running = m.run("pgrep --list-full --exact app");
        let line = format!("/usr/local/bin/app --version {version}");
        assert_eq!(running.lines().filter(|process| process.ends_with(&line)).count(), SERVICES as usize);
        assert_eq!(running.lines().count(), SERVICES as usize);
    };
    declare("1");
    declare("2");
    m.run(&format!("systemctl stop $(printf 's%s.service ' $(seq {SERVICES}))"));
    assert_eq!(m.run("pgrep --exact app || true; cd /run/conductor; find deployments generations -mindepth 1"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    let refused = m.run("journalctl --sync; journalctl --output=cat --grep='maximum number of active' || true");
    assert_eq!(refused, "", "connections to the bus");
}

fn declaration_deleted_by_hand(m: &mut Machine) {
    Shop::new(2).extra("[hooks]\npre_stop = [\"/bin/sh\", \"-c\", \"echo stopped\"]\n").declare(m, "1");
    let request = m.spawn(&format!("curl --silent --fail 'http://{}/slow?ms=1500'", shop::HOST));
    m.until("the request is on its way", Duration::from_secs(1), || {
        m.try_run("ss -x state established | grep -q /shop-").success()
    });
    m.run(&format!("rm -r {DECLARED}; systemctl daemon-reload"));
    assert_eq!(shop::deployments(m).len(), 2, "it runs until conductor is told");
    let output = m.run("conductor daemon-reload");
    assert!(output.contains("shop: stopped: no longer declared"), "{output}");
    assert!(request.finish().starts_with("1 "), "a request in flight is answered");
    m.run("journalctl --sync");
    let stops = m.run("journalctl --output=cat --grep='^stopped$' CONDUCTOR_SERVICE=shop | wc -l");
    assert_eq!(stops.trim(), "2");
    assert_gone(m);
}

fn stored_files_deleted_by_hand(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let load = m.load(Load { clients: 8, pause_ms: 5, ..shop::load() });
    m.run("rm -r /var/lib/conductor/generations/shop");
    sleep(Duration::from_millis(500));
    m.run("conductor service reload shop");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.run("systemctl restart shop");
    shop::assert_serves(m, "1", 2);
}
