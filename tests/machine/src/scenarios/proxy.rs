//! Publication to Caddy: in any order of starting, only what Caddy takes, only when it changed.

use std::thread::sleep;
use std::time::{Duration, Instant};

use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("proxy":
    starts_in_either_order: "Caddy is stopped, started and restarted around declarations"
        => "it serves what is declared, in whatever order they come",
    boots_before_the_network_is_up: "the network comes up late, and Caddy with it"
        => "services do not wait for either",
    refused_configuration_stays_out: "Caddy refuses the configuration with a new route"
        => "the published one stays, the error has Caddy's words, and the next reload tries again",
    reloads_only_for_a_change,
    sockets_are_for_the_proxy_alone,
    publishes_nothing_partial: "routes are published during 30 daemon-reloads"
        => "Caddy never sees a partial configuration",
    stopped_service_answers_503: "requests come for a service that is stopped"
        => "Caddy answers 503 at once",
);

const PUBLISHED: &str = "/run/conductor/proxy/caddy/sites.caddy";
const SECOND: Duration = Duration::from_secs(1);

/// A second host for the same service.
const STORE: &str = "[[route]]\nhost = [\"store.localhost\"]\ntls = \"off\"";

fn caddy_reloads(m: &Machine) -> String {
    m.run("journalctl --sync; journalctl --unit=caddy --output=cat | grep -c '^Reloaded caddy' || true").trim().into()
}

fn starts_in_either_order(m: &mut Machine) {
    let shop = Shop::new(2);
    // It is restarted here more often than systemd likes.
    m.write("/etc/systemd/system/caddy.service.d/often.conf", "[Unit]\nStartLimitIntervalSec=0\n");
    m.run("systemctl daemon-reload; systemctl stop caddy");
    shop.declare(m, "1");
    m.run("systemctl start caddy");
    assert!(shop::get(m).starts_with("1 "));

    m.run("systemctl stop caddy conductor-proxy");
    shop.declare(m, "2");
    m.run("systemctl start caddy");
    assert!(shop::get(m).starts_with("2 "));

    for version in ["3", "4", "5"] {
        let restart = m.spawn("systemctl restart caddy");
        let extra = if version == "4" { STORE } else { "" };
        shop.clone().extra(extra).declare(m, version);
        restart.finish();
        assert!(shop::get(m).starts_with(version));
    }
    m.run("systemctl stop caddy shop; systemctl start caddy; systemctl start shop");
    assert!(shop::get(m).starts_with("5 "));
    m.run("systemctl stop caddy");
    sleep(3 * SECOND);
    m.run("systemctl start caddy");
    assert!(shop::get(m).starts_with("5 "));
    m.reboot();
    assert!(shop::get(m).starts_with("5 "));
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// Debian's Caddy waits for the network; a service must not wait for Caddy.
fn boots_before_the_network_is_up(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    m.write(
        "/etc/systemd/system/slow-network.service",
        "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\nExecStart=sleep 13\n",
    );
    m.run(
        "mkdir -p /etc/systemd/system/network-online.target.wants
        ln -s ../slow-network.service /etc/systemd/system/network-online.target.wants/",
    );
    m.reboot();
    assert!(shop::get(m).starts_with("1 "));
    assert_eq!(m.prop("shop.service", "NRestarts"), "0", "it does not need the network");
    let since = |unit: &str, property: &str| m.prop(unit, property).parse::<u64>().expect("microseconds");
    let ahead = since("caddy.service", "ActiveEnterTimestampMonotonic")
        .saturating_sub(since("shop.service", "ActiveEnterTimestampMonotonic"));
    assert!(ahead > 5_000_000, "serving {ahead} µs before Caddy");
}

fn refused_configuration_stays_out(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let published = m.read(PUBLISHED);
    let load = m.load(shop::load());
    m.run("cp /etc/caddy/Caddyfile /root/");
    m.run("printf 'http://store.localhost {\\n\\trespond mine\\n}\\n' >>/etc/caddy/Caddyfile");
    let refused = shop.clone().extra(STORE).try_declare(m, "2");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("ambiguous site definition: http://store.localhost"), "{refused}");
    assert_eq!(m.read(PUBLISHED), published);
    assert!(shop::get(m).starts_with("1 "), "the previous declaration stands");
    assert_eq!(shop::deployments(m), shop::active(&shop::generation(m), 1..=2));

    // Written by hand, a reload says the same.
    let route = format!("\n{STORE}\n");
    let declared = format!("{}/service.toml", shop::DECLARED);
    let before = m.read(&declared);
    m.write(&declared, &(before.clone() + &route));
    for _ in 0..2 {
        let refused = m.try_run("conductor service reload shop");
        assert_eq!(refused.status, 1, "{refused}");
        assert!(refused.stderr.contains("ambiguous site definition"), "{refused}");
        assert_eq!(m.read(PUBLISHED), published);
    }
    assert_eq!(m.prop("conductor-proxy.service", "Result"), "success");
    let reload = m.try_run("systemctl reload conductor-proxy");
    assert_eq!(reload.status, 1, "{reload}");

    // Caddy's own reload may cost a connection; what came before may not.
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(seen);
    m.run("cp /root/Caddyfile /etc/caddy/Caddyfile; conductor service reload shop");
    assert!(m.read(PUBLISHED).contains("http://store.localhost"));
    assert!(m.run("curl --silent --fail http://store.localhost/").starts_with("1 "));
}

fn reloads_only_for_a_change(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let before = caddy_reloads(m);
    for _ in 0..20 {
        m.run("systemctl daemon-reload; systemctl reload shop; systemctl reload conductor-proxy");
    }
    m.run("conductor daemon-reload");
    shop.declare(m, "2");
    Shop::new(3).declare(m, "2");
    assert_eq!(caddy_reloads(m), before, "neither a new generation nor another scale changes a byte");
    shop.extra(STORE).declare(m, "2");
    assert_ne!(caddy_reloads(m), before, "another route does");
}

fn sockets_are_for_the_proxy_alone(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let socket = format!("/run/conductor/sockets/shop-{}/1", shop::generation(m));
    assert_eq!(m.run(&format!("stat --format='%a %U %G' {socket}")), "660 root conductor-proxy\n");
    let as_user = |user: &str, groups: &str| {
        let slot = "/run/conductor/slots/shop/1";
        let command =
            format!("setpriv --reuid={user} --regid={user} {groups} curl --silent --unix-socket {slot} http://shop/");
        m.try_run(&command).status
    };
    m.run("useradd --user-group somebody");
    assert_eq!(as_user("somebody", "--clear-groups"), 7, "curl: failed to connect");
    assert_eq!(as_user("caddy", "--clear-groups"), 7, "the group alone opens it");
    assert_eq!(as_user("caddy", "--groups=conductor-proxy"), 0);
    assert_eq!(m.run(&format!("stat --format=%a {PUBLISHED}")), "644\n");
    let world = "find /run/conductor /etc/conductor /var/lib/conductor -perm /o+w ! -type l";
    assert_eq!(m.run(world), "", "writable for everybody");
}

fn publishes_nothing_partial(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let declared = format!("{}/service.toml", shop::DECLARED);
    let toml = m.read(&declared);
    let one = m.run(&format!("sha256sum <{PUBLISHED}"));
    m.write(&declared, &format!("{toml}\n{STORE}\n"));
    m.run("systemctl reload shop");
    let two = m.run(&format!("sha256sum <{PUBLISHED}"));
    assert_ne!(one, two);

    let watch = m.spawn(&format!("while ! test -e /root/enough; do sha256sum <{PUBLISHED}; done | sort | uniq -c"));
    let reloads = m.spawn("for i in $(seq 30); do systemctl daemon-reload; done");
    m.write("/root/one", &toml);
    m.write("/root/two", &format!("{toml}\n{STORE}\n"));
    let mut publications = 0;
    let mut reloads = Some(reloads);
    while reloads.as_mut().is_some_and(conductor_machine::command::Background::is_running) {
        let text = if publications % 2 == 0 { "/root/one" } else { "/root/two" };
        m.run(&format!("cp {text} {declared}.new; mv {declared}.new {declared}; systemctl reload conductor-proxy"));
        publications += 1;
    }
    reloads.take().expect("it was there").finish();
    m.run("touch /root/enough");
    let seen = watch.finish();
    for line in seen.lines() {
        assert!(line.ends_with(one.trim()) || line.ends_with(two.trim()), "{seen}{one}{two}");
    }
    m.note(format!("{publications} publications during 30 daemon-reloads"));
    // Caddy may reset a connection that its previous configuration accepts while the last reload ends.
    m.until("it serves", 10 * SECOND, || {
        m.try_run(&format!("curl --silent --fail http://{}/", shop::HOST)).stdout.starts_with("1 ")
    });
}

fn stopped_service_answers_503(m: &mut Machine) {
    let head = |path: &str| m.run(&format!("curl --silent --include --max-time 5 http://{}{path}", shop::HOST));
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let own = head("/status/502");
    assert!(own.starts_with("HTTP/1.1 502") && own.to_lowercase().contains("x-version: 1"), "{own}");
    m.run("systemctl stop shop");
    let start = Instant::now();
    let answer = head("/");
    let took = start.elapsed();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\nRetry-After: 1\r\n"), "{answer}");
    assert!(took < SECOND, "{took:?}");
    m.note(format!("503 after {} ms", took.as_millis()));
    m.run("systemctl start shop");
    assert!(shop::get(m).starts_with("1 "));
}
