//! What the first form of the design got wrong must stay right.

use std::time::{Duration, Instant};

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, DECLARED, Shop};
use super::watch::Watch;
use crate::scenario::scenarios;

scenarios!("traps":
    start_fails_half_way: "the second of three deployments fails in a service's first start"
        => "the start fails, no deployment keeps running, and a reload of the corrected declaration starts the service",
    reload_fails_half_way: "the second of three deployments of a new version fails"
        => "the old ones that had stopped already start again, no request fails, and nothing failed is listed",
    stop_during_a_reload: "a service is stopped in the middle of a reload, and started again"
        => "the stop waits for all deployments, nothing is left, and the start serves what is declared",
    restart_during_a_reload: "a service is restarted in the middle of a reload"
        => "one generation runs afterwards, the declared one",
    stopped_with_its_service: "a service is stopped with requests in flight on all deployments"
        => "every request is answered, and no other deployment gets the slots meanwhile",
    private_network: "the processes and hooks of a service have a network namespace of their own"
        => "requests in flight are counted and answered, and every hook runs",
    failed_instances: "processes dump core, hooks fail and starts time out"
        => "`systemctl --failed` lists nothing once the old version serves on",
    proxy_in_another_namespace: "caddy.service is given a network namespace of its own"
        => "`conductor check` refuses that: requests in flight could not be counted",
    socket_stopped_by_hand: "the socket of a deployment is stopped by hand"
        => "its deployment stops with it, siblings take its slots, and a reload brings it back",
    slots_deleted_by_hand: "the slots are deleted by hand" => "`conductor daemon-reload` puts them back",
);

const SECOND: Duration = Duration::from_secs(1);

fn load() -> Load {
    Load { clients: 8, pause_ms: 5, ..shop::load() }
}

/// A program that is the application, but not as instance 2.
const HALF: &str = "#!/bin/sh\ntest \"$CONDUCTOR_INSTANCE\" != 2 || exit 3\nexec ./app \"$@\"\n";

fn write_half(m: &Machine, shop: &Shop) {
    shop.write(m);
    m.write_executable("/root/shop/half", HALF);
    m.write("/root/shop/service.toml", &shop.service_toml().replace("\"./app\"", "\"./half\""));
}

fn start_fails_half_way(m: &mut Machine) {
    let shop = Shop::new(3).extra("[deploy]\nhealth_timeout = \"2s\"\n");
    write_half(m, &shop);
    m.run(&format!("{} --no-start", shop::command("1")));
    let start = m.try_run("systemctl start shop");
    assert_eq!(start.status, 1, "{start}");
    assert_eq!(shop::deployments(m), Vec::<String>::new());
    assert_eq!(
        m.run(
            "ls -A /run/conductor/deployments /run/conductor/slots /run/conductor/sockets; pgrep --exact app || true"
        )
        .replace("/run/conductor/", "")
        .lines()
        .filter(|line| !line.is_empty() && !line.ends_with(':'))
        .collect::<Vec<_>>(),
        [""; 0]
    );
    m.run(&format!("sed -i 's|./half|./app|' {DECLARED}/service.toml; conductor daemon-reload"));
    shop::assert_serves(m, "1", 3);
}

fn reload_fails_half_way(m: &mut Machine) {
    let shop = Shop::new(3).extra("[deploy]\nhealth_timeout = \"2s\"\n");
    shop.declare(m, "1");
    write_half(m, &shop);
    let (watch, load) = (Watch::begin(m), m.load(load()));
    let declare = m.try_run(&shop::command("2"));
    assert_eq!(declare.status, 1, "{declare}");
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    assert!(seen.versions.contains_key("2"), "the first new one had served: {seen}");
    shop::assert_serves(m, "1", 3);
    m.note(seen);
}

/// Version 2 is on its way: one of its deployments starts and takes its time.
fn slow_reload(m: &Machine) -> conductor_machine::command::Background {
    Shop::new(2).flags("--start-delay 1s --stop-delay 300ms").declare(m, "1");
    shop::edit(m, "2");
    let reload = m.spawn("systemctl reload shop");
    m.until("version 2 starts", 5 * SECOND, || m.run("pgrep --exact app | wc -l").trim() == "3");
    reload
}

fn stop_during_a_reload(m: &mut Machine) {
    let reload = slow_reload(m);
    let start = Instant::now();
    m.run("systemctl stop shop");
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
    assert!(!reload.wait().success());
    assert_eq!(shop::deployments(m), Vec::<String>::new());
    assert_eq!(m.run("find /run/conductor -path '*shop/*'; pgrep --exact app || true"), "");
    m.run("systemctl start shop");
    shop::assert_serves(m, "2", 2);
}

fn restart_during_a_reload(m: &mut Machine) {
    let reload = slow_reload(m);
    m.run("systemctl restart shop");
    reload.wait();
    shop::assert_serves(m, "2", 2);
}

fn stopped_with_its_service(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let requests: Vec<_> =
        (0..6).map(|_| m.spawn(&format!("curl --silent --fail 'http://{}/slow?ms=1500'", shop::HOST))).collect();
    m.until("the requests are on their way", SECOND, || {
        m.run("ss -x state established | grep -c /shop- || true").trim().parse::<u32>().is_ok_and(|count| count >= 6)
    });
    m.run("systemctl stop shop");
    for request in requests {
        assert!(request.finish().starts_with("1 "), "a request in flight is answered");
    }
    m.run("journalctl --sync; ! journalctl --output=cat | grep 'stopping although'");
    assert_eq!(m.run("find /run/conductor -path '*shop/*'"), "");
}

fn private_network(m: &mut Machine) {
    let hook = |name: &str| format!("{name} = [\"/bin/sh\", \"-c\", \"echo hook {name} $(ls /sys/class/net)\"]\n");
    let hooks: String = ["pre_start", "post_start", "pre_stop", "drain", "post_stop"].map(hook).concat();
    let extra = format!("[hooks]\n{hooks}[systemd.service]\nPrivateNetwork = true\n");
    let shop = Shop::new(1).flags("--single --accept-delay 3ms").extra(&extra.replace("$(", "$$("));
    shop.declare(m, "1");
    let (watch, load) = (Watch::begin(m), m.load(shop::load()));
    shop.declare(m, "2");
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    m.run("systemctl stop shop; journalctl --sync");
    let said = m.run("journalctl --output=cat --grep='^hook ' CONDUCTOR_SERVICE=shop | sort | uniq -c");
    for name in ["pre_start", "post_start", "pre_stop", "drain", "post_stop"] {
        assert!(said.contains(&format!("2 hook {name} lo\n")), "{said}");
    }
    assert!(!m.run("journalctl --output=cat --unit='shop-*'").contains("unknown"), "drained without knowing");
    m.note(seen);
}

fn failed_instances(m: &mut Machine) {
    let extra = "[deploy]\nhealth_timeout = \"1s\"\n";
    let shop = Shop::new(2).extra(extra);
    shop.declare(m, "1");
    let hook = |name: &str, script: &str| format!("{extra}[hooks]\n{name} = [\"/bin/sh\", \"-c\", {script:?}]\n");
    let broken = [
        Shop::new(2).extra(extra).flags("--exit-at-start 134"),
        Shop::new(2).extra(extra).flags("--start-delay 1h"),
        Shop::new(2).extra(&hook("pre_start", "kill -ABRT $$$$")),
        Shop::new(2).extra(&hook("post_start", "exit 1")),
        Shop::new(2).extra(&format!("{extra}[systemd.service]\nExecStartPre = \"/bin/false\"\n")),
        Shop::new(2).extra(&format!("{extra}[systemd.service]\nUMask = \"0077\"\nRootDirectory = \"/nonexistent\"\n")),
    ];
    let load = m.load(load());
    for (number, broken) in broken.iter().enumerate() {
        let output = broken.try_declare(m, "2");
        assert!(!output.success(), "{number}: {output}");
        shop::assert_serves(m, "1", 2);
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
}

fn proxy_in_another_namespace(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    m.run("conductor check; conductor check shop");
    for line in ["PrivateNetwork=yes", "NetworkNamespacePath=/run/netns/other"] {
        m.write("/etc/systemd/system/caddy.service.d/network.conf", &format!("[Service]\n{line}\n"));
        m.run("systemctl daemon-reload");
        for command in ["conductor check", "conductor check shop"] {
            let output = m.try_run(command);
            assert_eq!(output.status, 3, "{command}: {output}");
            for words in ["caddy.service", "network namespace", "in flight", line.split('=').next().expect("a key")] {
                assert!(output.stderr.contains(words), "{words}: {output}");
            }
        }
    }
    m.note(m.try_run("conductor check").stderr.lines().next().unwrap_or_default());
    m.run("rm /etc/systemd/system/caddy.service.d/network.conf; systemctl daemon-reload; conductor check");
    // One without routes has nothing to do with the proxy.
    m.write("/etc/systemd/system/caddy.service.d/network.conf", "[Service]\nPrivateNetwork=yes\n");
    m.run("conductor service rm shop; systemctl daemon-reload");
    m.write("/etc/conductor/services/plain/service.toml", "[exec]\ncommand = [\"/bin/sleep\", \"1\"]\n");
    m.run("conductor check");
}

fn socket_stopped_by_hand(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let (watch, load) = (Watch::begin(m), m.load(load()));
    m.run(&format!("systemctl stop shop-{}@2.socket", shop::generation(m)));
    assert_eq!(shop::deployments(m).len(), 2);
    m.run("conductor daemon-reload");
    let seen = load.stop();
    watch.end();
    shop::assert_serves(m, "1", 3);
    m.note(&seen);
    assert_eq!(seen.failed, 0, "{seen}");
}

fn slots_deleted_by_hand(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    m.run("rm -r /run/conductor/slots/shop");
    m.run("conductor daemon-reload");
    shop::assert_serves(m, "1", 2);
}
