//! Conductor's own commands are killed, and the machine loses its power, at each of their steps.
//!
//! A rollout of two deployments calls systemd in this order: Reload, ListUnitsByPatterns, StartUnit for @1, StopUnit
//! for @1 and its socket beside StartUnit for @2, StopUnit for @2 and its socket. Its writes come into place by
//! renameat(2), its links and directories by rename(2).

use std::thread::sleep;
use std::time::Duration;

use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use super::strike::{self, Moment::*};
use super::watch::Watch;
use crate::scenario::scenarios;

const CONVERGES: &str = "there is always a live slot, no request fails, and `conductor daemon-reload` brings the \
     service to what is declared, with nothing left over";
const LOSES_ONE: &str = "there is always a live slot, only requests in flight on the process that was stopped \
     undrained fail, and `conductor daemon-reload` brings the service to what is declared, with nothing left over";
const DECLARED: &str = "the old version serves on until `conductor daemon-reload`, which brings the service to what \
     /etc declares, with nothing left over";
const BOOTS: &str = "it boots into the declared generation, with nothing of the other";

scenarios!("interrupted":
    reload_at_once(|m| rollout(m, "service _reload", "execve", 0)):
        "`_reload` of a service is killed when it begins" => CONVERGES,
    reload_before_storing(|m| rollout(m, "service _reload", "mkdir", 1)):
        "`_reload` is killed before it stores the new generation" => CONVERGES,
    reload_while_storing(|m| rollout(m, "service _reload", "rename", 1)):
        "`_reload` is killed when it puts the new generation's files in their place" => CONVERGES,
    reload_while_taking_the_snapshot(|m| rollout(m, "service _reload", "rename", 2)):
        "`_reload` is killed when it puts the new generation's snapshot in its place" => CONVERGES,
    reload_while_installing_units(|m| rollout(m, "service _reload", "renameat", 1)):
        "`_reload` is killed before it installs the units of the new generation" => CONVERGES,
    reload_while_aiming(|m| rollout(m, "service _reload", "renameat", 3)):
        "`_reload` is killed before it writes the service's target" => CONVERGES,
    reload_before_daemon_reload(|m| reload(m, "Reload", 1, Before)):
        "`_reload` is killed before its daemon-reload" => CONVERGES,
    reload_during_daemon_reload(|m| reload(m, "Reload", 1, During)):
        "`_reload` is killed during its daemon-reload" => CONVERGES,
    reload_before_listing(|m| reload(m, "ListUnitsByPatterns", 1, Before)):
        "`_reload` is killed before it asks what runs" => CONVERGES,
    reload_before_the_first_start(|m| reload(m, "StartUnit", 1, Before)):
        "`_reload` is killed before it starts the first new deployment" => CONVERGES,
    reload_during_the_first_start(|m| reload(m, "StartUnit", 1, During)):
        "`_reload` is killed while the first new deployment starts" => CONVERGES,
    reload_before_the_first_stop(|m| reload(m, "StopUnit", 1, Before)):
        "`_reload` is killed before it stops the first old deployment" => CONVERGES,
    reload_during_the_first_stop(|m| reload(m, "StopUnit", 1, During)):
        "`_reload` is killed while the first old deployment stops" => CONVERGES,
    reload_between_the_first_stops(|m| reload(m, "StopUnit", 2, Before)):
        "`_reload` is killed when it has asked for the first old deployment to stop, and not for its socket" => CONVERGES,
    reload_before_the_second_start(|m| reload(m, "StartUnit", 2, Before)):
        "`_reload` is killed before it starts the second new deployment" => CONVERGES,
    reload_during_the_second_start(|m| reload(m, "StartUnit", 2, During)):
        "`_reload` is killed while the second new deployment starts" => CONVERGES,
    reload_before_the_last_stop(|m| reload(m, "StopUnit", 3, Before)):
        "`_reload` is killed before it stops the last old deployment" => CONVERGES,
    reload_during_the_last_stop(|m| reload(m, "StopUnit", 3, During)):
        "`_reload` is killed while the last old deployment stops" => CONVERGES,

    start_at_once(|m| rollout(m, "deployment _start", "execve", 0)):
        "`_start` of a deployment is killed when it begins" => CONVERGES,
    start_before_recording(|m| rollout(m, "deployment _start", "renameat", 1)):
        "`_start` of a deployment is killed before its runtime data is there" => CONVERGES,
    start_before_ready(|m| rollout(m, "deployment _start", "renameat", 2)):
        "`_start` of a deployment is killed when it is healthy, and not yet recorded so" => CONVERGES,
    start_before_the_slots(|m| rollout(m, "deployment _start", "rename", 1)):
        "`_start` of a deployment is killed before it takes its first slot" => CONVERGES,
    start_amid_the_slots(|m| rollout(m, "deployment _start", "rename", 3)):
        "`_start` of a deployment is killed after it took two of its six slots" => LOSES_ONE,
    stop_at_once(|m| rollout(m, "deployment _stop", "execve", 0)):
        "`_stop` of a deployment is killed when it begins" => LOSES_ONE,
    stop_before_leaving(|m| rollout(m, "deployment _stop", "renameat", 1)):
        "`_stop` of a deployment is killed before it is recorded as leaving" => LOSES_ONE,
    stop_while_draining(|m| rollout(m, "deployment _stop", "sendto", 1)):
        "`_stop` of a deployment is killed before it counts the requests in flight" => LOSES_ONE,
    cleanup_at_once(|m| rollout(m, "deployment _cleanup", "execve", 0)):
        "`_cleanup` of a deployment is killed when it begins" => CONVERGES,
    cleanup_while_removing(|m| rollout(m, "deployment _cleanup", "unlinkat", 1)):
        "`_cleanup` of a deployment is killed while it removes the deployment's directory" => CONVERGES,

    service_start_half_way: "`_start` of a service is killed when the first of two deployments runs"
        => "systemd starts it again after 5 s, with nothing left of the first attempt",
    service_start_uncleaned: "`_start` of a service is killed, and no hook cleans up"
        => "systemd starts it again after 5 s, and Caddy has its routes then",
    service_stop_at_once(|m| service_stop(m, "service _stop")): "`_stop` of a service is killed when it begins"
        => "`_cleanup` stops all deployments, each through its own ExecStop=, and nothing is left",
    service_cleanup_at_once(|m| service_stop(m, "service _cleanup")): "`_cleanup` of a service is killed when it begins"
        => "every deployment has stopped through its own ExecStop=; the next start begins anew",
    declare_while_storing(|m| declare(m, None)): "`service declare` is killed when it stores the declaration"
        => DECLARED,
    declare_before_daemon_reload(|m| declare(m, Some("Reload"))):
        "`service declare` is killed before its daemon-reload" => DECLARED,
    declare_before_rolling(|m| declare(m, Some("ReloadUnit"))): "`service declare` is killed before it asks for the reload"
        => DECLARED,
    publication: "the publication of routes is killed before it swaps the proxy's configuration"
        => "Caddy serves by the old routes, and `conductor daemon-reload` publishes the new ones",

    power_cut_before_the_first_is_up(|m| power_cut(m, 2)): "the power is cut when the first new deployment starts"
        => BOOTS,
    power_cut_half_way(|m| power_cut(m, 3)): "the power is cut when half of the deployments are new" => BOOTS,
    power_cut_while_declaring: "the power is cut while a declaration is stored"
        => "it boots into the old or the new declaration, whichever /etc has, and nothing half written stays",
);

const CLIENTS: usize = 8;

fn load() -> Load {
    Load { clients: CLIENTS, pause_ms: 5, ..shop::load() }
}

fn reload(m: &Machine, verb: &str, nth: u32, moment: strike::Moment) {
    Shop::new(2).declare(m, "1");
    strike::at_call(m, "service _reload", verb, nth, moment);
    assert_eq!(roll(m).failed, 0);
}

fn rollout(m: &Machine, hook: &str, calls: &str, nth: u32) {
    Shop::new(2).declare(m, "1");
    strike::at_syscall(m, hook, calls, nth);
    let seen = roll(m);
    // One that had slots, and whose hook did not come to count what is in flight, is stopped by systemd undrained.
    let undrained = hook.ends_with("_stop") || (hook, calls, nth) == ("deployment _start", "rename", 3);
    let lost = if undrained { CLIENTS as u64 } else { 0 };
    assert!(seen.failed <= lost, "{seen}");
    assert!(seen.kinds.keys().all(|kind| ["closed", "status 502"].contains(&kind.as_str())), "{seen}");
}

/// Rolls onto version 2, with something that strikes on the way, and then brings it to an end.
fn roll(m: &Machine) -> Seen {
    shop::edit(m, "2");
    let (watch, load) = (Watch::begin(m), m.load(load()));
    let reload = m.try_run("systemctl reload shop");
    sleep(Duration::from_millis(200)); // what the killed one had asked for goes on
    assert!(strike::over(m), "nothing was struck: {reload}");
    let output = m.try_run("conductor daemon-reload");
    assert!(output.success(), "{output}");
    let (seen, looks) = (load.stop(), watch.end());
    shop::assert_serves(m, "2", 2);
    m.note(format!("reload exited {}, {} looks, {seen}", reload.status, looks.count));
    seen
}

fn service_start_half_way(m: &mut Machine) {
    start_again(m);
}

fn service_start_uncleaned(m: &mut Machine) {
    m.write("/etc/systemd/system/shop.service.d/uncleaned.conf", "[Service]\nExecStopPost=\n");
    start_again(m);
}

fn start_again(m: &Machine) {
    let shop = Shop::new(2).flags("--start-delay 300ms");
    shop.write(m);
    m.run(&format!("{} --no-start", shop::command("1")));
    strike::at_call(m, "service _start", "StartUnit", 1, During);
    m.try_run("systemctl start shop");
    m.until("it is started again", Duration::from_secs(15), || m.prop("shop.service", "ActiveState") == "active");
    assert!(strike::over(m));
    shop::assert_serves(m, "1", 2);
}

fn service_stop(m: &Machine, hook: &str) {
    let log = "[hooks]\npre_stop = [\"/bin/sh\", \"-c\", \"echo stopped\"]\n";
    Shop::new(2).extra(log).declare(m, "1");
    let request = m.spawn(&format!("curl --silent --fail 'http://{}/slow?ms=1000'", shop::HOST));
    m.until("the request is on its way", Duration::from_secs(2), || {
        m.try_run("ss -x state established | grep -q /shop-").success()
    });
    strike::at_syscall(m, hook, "execve", 0);
    m.try_run("systemctl stop shop");
    assert!(request.finish().starts_with("1 "), "a request in flight is answered");
    assert!(strike::over(m));
    assert_eq!(shop::deployments(m), Vec::<String>::new());
    m.run("journalctl --sync");
    let stops = m.run("journalctl --output=cat CONDUCTOR_SERVICE=shop --grep='^stopped$' | wc -l");
    assert_eq!(stops.trim(), "2", "each through its own ExecStop=");
    assert_eq!(m.run("ls /run/conductor/deployments; pgrep --exact app || true"), "");
    m.run("systemctl reset-failed shop; systemctl start shop");
    shop::assert_serves(m, "1", 2);
}

fn declare(m: &Machine, before: Option<&str>) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    shop.write(m);
    let command = match before {
        Some(method) => {
            strike::at_call(m, "service declare", method, 1, Before);
            strike::exposed(&shop::command("2"))
        }
        None => {
            strike::at_syscall(m, "service declare", "rename", 1);
            shop::command("2")
        }
    };
    let (watch, load) = (Watch::begin(m), m.load(load()));
    let declare = m.try_run(&command);
    assert!(strike::over(m), "{declare}");
    assert!(!declare.success(), "{declare}");
    assert!(shop::get(m).starts_with("1 "));
    m.run("conductor daemon-reload");
    let version = if before.is_some() { "2" } else { "1" };
    assert!(m.read(&format!("{}/service.toml", shop::DECLARED)).contains(&format!("\"{version}\"")));
    let seen = load.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    // What the killed one had begun to store goes with the next declaration.
    shop.declare(m, version);
    shop::assert_serves(m, version, 2);
}

fn publication(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let published = "/run/conductor/proxy/caddy/sites.caddy";
    let before = m.read(published);
    strike::at_syscall(m, "proxy _publish", "renameat", 1);
    // Else it may neither trace nor leave a mark.
    m.write(
        "/run/systemd/system/conductor-proxy.service.d/strace.conf",
        "[Service]\nCapabilityBoundingSet=CAP_SYS_PTRACE\nSystemCallFilter=@debug\nProtectSystem=no\n",
    );
    m.run(&format!("sed -i 's/^host = .*/host = [\"store.localhost\"]/' {}/service.toml", shop::DECLARED));
    let reload = m.try_run("conductor service reload shop");
    assert!(!reload.success(), "{reload}");
    assert_eq!(m.read(published), before);
    assert!(shop::get(m).starts_with("1 "));
    m.run("rm -r /run/systemd/system/conductor-proxy.service.d");
    assert!(strike::over(m));
    m.run("conductor daemon-reload");
    assert!(m.run("curl --silent --fail http://store.localhost/").starts_with("1 "));
    assert_eq!(m.failed_units(), Vec::<String>::new());
    assert_eq!(shop::half_written(m), "");
}

/// Cuts the power of a rollout of two deployments when that many processes run.
fn power_cut(m: &mut Machine, processes: u32) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let old = shop::generation(m);
    shop.flags("--start-delay 700ms --stop-delay 700ms").write(m);
    let declare = m.spawn(&shop::command("2"));
    m.until("the rollout is half way", Duration::from_secs(10), || {
        let new = shop::deployments(m).iter().filter(|unit| !unit.contains(&old)).count() as u32;
        new + 1 == processes
    });
    m.kill_power();
    declare.wait();
    m.power_on();
    m.until("it serves", Duration::from_secs(10), || m.prop("shop.service", "ActiveState") == "active");
    m.run("conductor daemon-reload");
    shop::assert_serves(m, "2", 2);
}

fn power_cut_while_declaring(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    shop.write(m);
    // Each of its renames, one after the other, takes so long that the cut comes in between.
    let slow = "strace -f -qq -o /dev/null --inject=renameat2:delay_enter=400000";
    for wait in [200, 600] {
        let declare = m.spawn(&format!("{slow} {}", shop::command("2")));
        sleep(Duration::from_millis(wait));
        m.kill_power();
        declare.wait();
        m.power_on();
        let declared = m.read(&format!("{}/service.toml", shop::DECLARED));
        let version = if declared.contains("\"2\"") { "2" } else { "1" };
        m.note(format!("version {version} after {wait} ms"));
        assert!(shop::get(m).starts_with(version));
    }
    m.run("conductor daemon-reload");
    shop.declare(m, "3");
    shop::assert_serves(m, "3", 2);
}
