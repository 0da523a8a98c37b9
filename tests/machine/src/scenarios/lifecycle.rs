//! A service under systemd's own verbs, under `conductor daemon-reload`, and from its declaration to its removal.

use std::thread::sleep;
use std::time::Duration;

use conductor_machine::machine::Machine;

use super::service::{get, timed, toml, write_declaration};
use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("lifecycle":
    stop_waits_and_leaves_nothing,
    isolate_and_poweroff_wait_for_deployments: "`systemctl isolate` and poweroff while deployments run"
        => "all deployments stop in order, and nothing waits for a timeout",
    one_generation_after_any_verb,
    deployment_stopped_by_hand: "one deployment alone is stopped by hand"
        => "siblings take its slots, no request fails, and a reload starts it again",
    start_brings_back_what_is_missing: "deployments are stopped by hand, or together with a database that they require, which is then started or restarted"
        => "status says degraded or inactive, and `systemctl start` or `conductor service start` brings all of them back",
    crash_loop_fails_if_that_is_declared: "a process crashes again and again, with StartLimitBurst= and OnFailure= in its declaration"
        => "its deployment fails and the alert comes, siblings serve, and `conductor service start` starts it again",
    conductor_daemon_reload_does_what_is_due,
    boot_starts_what_is_wanted,
    removal_leaves_nothing,
    declarations_and_reloads_at_once: "declarations, reloads and a daemon-reload of one service at once"
        => "what is declared last serves, and no request fails",
    stop_in_the_middle_of_a_rollout: "a service is stopped in the middle of a declare"
        => "it is off and stays off, nothing is left, and `declare` removes the failed declaration",
    resources_and_routes_roll_nothing,
);

/// The processes of all deployments, for telling whether any was restarted.
fn processes(m: &Machine) -> String {
    m.run("pgrep --exact app | sort -n")
}

const SECOND: Duration = Duration::from_secs(1);

fn stop_waits_and_leaves_nothing(m: &mut Machine) {
    let shop = Shop::new(3).flags("--stop-delay 2s");
    shop.declare(m, "1");
    let first = shop::generation(m);
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=3));

    let (_, took) = timed(|| m.run("systemctl stop shop"));
    assert!((2 * SECOND..6 * SECOND).contains(&took), "stopped in {took:?}");
    assert_eq!(shop::traces(m, &first), "");
    assert_eq!(
        m.run("find /run/conductor -path '*shop/*'; find /run/systemd/system -name 'shop*'; pgrep --exact app || true"),
        ""
    );
    assert_eq!(m.prop("shop.service", "ActiveState"), "inactive");
    m.note(format!("stop {took:.1?}"));

    m.run("systemctl start shop");
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=3));
    shop::edit(m, "2");
    let (_, took) = timed(|| m.run("systemctl restart shop"));
    let second = shop::generation(m);
    assert_ne!(first, second);
    assert_eq!(shop::deployments(m), shop::active(&second, 1..=3));
    assert_eq!(shop::traces(m, &first), "");
    assert!(shop::get(m).starts_with("2 "));
    assert!((2 * SECOND..8 * SECOND).contains(&took), "restarted in {took:?}");
    m.note(format!("restart {took:.1?}"));
}

fn isolate_and_poweroff_wait_for_deployments(m: &mut Machine) {
    m.write(
        "/etc/systemd/system/quiet.target",
        "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n",
    );
    Shop::new(3).flags("--stop-delay 2s").declare(m, "1");
    let generation = shop::generation(m);

    let before = processes(m);
    m.run("systemctl isolate multi-user.target");
    assert_eq!(processes(m), before, "it belongs to multi-user.target");
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));

    // systemctl waits for the target alone, which is not ordered after what has to stop.
    let (_, took) = timed(|| {
        m.run("systemctl isolate quiet.target");
        m.until("the service has stopped", 10 * SECOND, || m.prop("shop.service", "ActiveState") == "inactive");
    });
    assert!((2 * SECOND..6 * SECOND).contains(&took), "isolated in {took:?}");
    assert_eq!(shop::traces(m, &generation), "");
    m.note(format!("isolate {took:.1?}"));

    m.run("systemctl isolate multi-user.target");
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    assert!(shop::get(m).starts_with("1 "));

    let took = m.poweroff(10 * SECOND);
    assert!(took >= 2 * SECOND, "off in {took:?}");
    m.note(format!("poweroff {took:.1?}"));
    m.power_on();
    assert_eq!(m.failed_units(), Vec::<String>::new());
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    let timeouts = m.run("journalctl --boot=-1 --output=cat _PID=1 | grep -i 'timed out\\|sigkill' || true");
    assert_eq!(timeouts, "", "something waited for a timeout");
}

fn one_generation_after_any_verb(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let first = shop::generation(m);
    let before = processes(m);

    shop::edit(m, "2");
    m.run("systemctl daemon-reload; systemctl start shop");
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=3));
    assert_eq!(processes(m), before, "it ran already");

    m.run("systemctl reload shop");
    let second = shop::generation(m);
    assert_ne!(first, second);
    assert_eq!(shop::deployments(m), shop::active(&second, 1..=3));
    assert_eq!(shop::traces(m, &first), "");

    shop::edit(m, "3");
    m.run("systemctl reload shop");
    let third = shop::generation(m);
    assert_eq!(shop::deployments(m), shop::active(&third, 1..=3));
    assert!(shop::get(m).starts_with("3 "));

    // The last declaration again is the generation it was, and nothing restarts.
    let before = processes(m);
    m.run("systemctl reload shop");
    assert_eq!((shop::generation(m), processes(m)), (third, before));
}

fn deployment_stopped_by_hand(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let generation = shop::generation(m);
    let load = m.load(shop::load());
    sleep(SECOND);
    m.run(&format!("systemctl stop shop-{generation}@2.service"));
    let holders = shop::slots(m);
    assert_eq!(holders.len(), 12, "{holders:?}");
    assert!(holders.iter().all(|holder| !holder.ends_with("/2")), "{holders:?}");
    assert_eq!(shop::deployments(m).len(), 2);
    assert_eq!(m.run(&format!("ls -d /run/conductor/deployments/shop-{generation}-2 2>/dev/null || true")), "");
    m.run("journalctl --sync");
    assert_eq!(m.run("journalctl --output=cat --grep='Failed with result' 2>/dev/null || true"), "", "its hooks fail");
    sleep(SECOND);
    m.run("systemctl reload shop");
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    assert_eq!(shop::slots(m).iter().filter(|holder| holder.ends_with("/2")).count(), 4);
    sleep(SECOND);
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(seen);
}

fn start_brings_back_what_is_missing(m: &mut Machine) {
    let database = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep infinity\n";
    m.write("/run/systemd/system/database.service", database);
    m.run("systemctl daemon-reload; systemctl start database");
    let required = "[systemd.unit]\nRequires = \"database.service\"\nAfter = \"database.service\"\n";
    Shop::new(3).extra(required).declare(m, "1");
    let generation = shop::generation(m);
    let state = |m: &Machine| {
        let rows: serde_json::Value = serde_json::from_str(&m.run("conductor service list --json")).expect("JSON");
        rows[0]["state"].as_str().expect("a state").to_owned()
    };
    let serves = |m: &Machine| shop::deployments(m) == shop::active(&generation, 1..=3);

    m.run(&format!("systemctl stop shop-{generation}@2.service shop-{generation}@3.service"));
    assert_eq!(state(m), "degraded");
    m.run("conductor service start shop");
    assert!(serves(m) && state(m) == "active", "{:?}", shop::deployments(m));

    for start in ["systemctl start shop", "conductor service start shop", "systemctl start database shop"] {
        m.run("systemctl stop database");
        m.until("nothing serves", SECOND * 20, || shop::deployments(m).is_empty());
        assert_eq!(state(m), "inactive");
        m.run(start);
        assert!(serves(m) && state(m) == "active", "{start}: {:?}", shop::deployments(m));
        assert!(shop::get(m).starts_with("1 "), "{start}");
    }
    m.run("systemctl restart database");
    m.until("all serve after its restart", SECOND * 60, || serves(m));
    assert_eq!((state(m).as_str(), m.failed_units()), ("active", Vec::new()));
    m.run("systemctl kill --signal=KILL database; until systemctl is-failed --quiet database; do sleep 0.1; done");
    m.run("systemctl start database; systemctl start shop");
    assert!(serves(m), "{:?}", shop::deployments(m));
}

fn crash_loop_fails_if_that_is_declared(m: &mut Machine) {
    m.write(
        "/run/systemd/system/alert@.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i >>/run/alerts'\n",
    );
    m.run("systemctl daemon-reload");
    let limit =
        "[systemd.unit]\nOnFailure = \"alert@%n.service\"\nStartLimitIntervalSec = \"10min\"\nStartLimitBurst = 3\n";
    Shop::new(2).extra(limit).declare(m, "1");
    let generation = shop::generation(m);
    let unit = format!("shop-{generation}@2.service");
    let load = m.load(shop::load());
    // Each has served for longer than a crash at the start takes.
    crash_too_often(m, &unit, SECOND * 3 / 2);
    m.until("the alert comes", SECOND * 30, || m.try_run("test -s /run/alerts").success());
    // A caller who knocks at its socket may make systemd refuse one more start.
    assert!(m.read("/run/alerts").lines().all(|of| of == unit), "{}", m.read("/run/alerts"));
    sleep(SECOND * 3);
    let socket = unit.replace(".service", ".socket");
    // The socket fails, too, if somebody calls it then.
    let failed = m.failed_units();
    assert!(failed.contains(&unit) && failed.iter().all(|one| *one == unit || *one == socket), "{failed:?}");
    let serving = || {
        let all = shop::deployments(m).into_iter();
        all.filter(|line| line.contains(" active")).collect::<Vec<_>>()
    };
    assert_eq!(serving(), shop::active(&generation, 1..=1));
    assert!(m.run("conductor service list").contains("degraded"));
    let told = m.run("conductor service status shop");
    let line = told.lines().find(|line| line.starts_with(&unit));
    assert!(line.is_some_and(|line| line.contains("failed")), "{told}");
    m.run("conductor service start shop");
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=2));
    assert_eq!(m.failed_units(), Vec::<String>::new());
    let seen = load.stop();
    m.note(&seen);
    m.run(&format!("systemctl kill --signal=KILL --kill-whom=main {unit}"));
    m.until("it is back", SECOND * 30, || shop::deployments(m) == shop::active(&generation, 1..=2));

    // A rollout replaces it, and a removal leaves nothing of it.
    crash_too_often(m, &unit, Duration::ZERO);
    m.run("conductor service restart shop");
    let generation = shop::generation(m);
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=2));
    assert_eq!(m.failed_units(), Vec::<String>::new());
    crash_too_often(m, &format!("shop-{generation}@1.service"), Duration::ZERO);
    m.run("conductor service rm shop");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// Kills a deployment, each time once it has served for a while, until systemd does not start it any more.
fn crash_too_often(m: &Machine, unit: &str, served: Duration) {
    m.until("it has failed", SECOND * 120, || {
        let state = m.prop(unit, "ActiveState");
        if state == "active" {
            sleep(served);
            let pid = m.prop(unit, "MainPID");
            m.run(&format!("systemctl kill --signal=KILL --kill-whom=main {unit}"));
            m.until("it is gone", SECOND * 10, || m.prop(unit, "MainPID") != pid);
        }
        state == "failed"
    });
}

fn conductor_daemon_reload_does_what_is_due(m: &mut Machine) {
    m.copy_app("/usr/local/bin/app");
    for name in ["edited", "gone", "halted", "broken", "same"] {
        write_declaration(m, name, "1", "");
    }
    let all = m.run("conductor daemon-reload");
    assert_eq!(all.lines().filter(|line| line.ends_with("serves with 1 of 1 deployments")).count(), 5, "{all}");

    m.run("systemctl stop halted");
    write_declaration(m, "fresh", "1", "");
    write_declaration(m, "edited", "2", "");
    write_declaration(m, "broken", "2", "[deploy]\nmax_surg = 2\n");
    let serving = |m: &Machine, names: [&str; 2]| names.map(|name| get(m, name));
    let before = serving(m, ["same", "broken"]);
    let request = m.spawn("curl --silent --fail 'http://gone.localhost/slow?ms=1500'");
    m.until("the request is on its way", SECOND, || m.try_run("ss -x state established | grep -q /gone-").success());
    m.run("rm -r /etc/conductor/services/gone");
    let output = m.try_run("conductor daemon-reload");
    assert_eq!(output.status, 3, "{output}");
    assert!(output.stderr.contains("/etc/conductor/services/broken/service.toml:"), "{output}");
    assert!(output.stderr.contains("did you mean `max_surge`?"), "{output}");
    assert!(output.stdout.contains("gone: stopped: no longer declared"), "{output}");
    assert!(request.finish().starts_with("1 "), "a request in flight is answered");
    assert_eq!(serving(m, ["same", "broken"]), before, "nothing touched them");
    assert!(get(m, "fresh").starts_with("1 ") && get(m, "edited").starts_with("2 "));
    assert_eq!(
        m.run("systemctl is-active fresh edited same broken; systemctl is-active gone halted || true"),
        "active\nactive\nactive\nactive\ninactive\ninactive\n"
    );
    assert_eq!(m.run("grep -c gone /run/conductor/proxy/caddy/sites.caddy || true").trim(), "0");

    write_declaration(m, "broken", "1", "");
    let before = processes(m);
    let again = m.try_run("conductor daemon-reload");
    assert_eq!((again.status, again.stdout.as_str()), (0, "every service is as declared\n"), "{again}");
    assert_eq!(processes(m), before);
    assert_eq!(m.prop("halted.service", "ActiveState"), "inactive", "who stopped it starts it");

    m.run("rm -r /etc/conductor/services/halted; conductor daemon-reload");
    let left = m.run("find /run /var/lib/conductor -name '*gone*' -o -name '*halted*'");
    assert_eq!(left, "", "what is not declared any more leaves nothing");
    write_declaration(m, "halted", "2", "");
    m.run("conductor daemon-reload");
    assert!(get(m, "halted").starts_with("2 "), "who declares it anew did not stop it");
}

fn boot_starts_what_is_wanted(m: &mut Machine) {
    m.copy_app("/usr/local/bin/app");
    write_declaration(m, "wanted", "1", "");
    write_declaration(m, "unwanted", "1", "[install]\nwanted_by = []\n");
    m.run("conductor daemon-reload");
    assert_eq!(m.prop("unwanted.service", "ActiveState"), "inactive");
    m.run("systemctl start unwanted");
    assert!(get(m, "wanted").starts_with("1 ") && get(m, "unwanted").starts_with("1 "));
    m.reboot();
    assert_eq!(m.failed_units(), Vec::<String>::new());
    assert!(get(m, "wanted").starts_with("1 "));
    assert_eq!(m.prop("unwanted.service", "ActiveState"), "inactive");
    assert_eq!(m.run("pgrep --exact app | wc -l").trim(), "1");
    assert_eq!(m.run("pgrep --exact 'conductor.*' || true"), "", "no conductor process exists");
    m.note(m.run("systemd-analyze time | head -n 1").trim());
}

fn removal_leaves_nothing(m: &mut Machine) {
    let before = m.run("find /etc/conductor /run/conductor /var/lib/conductor | sort");
    Shop::new(2).declare(m, "1");
    Shop::new(2).declare(m, "2");
    m.write("/etc/conductor/services/shop.d/50-scale.toml", "concurrency = 3\n");
    m.run("conductor daemon-reload");
    assert!(shop::get(m).starts_with("2 "));
    assert_eq!(m.run("conductor service rm shop"), "shop: removed\n");
    let after = m.run("find /etc/conductor /run/conductor /var/lib/conductor | sort");
    // What conductor keeps for all services stays; nothing has the name of this one.
    assert_eq!(m.run("find /etc/conductor /run /var/lib/conductor -name '*shop*'"), "");
    let of_all = ["failures", "locks", "permits", "records", "stopped"].map(|name| format!("/run/conductor/{name}"));
    let is_new = |path: &&str| !before.lines().any(|there| there == *path);
    let of_kinds = ["/run/conductor/locks/", "/run/conductor/permits/"];
    let is_of_all =
        |path: &str| of_all.iter().any(|one| one == path) || of_kinds.iter().any(|dir| path.starts_with(dir));
    let new: Vec<_> = after.lines().filter(is_new).filter(|path| !is_of_all(path)).collect();
    assert_eq!(new, [""; 0]);
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend '*shop*'; systemctl --failed --no-legend"), "");
    assert_eq!(m.run("grep shop /run/conductor/proxy/caddy/sites.caddy || true"), "");
    assert_eq!(m.run("curl --silent http://localhost:2019/config/ | grep shop || true"), "");
    assert!(!m.run(&format!("curl --silent http://{}/ | head -c 80", shop::HOST)).starts_with("2 "));
    let again = m.try_run("conductor service rm shop");
    assert_eq!(again.status, 1, "{again}");
}

fn declarations_and_reloads_at_once(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let load = m.load(shop::load());
    for round in 0..3 {
        let (one, two) = (10 + round, 20 + round);
        let reloads = [m.spawn("conductor service reload shop"), m.spawn("systemctl reload shop")];
        let first = m.spawn(&shop::command(&one.to_string()));
        let daemon_reload = m.spawn("conductor daemon-reload");
        sleep(Duration::from_millis(100));
        let last = m.spawn(&shop::command(&two.to_string()));
        for command in reloads.into_iter().chain([first, daemon_reload, last]) {
            command.finish();
        }
        let generation = shop::generation(m);
        assert_eq!(shop::deployments(m), shop::active(&generation, 1..=2));
        let stored = m.read(&toml("shop"));
        let won = if stored.contains(&format!("\"{two}\"")) { two } else { one };
        assert!(shop::get(m).starts_with(&won.to_string()), "what is declared serves: {stored}");
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(seen);
}

fn stop_in_the_middle_of_a_rollout(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let slow = shop.flags("--start-delay 2s");
    slow.write(m);
    let declare = m.spawn(&shop::command("2"));
    m.until("the new generation starts", 10 * SECOND, || m.run("pgrep --exact app | wc -l").trim() == "3");
    let (_, took) = timed(|| m.run("systemctl stop shop"));
    assert!(took < 5 * SECOND, "stopped in {took:?}");
    let declare = declare.wait();
    assert_eq!(declare.status, 1, "{declare}");
    // systemd calls a service failed whose reload it had to kill.
    let is_off = || ["inactive", "failed"].contains(&m.prop("shop.service", "ActiveState").as_str());
    assert!(is_off(), "who stopped it starts it: {declare}");
    assert_eq!(shop::deployments(m), Vec::<String>::new());
    assert_eq!(
        m.run("find /run/conductor -path '*shop/*'; find /run/systemd/system -name 'shop*'; pgrep --exact app || true"),
        ""
    );
    m.run("conductor daemon-reload");
    assert!(is_off(), "who stopped it starts it");
    m.run("systemctl start shop");
    assert!(shop::get(m).starts_with("1 "), "the declaration that failed is taken back");
}

fn resources_and_routes_roll_nothing(m: &mut Machine) {
    Shop::new(2).extra("[resources]\nmemory_max = \"1G\"").declare(m, "1");
    let before = (shop::generation(m), processes(m));
    assert_eq!(m.prop("conductor-shop.slice", "MemoryMax"), (1u64 << 30).to_string());
    m.run(&format!("sed -i 's/memory_max = .*/memory_max = \"512M\"/' {}; systemctl daemon-reload", toml("shop")));
    assert_eq!(m.prop("conductor-shop.slice", "MemoryMax"), (512u64 << 20).to_string(), "after daemon-reload alone");
    m.run("systemctl reload shop");
    assert_eq!((shop::generation(m), processes(m)), before);

    m.run(&format!("sed -i 's/^host = .*/host = [\"store.localhost\"]/' {}; systemctl reload shop", toml("shop")));
    assert_eq!((shop::generation(m), processes(m)), before);
    assert!(get(m, "store").starts_with("1 "));
    assert_eq!(m.run("grep -c shop.localhost /run/conductor/proxy/caddy/sites.caddy || true").trim(), "0");
    let cgroup = m.run(&format!("systemctl show --property=ControlGroup --value shop-{}@1.service", before.0));
    assert!(cgroup.starts_with("/conductor.slice/conductor-shop.slice/"), "{cgroup}");
}
