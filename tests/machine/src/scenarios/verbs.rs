//! `conductor service VERB`, under load where traffic could be lost, and the errors of verbs that fail.

use conductor_machine::machine::Machine;

use super::service::{OVER, declared, is_active, refused, service, without_failures};
use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("verbs":
    start_and_stop_say_what_happened,
    restart_rolls_the_same_configuration,
    scale_changes_no_generation,
    enable_and_disable_are_for_the_next_boot,
    verbs_below_another_root,
);

fn start_and_stop_say_what_happened(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let generation = shop::generation(m);
    let serves = format!("shop: generation {generation} serves with 2 of 2 deployments\n");
    assert_eq!(service(m, "stop shop"), "shop: stopped\n");
    assert_eq!(shop::deployments(m), Vec::<String>::new());
    assert_eq!(service(m, "stop shop"), "shop: was not running\n");
    assert_eq!(service(m, "start shop"), serves);
    assert_eq!(service(m, "start shop"), serves, "it runs already");
    assert!(shop::get(m).starts_with("1 "));
    for verb in ["start", "stop", "restart", "scale", "enable", "disable", "rollback", "show", "env"] {
        let more = if verb == "scale" { " 2" } else { "" };
        refused(m, &format!("{verb} nosuch{more}"), 1, &["no service nosuch is declared in /etc/conductor/services"]);
    }
    assert_eq!(m.run("find /run/conductor /etc/conductor /var/lib/conductor -name '*nosuch*'"), "");

    service(m, "stop shop");
    m.run(&format!("sed -i 's|\"./app\"|\"./app\", \"--unhealthy\"|' {}/service.toml", shop::DECLARED));
    m.write(&format!("{OVER}/50-quick.toml"), "deploy.health_timeout = \"1s\"\n");
    refused(m, "start shop", 1, &["GET /healthz", "500", "the last log lines of shop-"]);
    m.run("systemctl stop shop");
}

fn restart_rolls_the_same_configuration(m: &mut Machine) {
    Shop::new(3).declare(m, "1");
    let load = m.load(shop::load());
    let mut before = vec![shop::generation(m)];
    // Faster than once a second.
    for _ in 0..5 {
        let said = service(m, "restart shop");
        let generation = shop::generation(m);
        assert_eq!(said, format!("shop: generation {generation} serves with 3 of 3 deployments\n"));
        assert!(!before.contains(&generation), "{generation} again");
        is_active(m, 3);
        before.push(generation);
    }
    let seen = without_failures(m, load);
    assert_eq!(seen.versions.keys().collect::<Vec<_>>(), ["1"], "the same configuration");
    let file = m.read(&format!("{OVER}/50-restart.toml"));
    assert!(file.contains("[deploy]\nrestarted_at = \"20"), "{file}");

    let generation = shop::generation(m);
    Shop::new(3).declare(m, "1");
    assert_eq!(shop::generation(m), generation, "declaring the same is no restart");
    m.reboot();
    assert_eq!(shop::generation(m), generation);
    is_active(m, 3);

    service(m, "stop shop");
    let said = service(m, "restart shop");
    assert!(said.contains("is not running; `conductor service start shop`"), "{said}");
    assert_eq!(shop::deployments(m), Vec::<String>::new(), "who stopped it starts it");
}

fn scale_changes_no_generation(m: &mut Machine) {
    // The fourth deployment cannot start while /srv/full is there.
    let hook =
        "[hooks]\npre_start = [\"/bin/sh\", \"-c\", \"test ! -e /srv/full || test $$CONDUCTOR_INSTANCE -lt 4\"]\n";
    Shop::new(3).extra(hook).declare(m, "1");
    let generation = shop::generation(m);
    let load = m.load(shop::load());
    for concurrency in [5, 1, 3] {
        let said = service(m, &format!("scale shop {concurrency}"));
        let serves = format!("serves with {concurrency} of {concurrency} deployments\n");
        assert_eq!(said, format!("shop: generation {generation} {serves}"));
        assert_eq!(shop::deployments(m), shop::active(&generation, 1..=concurrency));
    }
    let before = declared(m);
    refused(
        m,
        "scale shop 13",
        3,
        &["50-scale.toml:2:15: concurrency: 13 is too large", "write 12 or less, or raise slots"],
    );
    refused(m, "scale shop 0", 3, &["0 is too small"]);
    refused(m, "scale shop many", 2, &["invalid value 'many'"]);
    m.write("/srv/full", "");
    refused(m, "scale shop 4", 1, &["shop: restored the previous declaration"]);
    assert_eq!(declared(m), before);
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=3));
    without_failures(m, load);
    assert_eq!(m.failed_units(), Vec::<String>::new());
    Shop::new(2).extra(hook).declare(m, "1");
    is_active(m, 3);
}

fn enable_and_disable_are_for_the_next_boot(m: &mut Machine) {
    let shop = Shop::new(1);
    shop.declare(m, "1");
    let pid = shop::get(m);
    let said = service(m, "disable shop");
    assert_eq!(said, "shop: disabled: nothing starts it at boot; nothing was stopped now\n");
    assert!(service(m, "disable shop").contains("disabled already"));
    assert_eq!(shop::get(m), pid, "it goes on running");
    m.run("conductor daemon-reload");
    assert_eq!(shop::get(m), pid);
    m.reboot();
    assert_eq!(m.prop("shop.service", "ActiveState"), "inactive");
    let said = service(m, "enable shop");
    assert_eq!(said, "shop: enabled: multi-user.target starts it; nothing was started now\n");
    assert!(service(m, "enable shop").contains("enabled already"));
    assert!(!m.try_run(&format!("test -e {OVER}")).success(), "nothing is left over it");
    assert_eq!(m.prop("shop.service", "ActiveState"), "inactive");
    m.reboot();
    assert!(shop::get(m).starts_with("1 "));

    // One that says so itself.
    shop.extra("[install]\nwanted_by = []\n").declare(m, "2");
    assert!(service(m, "disable shop").contains("disabled already"));
    service(m, "enable shop");
    assert!(m.read(&format!("{OVER}/50-install.toml")).contains("wanted_by = [\"multi-user.target\"]"));
    m.reboot();
    assert!(shop::get(m).starts_with("2 "));
}

fn verbs_below_another_root(m: &mut Machine) {
    m.copy_app("/srv/root/usr/local/bin/app");
    let text = "concurrency = 2\n[exec]\ncommand = [\"/usr/local/bin/app\"]\n";
    m.write("/srv/root/etc/conductor/services/web/service.toml", text);
    let here = |words: &str| m.run(&format!("conductor --root /srv/root service {words}"));
    assert_eq!(here("set web config.A=1 concurrency=3 --no-start"), "web: set, not applied\n");
    assert!(here("disable web").starts_with("web: disabled"));
    assert!(here("show web --sources").contains("60-set.toml:2"), "{}", here("show web --sources"));
    assert!(here("env web").contains("A=1\nCONDUCTOR_GENERATION="));
    assert!(here("list").contains(" 0/3 "));
    refused(m, "--root /nosuch list", 2, &["--root /nosuch: there is no such directory"]);
    assert_eq!(m.run("conductor --root /srv/root deployment list"), "no deployment runs\n");
    assert_eq!(m.run("ls /srv/root/etc/conductor/services/web.d"), "50-install.toml\n60-set.toml\n");
    assert!(here("enable web").starts_with("web: enabled"));
    for verb in ["scale web 3", "restart web", "rollback web", "start web", "stop web", "set web config.A=2"] {
        refused(m, &format!("--root /srv/root {verb}"), 2, &["--root is for commands that only read or write files"]);
    }
    assert_eq!(m.run("find /etc/conductor /run/conductor -name '*web*'"), "");
}
