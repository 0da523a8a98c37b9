//! `conductor service rollback`, and the generations that it goes back to.

use conductor_machine::machine::Machine;

use super::service::{OVER, declared, refused, service, without_failures};
use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("rollback":
    under_load,
    after_a_reboot,
    brings_its_drop_ins,
    that_fails,
    of_a_packaged_service,
    five_generations_are_kept,
);

fn under_load(m: &mut Machine) {
    let shop = Shop::new(3);
    shop.declare(m, "1");
    refused(m, "rollback shop", 1, &["no other generation has served"]);
    let first = shop::generation(m);
    shop.declare(m, "2");
    let second = shop::generation(m);
    m.write("/root/shop/more.txt", "a file of version 3\n");
    shop.declare(m, "3");
    let third = shop::generation(m);
    let load = m.load(shop::load());

    let said = service(m, "rollback shop");
    assert!(said.starts_with(&format!("shop: rolling back to generation {second}, which served from 20")), "{said}");
    assert!(said.ends_with(&format!("shop: generation {second} serves with 3 of 3 deployments\n")), "{said}");
    assert_eq!(shop::deployments(m), shop::active(&second, 1..=3));
    let stored = m.run(&format!("cd {}; ls; cat service.toml .declared.json", shop::DECLARED));
    assert!(stored.starts_with("app\nservice.toml\n") && stored.contains("VERSION = \"2\""), "{stored}");
    assert!(stored.contains("\"VERSION\": \"2\""), "{stored}");

    // The one before is now the one that was left.
    service(m, "rollback shop");
    assert_eq!(shop::deployments(m), shop::active(&third, 1..=3));
    assert!(m.read(&format!("{}/more.txt", shop::DECLARED)).contains("version 3"));
    service(m, &format!("rollback shop {}", &first[..5]));
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=3));
    let again = service(m, &format!("rollback shop {first}"));
    assert!(again.ends_with("serves with 3 of 3 deployments\n"), "what serves already stays: {again}");
    let seen = without_failures(m, load);
    assert_eq!(seen.versions.len(), 3, "{:?}", seen.versions);

    let unknown =
        refused(m, "rollback shop zz", 1, &["no stored generation begins with \"zz\"", "GENERATION", "SINCE"]);
    let line = |id: &str| unknown.stderr.lines().find(|line| line.contains(id)).unwrap_or_default().to_owned();
    assert!(line(&first).ends_with("serves"), "{unknown}");
    for part in ["description, exec.environment.VERSION, more.txt", "Z"] {
        assert!(line(&third).contains(part), "{unknown}");
    }
    assert!(!line(&second).contains("more.txt"), "{unknown}");
    refused(m, "rollback shop ''", 1, &["several generations begin with \"\""]);
}

fn after_a_reboot(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let first = shop::generation(m);
    shop.declare(m, "2");
    m.reboot();
    assert!(shop::get(m).starts_with("2 "));
    service(m, "rollback shop");
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=2));
    m.reboot();
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=2), "a reboot agrees");
    assert!(shop::get(m).starts_with("1 "));

    // One that is stopped is not started by it.
    service(m, "stop shop");
    let said = service(m, "rollback shop");
    assert!(said.contains("is not running"), "{said}");
    service(m, "start shop");
    assert!(shop::get(m).starts_with("2 "));
}

fn brings_its_drop_ins(m: &mut Machine) {
    m.write("/usr/lib/conductor/services/shop.d/40-vendor.conf", "[Service]\nNice=3\n");
    m.write(&format!("{OVER}/50-nice.conf"), "[Service]\nNice=5\n");
    m.run(&format!("ln -s /dev/null {OVER}/40-vendor.conf"));
    Shop::new(1).declare(m, "1");
    service(m, "set shop config.MODE=old");
    let first = shop::generation(m);
    let before = declared(m);
    let kept = |m: &Machine| m.run(&format!("ls -A {OVER}"));

    m.run(&format!("rm {OVER}/50-nice.conf {OVER}/40-vendor.conf"));
    m.write(&format!("{OVER}/55-later.toml"), "config.LATER = 1\n");
    service(m, "set shop config.MODE=new");
    service(m, "scale shop 2");
    service(m, "disable shop");
    assert_ne!(shop::generation(m), first);
    let said = service(m, &format!("rollback shop {first}"));
    assert!(!said.contains("compiles to"), "{said}");
    assert_eq!(shop::deployments(m), shop::active(&first, 1..=2), "the scale stays");
    assert_eq!(kept(m), "40-vendor.conf\n50-install.toml\n50-nice.conf\n50-scale.toml\n60-set.toml\n");
    assert_eq!(m.prop(&format!("shop-{first}@1.service"), "Nice"), "5");
    m.run(&format!("rm {OVER}/50-install.toml {OVER}/50-scale.toml"));
    assert_eq!(declared(m), before);

    // A restart is a generation, too: the way back is the one before it.
    m.run("conductor daemon-reload");
    service(m, "restart shop");
    service(m, "rollback shop");
    assert_eq!(shop::generation(m), first);
    assert_eq!(declared(m), before);

    // What a package changed meanwhile is not conductor's to bring back.
    Shop::new(1).declare(m, "2");
    m.write("/usr/lib/conductor/services/shop.d/45-more.conf", "[Service]\nOOMScoreAdjust=100\n");
    let said = service(m, &format!("rollback shop {first}"));
    let now = shop::generation(m);
    assert!(now != first && said.contains(&format!("its declaration compiles to generation {now} now")), "{said}");
    assert!(shop::get(m).starts_with("1 "));
}

fn that_fails(m: &mut Machine) {
    // Version 1 is in order only as long as its file is there.
    m.write("/srv/database", "");
    let check = "[hooks]\npre_start = [\"/bin/sh\", \"-c\", \"test -e /srv/database || test $VERSION != 1\"]\n";
    let shop = Shop::new(2).extra(check);
    shop.declare(m, "1");
    let first = shop::generation(m);
    shop.declare(m, "2");
    service(m, "set shop config.A=1");
    let (generation, before) = (shop::generation(m), declared(m));
    m.run("rm /srv/database");
    let load = m.load(shop::load());
    refused(m, &format!("rollback shop {first}"), 1, &["shop: restored the previous declaration", "still serves"]);
    assert_eq!(declared(m), before);
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=2));
    let seen = without_failures(m, load);
    assert_eq!(seen.versions.keys().collect::<Vec<_>>(), ["2"]);
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.reboot();
    assert!(shop::get(m).starts_with("2 "));
}

fn of_a_packaged_service(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let vendor = "/usr/lib/conductor/services";
    m.run(&format!("mkdir -p {vendor}; mv {} {vendor}/; conductor daemon-reload", shop::DECLARED));
    let first = shop::generation(m);
    m.run(&format!("sed -i 's/VERSION = .*/VERSION = \"2\" }}/' {vendor}/shop/service.toml; conductor daemon-reload"));
    assert!(shop::get(m).starts_with("2 "));
    let said = service(m, "rollback shop");
    assert!(
        said.contains(&format!(
            "{}/service.toml takes precedence over {vendor}/shop/service.toml from now on",
            shop::DECLARED
        )),
        "{said}"
    );
    assert_eq!(shop::generation(m), first);
    assert!(shop::get(m).starts_with("1 "));
}

fn five_generations_are_kept(m: &mut Machine) {
    let shop = Shop::new(1);
    let mut generations = Vec::new();
    for version in 1..=7 {
        shop.declare(m, &version.to_string());
        generations.push(shop::generation(m));
        // What failed is no way back, and takes no place.
        refused(
            m,
            "set shop health.status=[500] deploy.health_timeout=500ms",
            1,
            &["restored the previous declaration"],
        );
    }
    let kept = m.run("ls -t /var/lib/conductor/generations/shop");
    let kept: Vec<_> = kept.lines().collect();
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert!(generations[2..].iter().all(|id| kept.contains(&id.as_str())), "{kept:?} of {generations:?}");
    service(m, &format!("rollback shop {}", generations[2]));
    assert!(shop::get(m).starts_with("3 "));
    shop.declare(m, "8");
    service(m, "rollback shop");
    assert!(shop::get(m).starts_with("3 "), "the one that was used again is the youngest");
}
