//! What makes a deployment healthy, and the errors of one that is not.

use std::time::{Duration, Instant};

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("health":
    headers_are_sent_and_the_body_has_to_match,
    counted_attempts_end_the_start,
    process_says_that_it_is_ready,
    process_never_says_that_it_is_ready,
);

/// The shop with another health check.
fn declare(m: &Machine, flags: &str, health: &str, extra: &str, version: &str) -> Output {
    let shop = Shop::new(2).flags(flags).extra(extra);
    shop.write(m);
    let text = shop.service_toml().replace("http = \"/healthz\"", health);
    m.write("/root/shop/service.toml", &text);
    m.try_run(&shop::command(version))
}

const ASKED: &str = "http = '/healthz'\nheaders = { Authorization = 'Bearer 5' }\nbody = '^ok\\n$'";

fn headers_are_sent_and_the_body_has_to_match(m: &mut Machine) {
    let bearer = "--health-token=Bearer\u{20}5";
    // The flags are split at spaces; this one has one inside.
    let declare = |health: &str, version: &str| {
        let shop = Shop::new(2);
        shop.write(m);
        let text = shop.service_toml().replace("http = \"/healthz\"", health);
        m.write("/root/shop/service.toml", &text.replace("[\"./app\"]", &format!("[\"./app\", \"{bearer}\"]")));
        m.try_run(&shop::command(version))
    };
    let good = declare(ASKED, "1");
    assert!(good.success(), "{good}");
    let first = shop::generation(m);
    for (health, answer) in [
        (ASKED.replace("'Bearer 5'", "'Bearer 6'"), "401 Unauthorized: who is there?"),
        (ASKED.replace("'^ok\\n$'", "'^ready'"), "200 OK: ok (the body does not match \"^ready\")"),
    ] {
        let extra = "interval = '100ms'\nretries = 4";
        let refused = declare(&format!("{health}\n{extra}"), "2");
        assert_eq!(refused.status, 1, "{refused}");
        let said = "health check (GET /healthz) failed 4 attempts within ";
        assert!(refused.stderr.contains(said) && refused.stderr.contains(answer), "{refused}");
        assert_eq!(shop::deployments(m), shop::active(&first, 1..=2));
    }
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn counted_attempts_end_the_start(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let first = shop::generation(m);
    let began = Instant::now();
    let refused = declare(m, "--unhealthy", "http = '/healthz'\ninterval = '300ms'\nretries = 3", "", "2");
    let took = began.elapsed();
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("(GET /healthz) failed 3 attempts within 6"), "{refused}");
    assert!(refused.stderr.contains("500 Internal Server Error: out of order"), "{refused}");
    assert!(refused.stderr.contains("| app 2: out of order"), "the last log lines: {refused}");
    assert!(took < Duration::from_secs(10), "{took:?} of a minute");
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=2));
    m.note(format!("refused after {took:.1?}"));
}

fn process_says_that_it_is_ready(m: &mut Machine) {
    let began = Instant::now();
    let good = declare(m, "--notify-after 1s", "notify = true", "[deploy]\nmax_surge = 2", "1");
    assert!(good.success(), "{good}");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let unit = format!("shop-{}@1.service", shop::generation(m));
    assert_eq!((m.prop(&unit, "Type"), m.prop(&unit, "NotifyAccess")), ("notify".to_owned(), "main".to_owned()));
    assert!(shop::get(m).starts_with("1 "));
    let load = m.load(shop::load());
    let good = declare(m, "--notify-after 1s", "notify = true", "", "2");
    assert!(good.success(), "{good}");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert!(shop::get(m).starts_with("2 "));
    m.note(seen);
}

fn process_never_says_that_it_is_ready(m: &mut Machine) {
    let good = declare(m, "--notify-after 1ms", "notify = true", "", "1");
    assert!(good.success(), "{good}");
    let first = shop::generation(m);
    let load = m.load(shop::load());
    for (flags, why) in [
        ("", "READY=1 by sd_notify did not come within 3s"),
        ("--exit-at-start 0", "READY=1 by sd_notify did not come before the main process exited"),
    ] {
        let began = Instant::now();
        let refused = declare(m, flags, "notify = true", "[deploy]\nhealth_timeout = '3s'", "2");
        let took = began.elapsed();
        assert_eq!(refused.status, 1, "{refused}");
        assert!(refused.stderr.contains(why), "{refused}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(shop::deployments(m), shop::active(&first, 1..=2));
        m.note(format!("refused after {took:.1?}"));
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}
