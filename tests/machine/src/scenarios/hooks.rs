//! Hooks that hang: each is ended in its time, with all that it started, and the rest of a deployment's life goes on.

use std::time::{Duration, Instant};

use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("hooks":
    hanging_pre_stop_does_not_skip_the_drain,
    hanging_start_hooks_turn_the_rollout_back,
    hanging_post_stop_is_ended,
    drain_hook_has_what_requests_leave,
);

/// Ignores SIGTERM, as does what it starts.
const HANG: &str = "#!/bin/sh
trap '' TERM
echo \"$CONDUCTOR_DEPLOYMENT hangs\"
sleep 3600 &
sleep 3600
sleep 3600
";

const SECOND: Duration = Duration::from_secs(1);

fn shop(m: &Machine, extra: &str) -> Shop {
    m.write_executable("/root/shop/hang", HANG);
    Shop::new(1).extra(extra)
}

fn left(m: &Machine) -> String {
    m.run("pgrep --exact --list-full 'sleep|hang' || true")
}

/// Stops the shop with a request in flight that takes 2 s; how long that took.
fn stop_in_flight(m: &Machine) -> Duration {
    let request = m.spawn(&format!("curl --silent --show-error --fail 'http://{}/slow?ms=2000'", shop::HOST));
    m.until("the request is on its way", SECOND, || m.try_run("ss -x state established | grep -q /shop-").success());
    let began = Instant::now();
    m.run("systemctl stop shop");
    let took = began.elapsed();
    assert!(request.finish().starts_with("1 "));
    took
}

fn hanging_pre_stop_does_not_skip_the_drain(m: &mut Machine) {
    let extra = "[hooks]\npre_stop = { command = ['./hang'], timeout = '500ms' }\n[deploy]\ndrain_timeout = '5s'";
    shop(m, extra).declare(m, "1");
    let generation = shop::generation(m);
    let took = stop_in_flight(m);
    assert!((SECOND..12 * SECOND).contains(&took), "{took:?}");
    assert_eq!(left(m), "");
    assert_eq!(shop::traces(m, &generation), "");
    let journal = m.run("journalctl --output=cat CONDUCTOR_SERVICE=shop");
    assert!(journal.contains(&format!("shop-{generation}-1 hangs")), "{journal}");
    assert!(journal.contains("timeout: sending signal TERM to command"), "{journal}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(format!("stopped in {took:.1?}"));
}

fn hanging_start_hooks_turn_the_rollout_back(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let first = shop::generation(m);
    let load = m.load(shop::load());
    for hook in ["pre_start", "post_start"] {
        let began = Instant::now();
        let refused = shop(m, &format!("[hooks]\n{hook} = ['./hang']\ntimeout = '1s'")).try_declare(m, "2");
        let took = began.elapsed();
        assert_eq!(refused.status, 1, "{hook}: {refused}");
        assert!(refused.stderr.contains("timeout: sending signal TERM to command"), "{hook}: {refused}");
        assert!((SECOND..15 * SECOND).contains(&took), "{hook}: {took:?}");
        assert_eq!(shop::deployments(m), shop::active(&first, 1..=1), "{hook}");
        assert_eq!(left(m), "", "{hook}");
        m.note(format!("{hook} refused after {took:.1?}"));
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn hanging_post_stop_is_ended(m: &mut Machine) {
    shop(m, "[hooks]\npost_stop = ['./hang']\ntimeout = '1s'").declare(m, "1");
    let generation = shop::generation(m);
    let began = Instant::now();
    m.run("systemctl stop shop");
    let took = began.elapsed();
    assert!((SECOND..12 * SECOND).contains(&took), "{took:?}");
    assert_eq!(left(m), "");
    assert_eq!(shop::traces(m, &generation), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn drain_hook_has_what_requests_leave(m: &mut Machine) {
    let extra = |limit: &str| format!("[hooks]\ndrain = ['./hang']\n[deploy]\ndrain_timeout = '{limit}'");
    shop(m, &extra("4s")).declare(m, "1");
    let took = stop_in_flight(m);
    // 2 s for the request, 2 for the hook, and one between SIGTERM and SIGKILL.
    assert!((4 * SECOND..14 * SECOND).contains(&took), "{took:?}");
    assert_eq!(left(m), "");
    m.note(format!("stopped in {took:.1?}"));

    m.run("conductor service rm shop");
    shop(m, &extra("1s")).declare(m, "1");
    let request = m.spawn(&format!("curl --silent 'http://{}/slow?ms=60000'", shop::HOST));
    m.until("the request is on its way", SECOND, || m.try_run("ss -x state established | grep -q /shop-").success());
    m.run("systemctl stop shop");
    request.wait();
    let journal = m.run("journalctl --output=cat CONDUCTOR_SERVICE=shop");
    assert!(journal.contains("the drain hook (") && journal.contains("is not run: 1s are over"), "{journal}");
}
