//! Versions that do not start, processes that are killed, declarations and generators that are broken: what
//! served before goes on serving.

use std::thread::sleep;
use std::time::{Duration, Instant};

use conductor_machine::command::Output;
use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::Machine;

use super::shop::{self, DECLARED, Shop};
use crate::scenario::scenarios;

const OLD_SERVES: &str = "the old version serves on, no request fails, nothing of the new one is left, and a reboot \
     starts the old one";
const COMES_BACK: &str = "only requests in flight on the killed process fail, and it is back with its socket and slots";
const UNITS_STAY: &str =
    "deployments that are killed are restarted by their own units; once it is repaired all is as ever";

scenarios!("faults":
    never_healthy: "a new version answers its health check with 500" => OLD_SERVES,
    exits_at_once: "a new version exits when it starts" => OLD_SERVES,
    first_declaration_fails: "the first version of a service does not start"
        => "the error quotes its last log lines, and nothing is left over",
    edit_that_fails: "a stored declaration is edited into one that does not become healthy"
        => "the reload fails and says why, the old version serves on, no request fails",
    kills_in_turn: "the processes of three deployments are killed in turn" => COMES_BACK,
    ten_kills_of_an_only_deployment: "the only process is killed ten times" => COMES_BACK,
    ten_kills_of_one_of_three: "one process of three is killed ten times" => COMES_BACK,
    crash_loop_backs_off: "a process dies again and again soon after it was healthy"
        => "it is restarted for ever, from systemd 254 on ever later",
    late_restart_takes_nothing_back: "old processes are killed while their successors start"
        => "no slot goes back to an old deployment, and only requests in flight on the killed fail",
    syntax_error_in_the_declaration: "a declaration is edited into one that does not parse"
        => "what runs keeps its units and restarts, also over a daemon-reload, and the reload says where the error is",
    generator_dies_half_way: "the generator is killed half way" => UNITS_STAY,
    generator_is_broken: "the generator writes nothing" => UNITS_STAY,
);

/// Every application under test kills its callers' requests with itself; all else it must answer.
const IN_FLIGHT: [&str; 2] = ["closed", "status 502"];

fn never_healthy(m: &mut Machine) {
    let output = update_that_fails(m, "--unhealthy");
    for words in ["is not healthy", "/healthz", "500", "the last log lines", "| app 2: out of order"] {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
}

fn exits_at_once(m: &mut Machine) {
    let output = update_that_fails(m, "--exit-at-start 3");
    for words in ["is not healthy", "the last log lines", "| app 2: told to exit with 3"] {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
}

/// Version 2 does not come up: `declare` fails, and nothing else changes, even over a reboot.
fn update_that_fails(m: &mut Machine, flags: &str) -> Output {
    let extra = "[deploy]\nhealth_timeout = \"3s\"\n";
    Shop::new(3).extra(extra).declare(m, "1");
    let good = shop::generation(m);
    let declared = m.run(&format!("cat {DECLARED}/service.toml"));
    let units = units(m);
    let load = m.load(shop::load());
    let output = Shop::new(3).extra(extra).flags(flags).try_declare(m, "2");
    assert_eq!(output.status, 1, "{output}");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(seen.versions.keys().collect::<Vec<_>>(), ["1"]);
    m.note(&seen);

    assert_eq!(m.run(&format!("cat {DECLARED}/service.toml")), declared, "the previous declaration is restored");
    assert_nothing_but(m, &good, &units);
    m.reboot();
    assert_eq!(shop::generation(m), good);
    assert_eq!(shop::deployments(m), shop::active(&good, 1..=3));
    assert!(shop::get(m).starts_with("1 "));
    output
}

/// All units of the shop that systemd has in memory.
fn units(m: &Machine) -> String {
    m.run("systemctl list-units --all --plain --no-legend --full '*shop*'")
}

fn assert_nothing_but(m: &Machine, good: &str, units_before: &str) {
    assert_eq!(units(m), units_before);
    assert_eq!(m.failed_units(), Vec::<String>::new());
    let list = m.run(
        "cd /run/conductor; ls deployments; ls sockets; ls --ignore=target.json generations/shop; cat sockets/* 2>/dev/null || true
        find slots/shop -type l -printf '%l\n'; ls /run/systemd/generator /run/systemd/system | grep -- '-[0-9a-f]*@'",
    );
    assert!(list.lines().count() >= 3 + 1 + 1 + 12 + 2 + 2, "{list}");
    assert!(list.lines().all(|line| line.contains(good)), "not only {good}: {list}");
}

fn first_declaration_fails(m: &mut Machine) {
    let extra = "[deploy]\nhealth_timeout = \"1s\"\n";
    let state = || {
        m.run("find /etc/conductor /run/conductor /var/lib/conductor /run/systemd/generator /run/systemd/system | grep shop || true")
    };
    for flags in ["--unhealthy", "--exit-at-start 3"] {
        let output = Shop::new(3).extra(extra).flags(flags).try_declare(m, "1");
        assert_eq!(output.status, 1, "{output}");
        assert!(output.stderr.contains("the last log lines"), "{output}");
        m.until("no unit is left", Duration::from_secs(5), || units(m).is_empty());
        assert_eq!(m.failed_units(), Vec::<String>::new());
        assert_eq!(state(), "", "{flags}");
        assert_eq!(m.run("pgrep --list-full app || true"), "");
    }
    Shop::new(3).declare(m, "2");
    assert!(shop::get(m).starts_with("2 "));
}

/// An edit of the stored declaration is its author's: the reload fails, says why, and leaves the edit alone.
fn edit_that_fails(m: &mut Machine) {
    Shop::new(3).extra("[deploy]\nhealth_timeout = \"1s\"\n").declare(m, "1");
    let good = shop::generation(m);
    let load = m.load(shop::load());
    m.run(&format!(r#"sed -i 's|"./app"|"./app", "--unhealthy"|' {DECLARED}/service.toml"#));
    let plain = m.try_run("systemctl reload shop");
    assert_eq!(plain.status, 1, "{plain}");
    let told = m.try_run("conductor service reload shop");
    assert_eq!(told.status, 1, "{told}");
    for words in ["is not healthy", "500", "| app 1: out of order"] {
        assert!(told.stderr.contains(words), "{words}: {told}");
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert!(m.run("conductor service status shop").contains("is not healthy"));
    assert_eq!(m.prop("shop.service", "ActiveState"), "active");
    assert_eq!(shop::deployments(m), shop::active(&good, 1..=3));
    m.note(seen);
}

/// kill -9 of a deployment's main process.
fn kill(m: &Machine, unit: &str) {
    m.run(&format!("kill -KILL $(systemctl show --property=MainPID --value '{unit}')"));
}

/// kill -9, and back: the unit is active with another process.
fn kill_and_wait(m: &Machine, unit: &str) -> Duration {
    let start = Instant::now();
    let invocation = m.prop(unit, "InvocationID");
    kill(m, unit);
    m.until("a deployment that was killed is back", Duration::from_secs(20), || {
        m.prop(unit, "ActiveState") == "active" && m.prop(unit, "InvocationID") != invocation
    });
    start.elapsed()
}

fn unit(m: &Machine, instance: u32) -> String {
    format!("shop-{}@{instance}.service", shop::generation(m))
}

/// Only what was in flight on the killed process may fail: at most one request a client and kill.
#[track_caller]
fn assert_only_in_flight(seen: &Seen, kills: u64, clients: u64) {
    assert!(seen.failed <= kills * clients, "{kills} kills: {seen}");
    assert!(seen.kinds.keys().all(|kind| IN_FLIGHT.contains(&kind.as_str())), "{seen}");
}

fn kills_in_turn(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let generation = shop::generation(m);
    let load = m.load(shop::load());
    let longest = (0..9).map(|kill| kill_and_wait(m, &unit(m, kill % 3 + 1))).max().unwrap_or_default();
    let seen = load.stop();
    assert_only_in_flight(&seen, 9, 16);
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    let holders: Vec<_> = (0..12).map(|slot| format!("{generation}/{}", slot % 3 + 1)).collect();
    assert_eq!(shop::slots(m), holders, "each has its own slots back");
    m.note(format!("9 kills, back within {longest:.1?}, {seen}"));
}

fn ten_kills_of_an_only_deployment(m: &mut Machine) {
    ten_kills(m, 1);
}

fn ten_kills_of_one_of_three(m: &mut Machine) {
    ten_kills(m, 3);
}

fn ten_kills(m: &Machine, concurrency: u32) {
    Shop::new(concurrency).declare(m, "1");
    let unit = unit(m, 1);
    let socket = || m.run("stat --format='%n %i' /run/conductor/sockets/*/1");
    let before = socket();
    let load = m.load(shop::load());
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        longest = longest.max(kill_and_wait(m, &unit));
        assert_eq!(socket(), before);
        sleep(Duration::from_millis(1100)); // one that served for a second starts over at once
    }
    let seen = load.stop();
    assert_only_in_flight(&seen, 10, 16);
    assert_eq!(m.prop(&unit.replace(".service", ".socket"), "ActiveState"), "active");
    m.note(format!("10 kills, back within {longest:.1?}, {seen}"));
}

/// Healthy for a moment and then dead, again and again: each restart waits longer, where systemd can do that.
fn crash_loop_backs_off(m: &mut Machine) {
    Shop::new(1).flags("--exit-after 200ms").declare(m, "1");
    let unit = unit(m, 1);
    sleep(Duration::from_secs(6));
    let restarts: u32 = m.prop(&unit, "NRestarts").parse().expect("a number");
    let version: u32 =
        m.run("systemctl --version | sed -n 's/^systemd \\([0-9]*\\).*/\\1/p'").trim().parse().expect("a version");
    let at_most = if version >= 254 { 7 } else { 60 };
    assert!((3..=at_most).contains(&restarts), "{restarts} restarts with systemd {version}");
    m.note(format!("{restarts} restarts in 6 s"));
}

/// Old deployments are killed while their successors start, and come up after them.
fn late_restart_takes_nothing_back(m: &mut Machine) {
    // The old ones must still run when they are killed, on a slow machine, too.
    let shop = Shop::new(3).flags("--start-delay 3s").extra("[deploy]\nmax_surge = 3\n");
    shop.declare(m, "1");
    let old = shop::generation(m);
    shop.write(m);
    let begun = Instant::now();
    let load = m.load(Load { pause_ms: 5, ..shop::load() });
    let looks = m.spawn(
        "cd /run/conductor/slots/shop
        until test -e /run/declared; do echo $(readlink 1 2 3 4 5 6 7 8 9 10 11 12); sleep 0.005; done >/root/looks",
    );
    let declare = m.spawn(&format!("{}; touch /run/declared", shop::command("2")));
    m.until("the new deployments start", Duration::from_secs(5), || {
        shop::deployments(m).iter().filter(|unit| unit.contains("activating")).count() == 3
    });
    sleep(Duration::from_millis(300));
    for instance in [1, 2] {
        kill(m, &format!("shop-{old}@{instance}.service"));
    }
    let killed = begun.elapsed();
    declare.finish();
    looks.finish();
    let new = shop::generation(m);
    let looks = m.read("/root/looks");
    let mut moved = [false; 12];
    for look in looks.lines() {
        assert_eq!(look.split(' ').count(), 12, "a slot is missing: {look}");
        for (slot, holder) in look.split(' ').enumerate() {
            let is_new = holder.contains(&new);
            assert!(is_new || !moved[slot], "slot {} went back: {look}", slot + 1);
            moved[slot] |= is_new;
        }
    }
    sleep(Duration::from_secs(1)); // a killed one that was still there would be up by now
    assert_eq!(shop::deployments(m), shop::active(&new, 1..=3));
    assert!(shop::slots(m).iter().all(|holder| holder.starts_with(&new)), "{:?}", shop::slots(m));
    assert_eq!(shop::traces(m, &old), "");
    let seen = load.stop();
    assert_only_in_flight(&seen, 2, 16);
    // Whoever came afterwards and waited in the socket of one that was down was served before it was stopped.
    assert!(u128::from(seen.last_failure_ms) < killed.as_millis() + 100, "killed at {killed:?}: {seen}");
    m.note(format!("{} looks at the slots, {seen}", looks.lines().count()));
}

fn syntax_error_in_the_declaration(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let generation = shop::generation(m);
    let load = m.load(shop::load());
    m.run(&format!("cp {DECLARED}/service.toml /root/good; echo 'concurrency = = 3' >>{DECLARED}/service.toml"));
    m.run("systemctl daemon-reload");
    let longest = (1..=3).map(|instance| kill_and_wait(m, &unit(m, instance))).max().unwrap_or_default();
    let reload = m.try_run("conductor service reload shop");
    assert_eq!(reload.status, 1, "a reload says what is wrong: {reload}");
    assert!(reload.stderr.contains("service.toml"), "{reload}");
    let seen = load.stop();
    assert_only_in_flight(&seen, 3, 16);
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    m.run(&format!("cp /root/good {DECLARED}/service.toml"));
    m.reboot();
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    assert!(shop::get(m).starts_with("1 "));
    m.note(format!("3 kills, back within {longest:.1?}, {seen}"));
}

const GENERATOR: &str = "/usr/lib/systemd/system-generators/conductor-generator";

/// The real generator is killed when it comes to read the declaration.
fn generator_dies_half_way(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let generation = shop::generation(m);
    let load = m.load(shop::load());
    let kill = "--inject=all:signal=KILL --trace-path=/etc/conductor/services/shop/service.toml";
    replace_generator(
        m,
        &format!("#!/bin/sh\nexec strace --quiet=all --output=/dev/null {kill} /root/generator \"$@\"\n"),
    );
    m.run("systemctl daemon-reload; journalctl --sync");
    m.run("journalctl --grep='conductor-generator terminated by signal KILL'");
    let longest = (1..=3).map(|instance| kill_and_wait(m, &unit(m, instance))).max().unwrap_or_default();
    let seen = load.stop();
    assert_only_in_flight(&seen, 3, 16);
    repair_generator(m);
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    m.note(format!("3 kills, back within {longest:.1?}, {seen}"));
    goes_on(m);
}

/// It writes nothing at all. What runs goes on, is restarted when it dies, and keeps its socket; the service's
/// own unit is gone until the generator is repaired.
fn generator_is_broken(m: &mut Machine) {
    let shop = Shop::new(3);
    shop.declare(m, "1");
    let load = m.load(shop::load());
    replace_generator(m, "#!/bin/sh\nexit 1\n");
    m.run("systemctl daemon-reload");
    assert_eq!(m.prop("shop.service", "LoadState"), "not-found");
    let longest = (1..=3).map(|instance| kill_and_wait(m, &unit(m, instance))).max().unwrap_or_default();
    repair_generator(m);
    shop.declare(m, "2");
    let seen = load.stop();
    assert_only_in_flight(&seen, 3, 16);
    assert_eq!(shop::deployments(m), shop::active(&shop::generation(m), 1..=3));
    m.note(format!("3 kills, back within {longest:.1?}, {seen}"));
    goes_on(m);
}

fn replace_generator(m: &Machine, script: &str) {
    m.run(&format!("mv {GENERATOR} /root/generator"));
    m.write_executable(GENERATOR, script);
}

fn repair_generator(m: &Machine) {
    m.run(&format!("mv /root/generator {GENERATOR}; systemctl daemon-reload"));
}

/// The next version and a reboot work as ever.
fn goes_on(m: &mut Machine) {
    Shop::new(3).declare(m, "3");
    assert!(shop::get(m).starts_with("3 "));
    m.reboot();
    assert!(shop::get(m).starts_with("3 "));
}
