//! systemd and Caddy are reloaded, restarted and stopped at every step of a rollout.

use std::time::Duration;

use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use super::strike;
use super::watch::Watch;
use crate::scenario::scenarios;

const UNAFFECTED: &str = "the rollout goes on, there is always a live slot, and no request fails";
const ACCEPTED: &str = "the rollout goes on, there is always a live slot, and no request that Caddy took fails at the \
     service: callers see nothing but Caddy's own connections refused or closed";

scenarios!("manager":
    daemon_reload(|m| systemd(m, "daemon-reload")): "systemd's daemon-reload at every step of a rollout" => UNAFFECTED,
    daemon_reexec(|m| systemd(m, "daemon-reexec")): "systemd's daemon-reexec at every step of a rollout" => UNAFFECTED,
    daemon_reexec_while_it_waits: "systemd's daemon-reexec while a rollout waits for a deployment" => UNAFFECTED,
    message_bus: "dbus is killed while a rollout waits, and is not there at all for the next" => UNAFFECTED,
    caddy_reload(|m| caddy(m, "/usr/bin/systemctl reload caddy")): "Caddy's reload at every step of a rollout"
        => ACCEPTED,
    caddy_restart(|m| caddy(m, "/usr/bin/systemctl restart caddy")): "Caddy's restart at every step of a rollout"
        => ACCEPTED,
    caddy_stopped(|m| caddy(m, "if test $(wc -l </run/struck) = 3; then /usr/bin/systemctl stop caddy; sleep 5; /usr/bin/systemctl start caddy; fi")):
        "Caddy is stopped for 5 s in the middle of a rollout" => ACCEPTED,
    caddy_killed(|m| caddy(m, "/usr/bin/systemctl kill --signal=KILL caddy; /usr/bin/systemctl restart caddy")):
        "Caddy is killed at every step of a rollout" => ACCEPTED,
);

fn systemd(m: &Machine, verb: &str) {
    let seen = roll(m, &format!("/usr/bin/systemctl {verb}"));
    assert_eq!(seen.failed, 0, "{seen}");
}

fn caddy(m: &Machine, line: &str) {
    // It is restarted more often than systemd likes.
    m.write("/etc/systemd/system/caddy.service.d/often.conf", "[Unit]\nStartLimitIntervalSec=0\n");
    let seen = roll(m, line);
    let killed = line.contains("KILL");
    let expected = |kind: &String| kind == "connect" || kind == "closed" || killed && kind == "body";
    assert!(seen.kinds.keys().all(expected), "{seen}");
    let connect = seen.kinds.get("connect").copied().unwrap_or(0);
    m.note(format!("{connect} at the connect, {} closed", seen.failed - connect));
    // A connection that Caddy closes when it stops may just have been written to: one a client and step.
    assert!(seen.failed - connect <= 8 * 8, "{seen}");
}

fn roll(m: &Machine, line: &str) -> Seen {
    Shop::new(2).declare(m, "1");
    // Not without end: what is interrupted is called again.
    let line =
        format!("if test $(cat /run/struck 2>/dev/null | wc -l) -lt 7; then echo killed >>/run/struck; {line}; fi");
    strike::at_each_call(m, "service _reload", "*", &line);
    shop::edit(m, "2");
    let (watch, load) = (Watch::begin(m), m.load(Load { clients: 8, pause_ms: 5, ..shop::load() }));
    let reload = m.try_run("conductor service reload shop");
    let seen = load.stop();
    let looks = watch.end();
    assert!(reload.success(), "{reload}{}", m.try_run("conductor service status shop"));
    let steps = m.run("wc -l </run/struck").trim().to_owned();
    assert!(strike::over(m));
    shop::assert_serves(m, "2", 2);
    m.note(format!("{steps} steps, {} looks, {seen}", looks.count));
    seen
}

fn daemon_reexec_while_it_waits(m: &mut Machine) {
    let shop = Shop::new(2).flags("--start-delay 1s");
    shop.declare(m, "1");
    shop.write(m);
    let (watch, load) = (Watch::begin(m), m.load(Load { clients: 8, pause_ms: 5, ..shop::load() }));
    let mut declare = m.spawn(&shop::command("2"));
    let mut times = 0;
    while declare.is_running() {
        m.try_run("systemctl daemon-reexec");
        times += 1;
        std::thread::sleep(Duration::from_millis(300));
    }
    let output = declare.wait();
    let seen = load.stop();
    watch.end();
    assert!(output.success(), "{output}");
    assert_eq!(seen.failed, 0, "{seen}");
    shop::assert_serves(m, "2", 2);
    m.note(format!("{times} times, {seen}"));
}

fn message_bus(m: &mut Machine) {
    let shop = Shop::new(2).flags("--start-delay 700ms");
    shop.declare(m, "1");
    shop.write(m);
    let (watch, load) = (Watch::begin(m), m.load(Load { clients: 8, pause_ms: 5, ..shop::load() }));
    let declare = m.spawn(&shop::command("2"));
    m.until("a deployment starts", Duration::from_secs(5), || {
        shop::deployments(m).iter().any(|unit| unit.ends_with(" activating"))
    });
    m.run("systemctl kill --signal=KILL dbus.service");
    let output = declare.wait();
    assert!(output.success(), "{output}");
    shop::assert_serves(m, "2", 2);
    m.run("systemctl mask --quiet --runtime --now dbus.service dbus.socket; systemctl kill --signal=KILL dbus.service || true");
    assert!(!m.try_run("busctl status").success(), "there is no bus");
    shop.declare(m, "3");
    shop::assert_serves(m, "3", 2);
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    m.run("conductor service rm shop");
    m.note(seen);
}
