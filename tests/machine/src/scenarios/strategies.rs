//! In which order new deployments start and old ones stop.

use std::time::{Duration, Instant};

use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("strategies":
    blue_green_moves_all_at_once,
    blue_green_that_fails,
    blue_green_interrupted,
    recreate_runs_one_generation,
    recreate_that_fails,
    recreate_interrupted,
);

const BLUE_GREEN: &str = "[deploy]\nstrategy = \"blue-green\"\nhealth_timeout = \"20s\"\n";
const RECREATE: &str = "[deploy]\nstrategy = \"recreate\"\nhealth_timeout = \"3s\"\n";
/// The third deployment is ready when somebody says so.
const THIRD_WAITS: &str = r#"[hooks]
post_start = ["/bin/sh", "-c", "test $$CONDUCTOR_INSTANCE != 3 || while test ! -e /run/go; do sleep 0.05; done"]
"#;
const LIMIT: Duration = Duration::from_secs(10);

fn blue_green_moves_all_at_once(m: &mut Machine) {
    let shop = Shop::new(3).flags("--start-delay 1s").extra(BLUE_GREEN);
    shop.declare(m, "1");
    let old = shop::generation(m);
    let load = m.load(shop::load());
    let start = Instant::now();
    shop.write(m);
    let update = m.spawn(&shop::command("2"));
    m.until("twice as many", LIMIT, || shop::deployments(m).len() == 6);
    assert!(shop::slots(m).iter().all(|holder| holder.starts_with(&old)));
    update.finish();
    let took = start.elapsed();
    let seen = load.stop();
    let new = shop::generation(m);
    assert_eq!(seen.failed, 0, "{seen}");
    let mixed = seen.versions["1"].last_ms.saturating_sub(seen.versions["2"].first_ms);
    // A rolling update goes on with two starts of a second each after the first of the new ones answers.
    assert!(mixed < 1000, "both answered for {mixed} ms");
    assert_eq!(shop::deployments(m), shop::active(&new, 1..=3));
    assert_eq!(shop::traces(m, &old), "");
    m.note(format!("{took:.1?}, both answered for {mixed} ms, {seen}"));
}

fn blue_green_that_fails(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let good = shop::generation(m);
    let load = m.load(shop::load());
    let strategy = BLUE_GREEN.replace("20s", "2s");
    let output = Shop::new(3).flags("--unhealthy").extra(&strategy).try_declare(m, "2");
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stderr.contains(&format!("generation {good} still serves")), "{output}");
    let seen = load.stop();
    assert_eq!((seen.failed, seen.versions.keys().map(String::as_str).collect::<Vec<_>>()), (0, vec!["1"]), "{seen}");
    assert_eq!(shop::deployments(m), shop::active(&good, 1..=3));
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(seen);
}

/// While the new ones start, an old one crashes, and then conductor is killed: callers see the old
/// generation until the next reload is through.
fn blue_green_interrupted(m: &mut Machine) {
    let shop = Shop::new(3).extra(&format!("{BLUE_GREEN}{THIRD_WAITS}"));
    m.run("touch /run/go");
    shop.declare(m, "1");
    let old = shop::generation(m);
    m.run("rm /run/go");
    shop.write(m);
    m.run(&format!("{} --no-start", shop::command("2")));
    let load = m.load(shop::load());
    let mut reload = m.spawn("systemctl reload shop");
    let ready = || m.try_run("cat /run/conductor/deployments/shop-*/runtime.json").stdout.matches("\"ready\"").count();
    m.until("all but one are ready", LIMIT, || ready() == 5);
    m.run(&format!("systemctl kill --signal=KILL shop-{old}@1.service"));
    m.until("it is up again", LIMIT, || m.prop(&format!("shop-{old}@1.service"), "NRestarts") == "1" && ready() == 5);
    assert!(shop::slots(m).iter().all(|holder| holder.starts_with(&old)), "{:?}", shop::slots(m));
    assert!(reload.is_running());
    // By hand: what systemd 257 starts in a control group after `systemctl kill` may be killed by that, too.
    m.run("kill -KILL $(cat /sys/fs/cgroup/system.slice/shop.service/cgroup.procs)");
    assert!(!reload.wait().success());
    assert_eq!(shop::generation(m), old);
    let seen = load.stop();
    assert_eq!(seen.versions.keys().collect::<Vec<_>>(), ["1"], "{seen}");
    let in_flight = |kind: &String| kind == "closed" || kind == "status 502";
    assert!(seen.failed <= 16 && seen.kinds.keys().all(in_flight), "only what was in flight on the killed one: {seen}");

    m.run("touch /run/go");
    let load = m.load(shop::load());
    m.run("conductor daemon-reload");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    let new = shop::generation(m);
    assert_ne!(new, old);
    assert_eq!(shop::deployments(m), shop::active(&new, 1..=3));
    assert_eq!(shop::traces(m, &old), "");
    m.note(seen);
}

/// Each process writes a line every 50 ms; a request in flight is answered before its process ends.
fn recreate_runs_one_generation(m: &mut Machine) {
    let shop = writer("");
    shop.declare(m, "1");
    let old = shop::generation(m);
    let request = m.spawn(&format!("curl --silent --fail 'http://{}/slow?ms=1500'", shop::HOST));
    m.until("it is on its way", LIMIT, || m.try_run("ss -x state established | grep -q /shop-").success());
    shop.write(m);
    let load = m.load(shop::load());
    let update = m.spawn(&shop::command("2"));
    m.until("callers wait", LIMIT, || m.prop("shop-queue@1.service", "ActiveState") == "active");
    let told = update.finish();
    assert!(told.contains("shop: callers waited for up to "), "{told}");
    assert!(request.finish().starts_with("1 "), "what was in flight is answered");
    let seen = load.stop();
    let new = shop::generation(m);
    assert_eq!(seen.failed, 0, "{seen}");
    let [first, second] = ["1", "2"].map(|version| &seen.versions[version]);
    assert!(first.last_ms < second.first_ms, "{seen}");
    assert_one_writer(m, &["1", "2"]);
    assert_eq!(shop::deployments(m), shop::active(&new, 1..=2));
    assert_eq!(shop::traces(m, &old), "");
    m.note(format!("gap {} ms; {} requests", second.first_ms - first.last_ms, seen.requests()));

    // Scaling replaces nothing: there is no gap.
    let load = m.load(shop::load());
    Shop { concurrency: 3, ..shop.clone() }.declare(m, "2");
    shop.declare(m, "2");
    assert_eq!(shop::generation(m), new);
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
}

fn writer(flags: &str) -> Shop {
    let flags = format!("--write lines {flags}");
    Shop::new(2).flags(flags.trim()).extra(&format!("{RECREATE}[systemd.service]\nStateDirectory = \"shop\"\n"))
}

/// The versions that wrote, one after the other.
fn assert_one_writer(m: &Machine, versions: &[&str]) {
    let lines = m.read("/var/lib/shop/lines");
    let mut wrote: Vec<_> = lines.lines().map(|line| line.split(' ').next().expect("a version")).collect();
    wrote.dedup();
    assert_eq!(wrote, versions);
}

fn recreate_that_fails(m: &mut Machine) {
    writer("").declare(m, "1");
    let good = shop::generation(m);
    let output = writer("--unhealthy").try_declare(m, "2");
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stderr.contains("is not healthy"), "{output}");
    assert!(output.stderr.contains(&format!("generation {good} serves again")), "{output}");
    assert_eq!(shop::generation(m), good);
    assert_eq!(shop::deployments(m), shop::active(&good, 1..=2));
    assert!(shop::get(m).starts_with("1 "));
    assert_eq!(shop::slots(m).len(), 12);
    assert_one_writer(m, &["1", "2", "1"]);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// conductor is killed when the old ones have stopped and the new ones are not up. The next reload
/// knows the way on, and the way back.
fn recreate_interrupted(m: &mut Machine) {
    writer("").declare(m, "1");
    let old = shop::generation(m);
    let interrupted = |flags: &str, version: &str| {
        writer(flags).write(m);
        m.run(&format!("{} --no-start", shop::command(version)));
        let reload = m.spawn("systemctl reload shop");
        m.until("the new ones start", LIMIT, || shop::deployments(m).iter().any(|unit| unit.ends_with(" activating")));
        m.run("kill -KILL $(cat /sys/fs/cgroup/system.slice/shop.service/cgroup.procs)");
        assert!(!reload.wait().success());
    };
    interrupted("--unhealthy", "2");
    let output = m.try_run("conductor daemon-reload");
    assert_eq!(output.status, 1, "{output}");
    assert!(output.stderr.contains(&format!("generation {old} serves again")), "{output}");
    assert_eq!(shop::deployments(m), shop::active(&old, 1..=2));
    assert!(shop::get(m).starts_with("1 "));

    interrupted("--start-delay 1s", "3");
    m.run("conductor daemon-reload");
    let new = shop::generation(m);
    assert_eq!(shop::deployments(m), shop::active(&new, 1..=2));
    assert!(shop::get(m).starts_with("3 "));
    assert_eq!(shop::traces(m, &old), "");
    assert_one_writer(m, &["1", "2", "1", "3"]);
}
