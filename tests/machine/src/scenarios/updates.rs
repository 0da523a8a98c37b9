//! One version of a service takes over from another, and its callers do not notice.

use std::time::{Duration, Instant};

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("updates":
    twenty_under_saturating_load,
    queued_connections_are_drained: "nearly all callers of a slow process wait in its queue during 30 rollouts"
        => "no request fails",
    queued_connections_are_drained_with_private_network: "the same during 10 rollouts, in a network namespace of its own"
        => "no request fails",
    scaling_under_load,
    state_stays_writable,
    example_hello,
    example_gunicorn,
    example_static,
    declaring_again_changes_nothing,
);

/// The application dies at once on SIGTERM: whatever is in flight on it then is lost.
fn twenty_under_saturating_load(m: &mut Machine) {
    let shop = Shop::new(3);
    shop.declare(m, "0");
    let load = m.load(Load { at_least: 100_000, ..shop::saturating_load() });
    let took = update(m, &shop, 1..=20);
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert!(seen.requests() >= 100_000, "{seen}");
    assert_eq!(seen.versions.len(), 21, "{:?}", seen.versions);
    m.note(format!("20 updates of 3 deployments in {took:.1?}, {seen}"));
}

fn queued_connections_are_drained(m: &mut Machine) {
    single_threaded(m, "", 30);
}

fn queued_connections_are_drained_with_private_network(m: &mut Machine) {
    single_threaded(m, "[systemd.service]\nPrivateNetwork = true\n", 10);
}

/// It accepts one connection at a time and rests in between, so that nearly all of its callers queue.
fn single_threaded(m: &Machine, extra: &str, updates: u32) {
    let shop = Shop::new(1).flags("--single --accept-delay 3ms").extra(extra);
    shop.declare(m, "0");
    let load = m.load(shop::saturating_load());
    let took = update(m, &shop, 1..=updates);
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(seen.versions.len() as u32, updates + 1, "{:?}", seen.versions);
    m.note(format!("{updates} updates in {took:.1?}, {seen}"));
}

/// Declares one version after another. After each, nothing of the one before is left.
fn update(m: &Machine, shop: &Shop, versions: std::ops::RangeInclusive<u32>) -> Duration {
    let start = Instant::now();
    for version in versions {
        let old = shop::generation(m);
        shop.declare(m, &version.to_string());
        let new = shop::generation(m);
        assert_ne!(old, new);
        assert_eq!(shop::deployments(m), shop::active(&new, 1..=shop.concurrency));
        let held = shop::slots(m);
        assert!(held.len() == 12 && held.iter().all(|holder| holder.starts_with(&new)), "{held:?}");
        assert_eq!(shop::traces(m, &old), "", "of the generation before {new}");
    }
    start.elapsed()
}

fn scaling_under_load(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let generation = shop::generation(m);
    let reloads = caddy_reloads(m);
    assert!(reloads > 0, "the first declaration reloads Caddy");
    let load = m.load(shop::load());
    for concurrency in [5, 2] {
        Shop::new(concurrency).declare(m, "1");
        assert_eq!(shop::generation(m), generation);
        assert_eq!(shop::deployments(m), shop::active(&generation, 1..=concurrency));
        let holders: Vec<_> = (0..12).map(|slot| format!("{generation}/{}", slot % concurrency + 1)).collect();
        assert_eq!(shop::slots(m), holders);
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(caddy_reloads(m), reloads);
    m.note(seen);
}

fn caddy_reloads(m: &Machine) -> usize {
    m.run("journalctl --sync; journalctl --unit=caddy --output=cat --grep='^Reloading caddy' || true").lines().count()
}

/// Both generations write to one file, every 50 ms, and die when they cannot.
fn state_stays_writable(m: &mut Machine) {
    let shop =
        Shop::new(2).flags("--start-delay 500ms --write lines").extra("[systemd.service]\nStateDirectory = \"shop\"\n");
    shop.declare(m, "1");
    let owner = m.run("stat --dereference --format=%u /var/lib/shop");
    shop.declare(m, "2");
    m.until("lines of version 2 alone", Duration::from_secs(5), || {
        let end = m.run("tail --lines=20 /var/lib/shop/lines");
        end.lines().all(|line| line.starts_with("2 "))
    });
    assert_eq!(m.run("stat --dereference --format=%u /var/lib/shop"), owner);
    let journal = m.run("journalctl --output=cat 'CONDUCTOR_SERVICE=shop' --grep='cannot write' || true");
    assert_eq!(journal, "");
    let lines = m.read("/var/lib/shop/lines");
    let versions: Vec<_> = lines.lines().map(|line| &line[..1]).collect();
    let first_new = versions.iter().position(|version| *version == "2").expect("a line of version 2");
    let beside = versions[first_new..].iter().filter(|version| **version == "1").count();
    assert!(beside >= 10, "version 1 wrote {beside} lines beside version 2");
    for unit in shop::deployments(m) {
        assert_eq!(m.prop(unit.trim_end_matches(" active"), "NRestarts"), "0", "{unit}");
    }
    m.note(format!("{beside} lines of the old generation beside the new one"));
}

fn example_hello(m: &mut Machine) {
    example(m, "hello", "/", true);
}

fn example_gunicorn(m: &mut Machine) {
    example(m, "gunicorn", "/", true);
}

fn example_static(m: &mut Machine) {
    example(m, "static", "/version.txt", false);
}

/// An example as it is installed, and its update under a light load.
fn example(m: &Machine, name: &str, path: &str, post: bool) {
    let declare =
        |version| format!("conductor service declare /usr/share/doc/conductor/examples/{name} VERSION={version}");
    let get = || m.run(&format!("curl --silent --show-error --fail http://{name}.localhost{path}"));
    m.run(&declare("seven"));
    assert!(get().contains("seven"), "{}", get());
    let host = format!("{name}.localhost");
    let load = m.load(Load { host, path: path.into(), post, clients: 4, pause_ms: 10, ..Load::default() });
    m.run(&declare("eight"));
    let seen = load.stop();
    assert!(get().contains("eight"), "{}", get());
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(seen);
}

fn declaring_again_changes_nothing(m: &mut Machine) {
    let shop = Shop::new(3);
    shop.declare(m, "1");
    let before = identity(m);
    shop.declare(m, "1");
    assert_eq!(identity(m), before, "the same input");
    let comments = Shop { extra: "# Only a comment.\n".into(), ..shop };
    comments.declare(m, "1");
    assert!(m.read(&format!("{}/service.toml", shop::DECLARED)).contains("Only a comment"));
    assert_eq!(identity(m), before, "only a comment");
}

/// What may not change: processes, generations and their files, the service's own activation.
fn identity(m: &Machine) -> String {
    m.run(
        "systemctl show --property=Id,MainPID,InvocationID shop.service 'shop-*@*.service'
        find /run/conductor/generations/*/* /var/lib/conductor/generations /run/conductor/slots \
            ! -name target.json ! -name served ! -path '*/declared*' -printf '%p %i %l\n' | sort
        systemctl show --property=MainPID caddy; cat /run/conductor/generations/shop/target.json",
    )
}
