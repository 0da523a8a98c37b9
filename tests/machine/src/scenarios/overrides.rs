//! What lies over a declaration: values that commands set, and drop-ins.

use conductor_machine::machine::Machine;

use super::service::{OVER, declared, is_active, refused, service, without_failures};
use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("overrides":
    set_lays_values_over,
    the_last_command_has_the_last_word,
    drop_ins_lie_over_the_declaration,
);

fn set_lays_values_over(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let load = m.load(shop::load());
    service(m, "set shop exec.environment.VERSION=1.10 deploy.drain_timeout=10s concurrency=3");
    assert!(shop::get(m).starts_with("1.10 "), "a string where the key takes one: {}", shop::get(m));
    is_active(m, 3);
    let generation = shop::generation(m);
    service(m, "set shop concurrency=2");
    assert_eq!(shop::generation(m), generation);
    is_active(m, 2);
    service(m, r#"set shop 'systemd.service.ReadOnlyPaths=["/srv", "/opt"]' config.EMPTY='""' 'config."NAME"=a = b'"#);
    let file = m.read(&format!("{OVER}/60-set.toml"));
    for line in [
        "concurrency = 2",
        "drain_timeout = \"10s\"",
        "VERSION = \"1.10\"",
        "EMPTY = \"\"",
        "NAME = \"a = b\"",
        "ReadOnlyPaths = [\"/srv\", \"/opt\"]",
    ] {
        assert!(file.lines().any(|there| there == line), "no {line}: {file}");
    }

    assert_wrong_values_leave_nothing(m);
    let said = service(m, "set shop concurrency= exec.environment.VERSION= deploy.drain_timeout= nothing=");
    assert!(said.contains("nothing has no override to remove"), "{said}");
    service(m, "set shop systemd.service.ReadOnlyPaths= config.EMPTY= config.NAME=");
    assert!(!m.try_run(&format!("test -e {OVER}")).success(), "nothing is left over it");
    assert!(shop::get(m).starts_with("1 "));
    without_failures(m, load);

    let generation = shop::generation(m);
    assert_eq!(service(m, "set shop config.LATER=1 --no-start"), "shop: set, not applied\n");
    assert_eq!(service(m, "set shop config.LATER=1 --no-start"), "shop: already set\n");
    assert_eq!(shop::generation(m), generation);
    m.run("conductor daemon-reload");
    assert_ne!(shop::generation(m), generation);
}

fn assert_wrong_values_leave_nothing(m: &Machine) {
    let before = (declared(m), shop::generation(m), shop::deployments(m));
    refused(m, "set shop concurency=4", 3, &["60-set.toml:", "concurency: unknown key", "did you mean `concurrency`?"]);
    refused(m, "set shop concurrency=four", 3, &["expected a whole number, 0 or more, found the string \"four\""]);
    refused(m, "set shop config.A=1 deploy.drain_timeout=soon", 3, &["\"soon\" is not a time span"]);
    refused(m, "set shop health.tcp=true", 3, &["more than one check"]);
    refused(m, "set shop concurrency", 2, &["is not KEY=VALUE"]);
    refused(m, "set shop", 2, &["KEY=VALUE"]);
    refused(
        m,
        "set shop health.http=/nosuch health.status=[500] deploy.health_timeout=1s",
        1,
        &["GET /nosuch", "restored the previous declaration"],
    );
    assert_eq!((declared(m), shop::generation(m), shop::deployments(m)), before);
}

fn the_last_command_has_the_last_word(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    service(m, "set shop concurrency=2 config.A=1");
    service(m, "scale shop 3");
    is_active(m, 3);
    let file = m.read(&format!("{OVER}/60-set.toml"));
    assert!(file.contains("A = \"1\"") && !file.contains("concurrency"), "{file}");
    service(m, "set shop concurrency=2");
    is_active(m, 2);
    let before = declared(m);
    m.write(&format!("{OVER}/70-own.toml"), "concurrency = 1\n");
    refused(
        m,
        "scale shop 3",
        1,
        &["concurrency is set by /etc/conductor/services/shop.d/70-own.toml:1", "change it there"],
    );
    refused(m, "set shop concurrency=3", 1, &["70-own.toml:1"]);
    m.run(&format!("rm {OVER}/70-own.toml"));
    assert_eq!(declared(m), before);
    m.write(&format!("{OVER}/60-set.toml"), "concurrency = = 2\n");
    refused(m, "set shop concurrency=3", 3, &["60-set.toml:1:15", "not valid TOML"]);
}

fn drop_ins_lie_over_the_declaration(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let first = shop::generation(m);
    let over = "/etc/conductor/services/shop.d";
    m.write(&format!("{over}/50-scale.toml"), "concurrency = 2\n");
    m.run("conductor daemon-reload");
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=2), "scaled, not rolled");

    m.write(&format!("{over}/50-nice.conf"), "[Service]\nNice=5\n");
    m.run("conductor daemon-reload");
    let second = shop::generation(m);
    assert_eq!(shop::deployments(m), shop::active(&second, 1..=2));
    let unit = format!("shop-{second}@1.service");
    assert_eq!((m.prop(&unit, "Nice").as_str(), m.prop(&unit, "DropInPaths").ends_with("50-nice.conf")), ("5", true));
    assert_eq!(m.run(&format!("ps -o ni= {}", m.prop(&unit, "MainPID"))).trim(), "5");

    // A package's drop-in, and the administrator's mask for it.
    m.write("/usr/lib/conductor/services/shop.d/60-more.toml", "concurrency = 4\n");
    m.run("conductor daemon-reload");
    assert_eq!(shop::deployments(m), shop::active(&second, 1..=4));
    m.run(&format!(
        "ln -s /dev/null {over}/60-more.toml; ln -sf /dev/null {over}/50-nice.conf; conductor daemon-reload"
    ));
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=2), "as before the masked ones");

    // A package's service, and the mask for it.
    m.run("mkdir -p /usr/lib/conductor/services; mv /etc/conductor/services/shop /usr/lib/conductor/services/");
    m.run("rm -r /etc/conductor/services/shop.d /usr/lib/conductor/services/shop.d; conductor daemon-reload");
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=3));
    let refused = m.try_run("conductor service rm shop");
    assert_eq!(refused.status, 1, "{refused}");
    let remedy = "ln -s /dev/null /etc/conductor/services/shop";
    assert!(refused.stderr.contains(remedy), "{refused}");
    m.run(&format!("{remedy}; conductor daemon-reload"));
    assert_eq!(shop::deployments(m), Vec::<String>::new());
    assert_eq!(m.prop("shop.service", "LoadState"), "not-found");
}
