//! Processes that do not begin or end as they should, and clocks that do not go forward.

use std::time::{Duration, Instant};

use conductor_machine::command::Output;
use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use super::watch::Watch;
use crate::scenario::scenarios;

scenarios!("endings":
    hung_health: "the health endpoint of a new version takes requests and never answers"
        => "the rollout fails after health_timeout, says what it waited for, and the old version serves on",
    forks_and_exits: "the declared command forks, and its first process exits"
        => "the rollout fails at once, nothing of the forked process is left, and the old version serves on",
    ignores_sigterm: "an old process ignores SIGTERM"
        => "no request fails; the process is killed drain_timeout and 10 s after SIGTERM",
    never_closes: "an old process never closes its connections"
        => "no request fails; its deployment stops when drain_timeout is over",
    dates_in_the_future: "the clock was set back by a day: all files of the running generation are of tomorrow"
        => "a killed process is back at once, and rollouts keep the files of what runs",
    dates_in_the_past: "the clock was set forward by a year: all files of the running generation are a year old"
        => "a killed process is back at once, and rollouts keep the files of what runs",
);

fn timed(m: &Machine, shop: &Shop, version: &str) -> (Output, Duration, Seen) {
    let (watch, load) = (Watch::begin(m), m.load(Load { clients: 8, pause_ms: 5, ..shop::load() }));
    let start = Instant::now();
    let output = shop.try_declare(m, version);
    let took = start.elapsed();
    let seen = load.stop();
    watch.end();
    m.note(format!("{took:.1?}, {seen}"));
    (output, took, seen)
}

const SECOND: Duration = Duration::from_secs(1);

fn hung_health(m: &mut Machine) {
    let shop = Shop::new(2).extra("[deploy]\nhealth_timeout = \"3s\"\n");
    shop.declare(m, "1");
    let (output, took, seen) = timed(m, &shop.flags("--hang-health"), "2");
    assert_eq!((output.status, seen.failed), (1, 0), "{output}{seen}");
    assert!((3 * SECOND..13 * SECOND).contains(&took), "{took:?}");
    for words in ["is not healthy", "/healthz", "no answer"] {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
    shop::assert_serves(m, "1", 2);
}

fn forks_and_exits(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    m.write_executable("/root/shop/daemon", "#!/bin/sh\nsetsid \"$CONDUCTOR_SERVICE_DIR/app\" &\nsleep 0.1\n");
    let text = shop.service_toml().replace("\"./app\"", "\"./daemon\"");
    m.write("/root/shop/service.toml", &text);
    let (watch, load) = (Watch::begin(m), m.load(Load { clients: 8, pause_ms: 5, ..shop::load() }));
    let start = Instant::now();
    let output = m.try_run(&shop::command("2"));
    let took = start.elapsed();
    let seen = load.stop();
    watch.end();
    assert_eq!((output.status, seen.failed), (1, 0), "{output}{seen}");
    assert!(took < 15 * SECOND, "{took:?}: {output}");
    assert!(output.stderr.contains("is not healthy"), "{output}");
    m.note(format!("{took:.1?}, {}", output.stderr.lines().next().unwrap_or_default()));
    shop::assert_serves(m, "1", 2);
}

const DRAIN: &str = "[deploy]\ndrain_timeout = \"2s\"\nmax_surge = 2\n";

fn ignores_sigterm(m: &mut Machine) {
    Shop::new(2).flags("--stop-delay 1h").extra(DRAIN).declare(m, "1");
    let (output, took, seen) = timed(m, &Shop::new(2).extra(DRAIN), "2");
    assert_eq!((output.status, seen.failed), (0, 0), "{output}{seen}");
    assert!((12 * SECOND..25 * SECOND).contains(&took), "{took:?}");
    shop::assert_serves(m, "2", 2);
}

fn never_closes(m: &mut Machine) {
    Shop::new(2).flags("--never-close").extra(DRAIN).declare(m, "1");
    let (output, took, seen) = timed(m, &Shop::new(2).extra(DRAIN), "2");
    assert_eq!((output.status, seen.failed), (0, 0), "{output}{seen}");
    assert!((2 * SECOND..12 * SECOND).contains(&took), "{took:?}");
    shop::assert_serves(m, "2", 2);
    m.run("journalctl --sync; journalctl --output=cat | grep 'stopping although .* accepted'");
}

fn dates_in_the_future(m: &mut Machine) {
    dates(m, "+1 day");
}

fn dates_in_the_past(m: &mut Machine) {
    dates(m, "-1 year");
}

/// A machine here has its host's clock, which is not its to set: what it knows of time is in its files.
fn dates(m: &Machine, when: &str) {
    let shop = Shop::new(2);
    let redate = || {
        m.run(&format!(
            "find /run/conductor /var/lib/conductor /etc/conductor -exec touch --no-dereference --date='{when}' {{}} +"
        ))
    };
    for version in 1..=3 {
        shop.declare(m, &version.to_string());
        redate();
    }
    let unit = format!("shop-{}@1.service", shop::generation(m));
    let load = m.load(Load { clients: 8, pause_ms: 5, ..shop::load() });
    let before = m.prop(&unit, "InvocationID");
    m.run(&format!("systemctl kill --signal=KILL {unit}"));
    m.until("it is back", 5 * SECOND, || {
        m.prop(&unit, "ActiveState") == "active" && m.prop(&unit, "InvocationID") != before
    });
    let seen = load.stop();
    assert!(seen.failed <= 8, "{seen}");
    for version in 4..=9 {
        shop.declare(m, &version.to_string());
        m.run(&format!("test -e /var/lib/conductor/generations/shop/{}/files/app", shop::generation(m)));
        if version < 7 {
            redate();
        }
    }
    shop::assert_serves(m, "9", 2);
    // Five, and the one that runs, should it look like the oldest.
    let kept = m.run("ls /var/lib/conductor/generations/shop | wc -l");
    assert!(["5", "6"].contains(&kept.trim()), "{kept}");
}
