//! Hooks: their order and environment, those that fail, and those that hang. A hook that hangs is ended in its time, with
//! all that it started, and the rest of a deployment's life goes on.

use std::time::{Duration, Instant};

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;

use super::service::{status, timed};
use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("hooks":
    hanging_pre_stop_does_not_skip_the_drain,
    hanging_start_hooks_turn_the_rollout_back,
    hanging_post_stop_is_ended,
    drain_hook_has_what_requests_leave,
    hooks_run_in_order_as_the_service,
    release_runs_once: "a release fails, hangs or is killed with the rollout; the machine reboots; processes crash"
        => "nothing was touched by a release that did not succeed, and one that did is not repeated",
    hooks_that_fail: "each of a deployment's hooks fails"
        => "those of the start refuse the version, those of the stop hold nothing up; no request fails",
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
    m.until("the request is on its way", 20 * SECOND, || {
        m.try_run("ss -x state established | grep -q /shop-").success()
    });
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
    assert!((SECOND..60 * SECOND).contains(&took), "{took:?}");
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
        assert!((SECOND..60 * SECOND).contains(&took), "{hook}: {took:?}");
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
    assert!((SECOND..60 * SECOND).contains(&took), "{took:?}");
    assert_eq!(left(m), "");
    assert_eq!(shop::traces(m, &generation), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn drain_hook_has_what_requests_leave(m: &mut Machine) {
    let extra = |limit: &str| format!("[hooks]\ndrain = ['./hang']\n[deploy]\ndrain_timeout = '{limit}'");
    shop(m, &extra("4s")).declare(m, "1");
    let took = stop_in_flight(m);
    // 2 s for the request, 2 for the hook, and one between SIGTERM and SIGKILL.
    assert!((4 * SECOND..60 * SECOND).contains(&took), "{took:?}");
    assert_eq!(left(m), "");
    m.note(format!("stopped in {took:.1?}"));

    m.run("conductor service rm shop");
    shop(m, &extra("1s")).declare(m, "1");
    let request = m.spawn(&format!("curl --silent 'http://{}/slow?ms=60000'", shop::HOST));
    m.until("the request is on its way", 20 * SECOND, || {
        m.try_run("ss -x state established | grep -q /shop-").success()
    });
    m.run("systemctl stop shop");
    request.wait();
    // Of a program that has just ended, the journal may not know the unit.
    let journal = m.run("journalctl --sync; journalctl --output=cat");
    assert!(journal.contains("the drain hook (") && journal.contains("is not run: 1s are over"), "{journal}");
}

/// Writes what it is called, as whom, and who holds the first slot.
const HOOK: &str = r#"#!/bin/sh
slot=$(readlink /run/conductor/slots/hooked/1)
echo "$1 $(id -un) $GREETING ${slot#/run/conductor/sockets/}" >>"$STATE_DIRECTORY/log"
env | grep '^CONDUCTOR_' | sort >"$STATE_DIRECTORY/$1.env"
test "$1" != "$FAILS"
"#;

fn declare_hooked(m: &Machine, fails: &str, concurrency: u32) -> Output {
    m.write_executable("/root/hooked/hook", HOOK);
    m.copy_app("/usr/local/bin/app");
    let text = format!(
        r#"concurrency = {concurrency}
config = {{ GREETING = "hello", FAILS = "{fails}" }}
[exec]
command = ["/usr/local/bin/app"]
[health]
exec = ["./hook", "health"]
[hooks]
pre_start = ["./hook", "pre_start"]
post_start = ["./hook", "post_start"]
pre_stop = ["./hook", "pre_stop"]
drain = ["./hook", "drain"]
post_stop = ["./hook", "post_stop"]
[systemd.service]
StateDirectory = "hooked"
[[route]]
host = ["hooked.localhost"]
tls = "off"
[deploy]
health_timeout = "2s"
"#
    );
    m.write("/root/hooked/service.toml", &text);
    m.try_run("conductor service declare /root/hooked")
}

fn hooks_run_in_order_as_the_service(m: &mut Machine) {
    let output = declare_hooked(m, "", 1);
    assert!(output.success(), "{output}");
    let generation = status(m, "hooked")["generation"].as_str().expect("a generation").to_owned();
    let request = m.spawn("curl --silent --fail 'http://hooked.localhost/slow?ms=1000'");
    m.until("the request is on its way", 20 * SECOND, || {
        m.try_run("ss -x state established | grep -q /hooked-").success()
    });
    let (_, took) = timed(|| m.run("systemctl stop hooked"));
    request.finish();
    assert!(took > SECOND / 2, "drained in {took:?}");
    let held = format!("hooked-{generation}/1");
    let line = |what: &str, slot: &str| format!("{what} conductor-hooked hello {slot}\n");
    let expected = [
        line("pre_start", ""),
        line("health", ""),
        line("post_start", ""),
        line("pre_stop", &held),
        line("drain", ""),
        line("post_stop", ""),
    ];
    assert_eq!(m.read("/var/lib/hooked/log"), expected.concat());
    let environment = format!(
        "CONDUCTOR_DEPLOYMENT=hooked-{generation}-1
CONDUCTOR_DEPLOYMENT_DIR=/run/conductor/deployments/hooked-{generation}-1/own
CONDUCTOR_GENERATION={generation}
CONDUCTOR_INSTANCE=1
CONDUCTOR_SERVICE=hooked
CONDUCTOR_SERVICE_DIR=/var/lib/conductor/generations/hooked/{generation}/files
CONDUCTOR_SOCKET=/run/conductor/sockets/hooked-{generation}/1
"
    );
    for hook in ["pre_start", "health", "post_start", "pre_stop", "drain", "post_stop"] {
        assert_eq!(m.read(&format!("/var/lib/hooked/{hook}.env")), environment, "{hook}");
    }
}

fn hooks_that_fail(m: &mut Machine) {
    let good = declare_hooked(m, "", 2);
    assert!(good.success(), "{good}");
    let first = status(m, "hooked")["generation"].clone();
    let load = m.load(conductor_machine::load::Load { host: "hooked.localhost".into(), ..shop::load() });
    for hook in ["pre_start", "health", "post_start"] {
        let (refused, took) = timed(|| declare_hooked(m, hook, 2));
        assert_eq!(refused.status, 1, "{hook}: {refused}");
        let found = status(m, "hooked");
        assert_eq!((&found["generation"], &found["declared"]), (&first, &first), "{hook}");
        assert_eq!(found["deployments"].as_array().map(Vec::len), Some(2), "{hook}: {found}");
        m.note(format!("{hook} refused after {took:.1?}"));
    }
    // The end of a deployment cannot be refused: it drains whatever its hooks say.
    for hook in ["pre_stop", "drain", "post_stop", ""] {
        let output = declare_hooked(m, hook, 2);
        assert!(output.success(), "{hook}: {output}");
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(seen);
}

/// A declaration whose releases write down who ran them, and do what /root/shop/release says.
const RELEASES: &str = "[hooks]
release = { command = ['./note', 'release', '$1', '${VERSION}'], timeout = '3s' }
post_release = ['./note', 'post-release', '$1', '${VERSION}']
[systemd.service]
StateDirectory = 'shop'
";

fn release_runs_once(m: &mut Machine) {
    let note = |m: &Machine, then: &str| {
        let text = format!(
            "#!/bin/sh\necho \"$1 $2 $3 $(id -un) ${{CONDUCTOR_INSTANCE:-none}}\" >>$STATE_DIRECTORY/log\n{then}\n"
        );
        m.write_executable("/root/shop/note", &text);
    };
    let log = |m: &Machine| m.run("cat /var/lib/private/shop/log 2>/dev/null || true");
    let shop = Shop::new(3).extra(RELEASES);
    note(m, "");
    shop.declare(m, "1");
    let both = |version: u32| {
        format!("release $1 {version} conductor-shop none\npost-release $1 {version} conductor-shop none\n")
    };
    assert_eq!(log(m), both(1));
    let first = shop::generation(m);
    m.run("systemctl kill --signal=KILL --kill-whom=main 'shop-*@1.service'; conductor service scale shop 4; conductor daemon-reload");
    m.until("all are back", 20 * SECOND, || shop::deployments(m) == shop::active(&first, 1..=4));
    m.run("systemctl restart shop");
    m.reboot();
    m.until("it serves after a boot", 60 * SECOND, || shop::deployments(m) == shop::active(&first, 1..=4));
    assert_eq!(log(m), both(1), "not again");

    for (what, then, told) in [
        ("fails", "echo the schema is newer >&2; exit 4", "exited with status 4"),
        ("hangs", "sleep 3600 & sleep 3600", "did not end within 3s"),
        ("is killed", "kill -KILL $$", "was killed by signal 9"),
    ] {
        note(m, then);
        let load = m.load(shop::load());
        let refused = shop.try_declare(m, "2");
        let seen = load.stop();
        assert_eq!((refused.status, seen.failed), (1, 0), "{what}: {refused} {seen}");
        assert!(refused.stderr.contains(told) && refused.stderr.contains("hooks.release"), "{what}: {refused}");
        assert_eq!(shop::deployments(m), shop::active(&first, 1..=4), "{what}");
        assert_eq!(m.failed_units(), Vec::<String>::new(), "{what}");
        assert_eq!(left(m), "", "{what}");
    }
    note(m, "");
    shop.declare(m, "2");
    let second = shop::generation(m);
    assert!(second != first && log(m).ends_with(&both(2)), "{}", log(m));
    // Back and forth: both have been released.
    let before = log(m);
    m.run("conductor service rollback shop; conductor service rollback shop");
    assert_eq!((shop::generation(m), log(m)), (second, before));
    // Somebody stops the service in the middle of a release.
    note(m, "sleep 2");
    let declaring = m.spawn(&format!("{} || true", shop::command("3")));
    m.until("the release runs", 20 * SECOND, || log(m).ends_with("release $1 3 conductor-shop none\n"));
    m.run("systemctl stop shop");
    declaring.finish();
    assert_eq!((left(m).as_str(), shop::deployments(m).len()), ("", 0));
    assert_eq!(m.run("systemctl list-units --plain --no-legend 'shop-*'"), "");
}
