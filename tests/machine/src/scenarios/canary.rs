//! Canaries: shares of slots, steps by hand and by the clock, what stops them, and what does not.

use std::time::Duration;

use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use super::strike::{self, Moment::*};
use crate::scenario::scenarios;

scenarios!("canary":
    steps_by_hand,
    steps_by_the_clock,
    verify_stops_it: "a canary's gate fails before its first step, and before a later one that a timer takes; the machine reboots"
        => "the old generation has all slots and serves alone, also after the reboot; no request fails; journal, status and \
            plan say why",
    what_ends_it: "a canary is aborted or does not become healthy; another generation is declared, or it is rolled back, stopped \
                   and started in the middle"
        => "the slots go back before the canary stops, and no request fails; after a stop and a start it has the share that it had",
    killed: "`_reload` is killed at each point of a canary's step, by hand and by its timer; the gate, the canary's process \
             and the step's own unit are killed; the power is cut"
        => "the canary has at least the share of the step before and at most that of the step after; no request fails; the next reload, or the timer itself, goes on",
);

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(20);
/// Requests of which a share is counted.
const COUNTED: u64 = 3_000;
const BY_HAND: &str =
    "[deploy]\nstrategy = \"canary\"\nsteps = [{ slots = 1, pause = \"manual\" }, { slots = 6, pause = \"manual\" }]\n";

fn by_hand() -> Shop {
    Shop::new(3).extra(BY_HAND)
}

/// A canary whose first step takes so many seconds.
fn by_the_clock(seconds: u32) -> String {
    BY_HAND.replacen("\"manual\"", &format!("\"{seconds}s\""), 1)
}

/// The slots that lead to a generation.
fn slots_of(m: &Machine, generation: &str) -> usize {
    shop::slots(m).iter().filter(|holder| holder.starts_with(generation)).count()
}

/// The generation of its canary.
#[track_caller]
fn canary(m: &Machine) -> String {
    let status: serde_json::Value = serde_json::from_str(&m.run("conductor service status shop --json")).expect("JSON");
    status["canary"]["generation"].as_str().expect("a canary").to_owned()
}

fn load() -> Load {
    Load { at_least: COUNTED, ..shop::load() }
}

/// Version 2 answers its share of some thousand requests, and none fails.
#[track_caller]
fn assert_share(m: &Machine, slots: u32) {
    let seen = m.load(load()).stop();
    let answers = seen.versions.get("2").map_or(0, |version| version.answers);
    let (share, expected) = (answers as f64 / seen.ok as f64, f64::from(slots) / 12.0);
    assert_eq!(seen.failed, 0, "{seen}");
    assert!((share - expected).abs() < 0.02, "{slots} of 12 slots answered {share:.3}: {seen}");
    m.note(format!("{slots}/12: {share:.3}"));
}

/// An old generation of three deployments serves beside a canary that holds the last slots.
#[track_caller]
fn assert_stands(m: &Machine, (old, new): (&str, &str), slots: usize, deployments: u32) {
    let mut all = [shop::active(old, 1..=3), shop::active(new, 1..=deployments)].concat();
    all.sort();
    assert_eq!(shop::deployments(m), all);
    let held = shop::slots(m);
    assert_eq!(held.len(), 12);
    assert!(held[..12 - slots].iter().all(|holder| holder.starts_with(old)), "{held:?}");
    assert!(held[12 - slots..].iter().all(|holder| holder.starts_with(new)), "{held:?}");
    assert_eq!(m.prop("shop.service", "ActiveState"), "active");
    assert_eq!(shop::half_written(m), "");
}

fn none_failed(seen: Seen) {
    assert_eq!(seen.failed, 0, "{seen}");
}

fn steps_by_hand(m: &mut Machine) {
    let first = by_hand().declare(m, "1");
    assert!(!first.contains("canary"), "the first generation has nothing beside it: {first}");
    let old = shop::generation(m);
    shop::assert_serves(m, "1", 3);
    let under = m.load(shop::load());
    by_hand().write(m);
    shop::edit(m, "2");
    let planned = m.run("conductor plan");
    assert!(planned.contains("canary: 1 of 12 slots, then 6 of 12 when promoted, all when promoted"), "{planned}");
    let told = by_hand().declare(m, "2");
    let new = canary(m);
    let says = format!(
        "canary of generation {new}: 1 of 12 slots, next step by hand (6 of 12); `conductor service promote shop`"
    );
    assert!(told.contains(&says), "{told}");
    assert_eq!(shop::generation(m), old, "what serves is the old one");
    assert_stands(m, (&old, &new), 1, 1);
    assert_share(m, 1);
    let status = m.run("conductor status shop");
    assert!(
        status.contains(&format!("shop: canary of generation {new}: 1 of 12 slots, next step by hand (6 of 12)")),
        "{status}"
    );
    assert!(status.contains("4/4"), "all four deployments are ready: {status}");
    let planned = m.run("conductor plan --exit-code");
    assert!(planned.contains("shop: canary: 1 of 12 slots, next step by hand (6 of 12)"), "{planned}");

    // What runs is brought back, and nothing moves.
    m.run(&format!(
        "systemctl kill --signal=KILL shop-{new}@1.service; conductor daemon-reload; systemctl restart caddy"
    ));
    m.until("it is up again", LIMIT, || m.prop(&format!("shop-{new}@1.service"), "ActiveState") == "active");
    let lost = under.stop();
    m.note(format!("while a process was killed and the proxy restarted: {lost}"));
    assert_stands(m, (&old, &new), 1, 1);

    let under = m.load(shop::load());
    m.run("conductor service promote shop");
    assert_stands(m, (&old, &new), 6, 2);
    assert_share(m, 6);
    m.run("conductor service scale shop 4; conductor service scale shop 3");
    assert_stands(m, (&old, &new), 6, 2);
    let last = m.run("conductor service promote shop");
    assert!(last.contains(&format!("generation {new} serves with 3 of 3 deployments")), "{last}");
    none_failed(under.stop());
    shop::assert_serves(m, "2", 3);
    let refused = m.try_run("conductor service promote shop");
    assert!(!refused.success() && refused.stderr.contains("no canary is under way"), "{refused}");

    let under = m.load(shop::load());
    by_hand().declare(m, "3");
    m.run("conductor service promote --all shop");
    none_failed(under.stop());
    shop::assert_serves(m, "3", 3);
    // Further listeners and bridges move in the same shares.
    let tcp = by_hand().engine(shop::Engine::Exec(shop::Listen::Tcp));
    tcp.declare(m, "1");
    assert_eq!(slots_of(m, &canary(m)), 1);
    m.run("conductor service promote --all shop");
    tcp.declare(m, "2");
    assert_share(m, 1);
    m.run("conductor service rm shop");
    assert_eq!(m.run("find /var/lib/conductor/generations /run/conductor -name '*shop*'"), "");
}

fn steps_by_the_clock(m: &mut Machine) {
    let hooks = "[hooks]\nverify = [\"/bin/sh\", \"-c\", \"env | grep CONDUCTOR_; for socket in $CONDUCTOR_STABLE_SOCKET \
                 $CONDUCTOR_CANARY_SOCKET; do curl --silent --fail --unix-socket $socket http://shop/; echo; done\"]\n";
    let shop = Shop::new(3).extra(&format!("{}{hooks}", by_the_clock(8)));
    shop.declare(m, "1");
    let old = shop::generation(m);
    let under = m.load(shop::load());
    let told = shop.declare(m, "2");
    let new = canary(m);
    assert!(told.contains("1 of 12 slots, next step in "), "{told}");
    assert_stands(m, (&old, &new), 1, 1);
    let due = || {
        m.read("/run/conductor/generations/shop/target.json").split("\"due\":").nth(1).map(|rest| rest[..10].to_owned())
    };
    let before = due();
    m.run("systemctl daemon-reload; conductor daemon-reload");
    assert_eq!(due(), before, "a reload does not begin the pause again");
    let timers = m.run("systemctl list-timers --all --no-legend 'shop-canary@*'");
    assert!(timers.contains(&format!("shop-canary@{new}-1.timer")), "{timers}");
    m.until("the timer takes the step", LIMIT, || slots_of(m, &new) == 6);
    m.until("the step is over", LIMIT, || m.prop("shop.service", "ActiveState") == "active");
    assert_stands(m, (&old, &new), 6, 2);
    none_failed(under.stop());
    assert_eq!(m.run("systemctl list-units --plain --no-legend 'shop-canary@*'"), "", "a manual pause has no timer");
    m.run("journalctl --sync");
    let log = m.run("journalctl --output=cat --unit='shop-verify-*'");
    for line in [
        format!("CONDUCTOR_STABLE_GENERATION={old}"),
        format!("CONDUCTOR_CANARY_GENERATION={new}"),
        "CONDUCTOR_CANARY_SLOTS=1".to_owned(),
        "CONDUCTOR_NEXT_SLOTS=6".to_owned(),
        "CONDUCTOR_SLOTS=12".to_owned(),
    ] {
        assert!(log.lines().any(|logged| logged == line), "{line}: {log}");
    }
    let answered = |version: &str| log.lines().any(|line| line.starts_with(&format!("{version} ")));
    assert!(answered("1") && answered("2"), "the gate asks both: {log}");

    m.reboot();
    m.until("it serves", LIMIT, || m.prop("shop.service", "ActiveState") == "active");
    assert_stands(m, (&old, &new), 6, 2);
    assert_share(m, 6);
    m.run("conductor service promote shop");
    shop::assert_serves(m, "2", 3);

    // A step that is due while the machine is off is taken when it is on, or by the timer after it.
    let old = new;
    shop.declare(m, "3");
    let new = canary(m);
    m.kill_power();
    m.power_on();
    m.until("the step is taken", LIMIT, || slots_of(m, &new) == 6);
    m.until("the step is over", LIMIT, || m.prop("shop.service", "ActiveState") == "active");
    assert_stands(m, (&old, &new), 6, 2);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn verify_stops_it(m: &mut Machine) {
    let gate =
        "[hooks]\nverify = [\"/bin/sh\", \"-c\", \"if test -e /run/bad; then echo too many errors; exit 3; fi\"]\n";
    let shop = Shop::new(3).extra(&format!("{}{gate}", by_the_clock(4)));
    shop.declare(m, "1");
    let old = shop::generation(m);
    let under = m.load(shop::load());
    m.run("touch /run/bad");
    let refused = shop.try_declare(m, "2");
    assert_eq!(refused.status, 1, "{refused}");
    for words in ["too many errors", "hooks.verify of generation", "exited with status 3", "serves alone", "restored"] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    shop::assert_serves(m, "1", 3);

    m.run("rm /run/bad");
    shop.declare(m, "2");
    let new = canary(m);
    m.run("touch /run/bad");
    m.until("the gate stops it", LIMIT, || slots_of(m, &new) == 0);
    m.until("it has stopped", LIMIT, || shop::deployments(m) == shop::active(&old, 1..=3));
    none_failed(under.stop());
    m.until("its unit has failed", LIMIT, || m.failed_units() == [format!("shop-canary@{new}-1.service")]);
    let status = m.run("conductor service status shop");
    assert!(
        status.contains(&format!("canary: generation {new}: aborted: shop: hooks.verify of generation {new}")),
        "{status}"
    );
    assert!(status.contains("aborted the canary of generation"), "the failure is told: {status}");
    let planned = m.run("conductor plan --exit-code");
    assert!(
        planned.contains("its canary was aborted") && planned.contains("conductor service promote shop"),
        "{planned}"
    );
    m.run("journalctl --sync");
    let log = m.run("journalctl --output=cat --unit=shop.service");
    assert!(log.contains(&format!("aborted the canary of generation {new}: generation {old} serves alone")), "{log}");

    m.run("conductor daemon-reload; systemctl reload shop");
    assert_eq!(slots_of(m, &new), 0, "it stays aborted");
    m.reboot();
    m.until("it serves", LIMIT, || m.prop("shop.service", "ActiveState") == "active");
    assert_eq!(shop::deployments(m), shop::active(&old, 1..=3));
    assert!(shop::get(m).starts_with("1 "));
    // The mark of the gate is gone with the reboot: it is tried again from its first step.
    m.run("conductor service promote shop");
    assert_eq!(slots_of(m, &new), 1);
    m.run("conductor service rollback shop");
    shop::assert_serves(m, "1", 3);
    assert!(!m.run("conductor service status shop").contains("canary"));
}

fn what_ends_it(m: &mut Machine) {
    by_hand().declare(m, "1");
    let old = shop::generation(m);
    let under = m.load(shop::load());
    by_hand().declare(m, "2");
    let second = canary(m);
    m.run("conductor service promote shop");
    let told = m.run("conductor service abort shop");
    assert!(told.contains(&format!("the canary of generation {second} was aborted")), "{told}");
    assert_eq!(shop::deployments(m), shop::active(&old, 1..=3));
    assert_eq!(slots_of(m, &old), 12);
    // To declare it again is to try it again.
    by_hand().declare(m, "2");
    assert_stands(m, (&old, &second), 1, 1);

    shop::edit(m, "3");
    let planned = m.run("conductor plan");
    assert!(planned.contains("shop: roll, abort"), "{planned}");
    assert!(planned.contains(&format!("the canary of generation {second} is aborted first")), "{planned}");
    by_hand().declare(m, "3");
    let third = canary(m);
    assert_ne!(second, third);
    assert_stands(m, (&old, &third), 1, 1);
    assert_eq!(shop::traces(m, &second), "");
    m.run("conductor service rollback shop");
    shop::assert_serves(m, "1", 3);

    // One that does not become healthy is no canary.
    let refused =
        by_hand().flags("--unhealthy").extra(&format!("{BY_HAND}health_timeout = \"2s\"\n")).try_declare(m, "4");
    assert!(refused.stderr.contains("serves alone") && refused.stderr.contains("is not healthy"), "{refused}");
    shop::assert_serves(m, "1", 3);
    none_failed(under.stop());

    by_hand().declare(m, "2");
    m.run("conductor service promote shop; systemctl stop shop");
    assert_eq!(shop::deployments(m), Vec::<String>::new());
    m.run("systemctl start shop");
    assert_stands(m, (&old, &second), 6, 2);
    m.run("systemctl restart shop");
    assert_stands(m, (&old, &second), 6, 2);
    // Without the strategy there are no steps: what is left is a rollout.
    let under = m.load(shop::load());
    Shop::new(3).declare(m, "2");
    none_failed(under.stop());
    shop::assert_serves(m, "2", 3);
}

/// Kills at each of a step's calls of systemd, and at each of its renames.
fn killed(m: &mut Machine) {
    by_hand().declare(m, "1");
    let old = shop::generation(m);
    by_hand().declare(m, "2");
    let new = canary(m);
    let calls = [
        ("StartUnit", 1, Before),
        ("StartUnit", 1, During),
        ("StopUnit", 1, Before),
        ("ListUnitsByPatterns", 1, Before),
    ];
    let at_calls = calls.map(|(method, nth, moment)| Strike::Call(method, nth, moment));
    let renames = [
        ("execve", 0),
        ("renameat", 1),
        ("renameat", 2),
        ("renameat", 3),
        ("renameat", 4),
        ("rename", 1),
        ("rename", 3),
    ];
    let at_renames = renames.map(|(calls, nth)| Strike::Syscall(calls, nth));
    let under = m.load(shop::load());
    let mut struck = 0;
    for strike in at_calls.into_iter().chain(at_renames) {
        match strike {
            Strike::Call(method, nth, moment) => strike::at_call(m, "service _reload", method, nth, moment),
            Strike::Syscall(calls, nth) => strike::at_syscall(m, "service _reload", calls, nth),
        }
        m.try_run("conductor service promote shop");
        struck += u32::from(strike::over(m));
        m.run("rm -f /run/calls /run/struck");
        let held = slots_of(m, &new);
        assert!((1..=6).contains(&held), "{strike:?}: {held} slots");
        m.run("conductor daemon-reload");
        if slots_of(m, &new) == 1 {
            m.run("conductor service promote shop");
        }
        assert_eq!(slots_of(m, &new), 6, "{strike:?}");
        assert_stands(m, (&old, &new), 6, 2);
        m.run("conductor service abort shop; conductor service promote shop");
        assert_stands(m, (&old, &new), 1, 1);
    }
    assert!(struck >= 8, "{struck} kills");
    none_failed(under.stop());
    m.note(format!("killed {struck} times"));

    // A timer's step that is killed is taken again by itself, and so is one whose own unit is killed.
    let slow = format!(
        "{}[hooks]\nverify = [\"/bin/sh\", \"-c\", \"while test ! -e /var/go; do sleep 0.05; done\"]\n",
        by_the_clock(3)
    );
    m.run("touch /var/go");
    Shop::new(3).extra(&slow).declare(m, "3");
    let new = canary(m);
    m.run("rm /var/go");
    let verifies = |m: &Machine| !m.run("systemctl list-units --plain --no-legend 'shop-verify-*'").is_empty();
    m.until("the gate is asked", LIMIT, || verifies(m));
    m.run("kill -KILL $(cat /sys/fs/cgroup/system.slice/shop.service/cgroup.procs)");
    m.until("it is asked again", LIMIT, || m.prop("shop.service", "ActiveState") == "reloading");
    let unit = format!("shop-canary@{new}-1.service");
    m.run(&format!("systemctl kill --signal=KILL {unit}"));
    assert_eq!(slots_of(m, &new), 1);
    m.run("touch /var/go");
    m.until("the step is taken", 2 * LIMIT, || slots_of(m, &new) == 6);
    m.until("the step is over", LIMIT, || m.prop("shop.service", "ActiveState") == "active");
    assert_stands(m, (&old, &new), 6, 2);

    // A gate that is killed has failed, also by the signal by which systemd ends what has not failed.
    for signal in ["KILL", "TERM"] {
        m.run("rm -f /var/go");
        let promote = m.spawn("conductor service promote shop");
        m.until("the gate is asked", LIMIT, || verifies(m));
        m.run(&format!("systemctl kill --signal={signal} 'shop-verify-*'"));
        assert!(!promote.wait().success(), "{signal}");
        assert_eq!(shop::deployments(m), shop::active(&old, 1..=3));
    }
    // An administrator need not wait for one that hangs.
    m.run("touch /var/go; conductor service promote shop; rm /var/go");
    let promote = m.spawn("conductor service promote shop");
    m.until("the gate is asked", LIMIT, || verifies(m));
    m.run("conductor service abort shop");
    assert!(!promote.wait().success());
    assert_eq!(slots_of(m, &old), 12);
    assert_eq!(shop::deployments(m), shop::active(&old, 1..=3));

    m.run("touch /var/go; conductor service promote shop");
    let held = slots_of(m, &new);
    m.kill_power();
    m.power_on();
    m.until("it serves", 2 * LIMIT, || m.try_run("systemctl is-active shop").success() && slots_of(m, &new) >= held);
    m.run("conductor service promote --all shop");
    shop::assert_serves(m, "3", 3);
    m.until("nothing waits", SECOND, || m.failed_units().is_empty());
}

#[derive(Debug, Clone, Copy)]
enum Strike {
    Call(&'static str, u32, strike::Moment),
    Syscall(&'static str, u32),
}
