//! `conductor service VERB`, under load where traffic could be lost, and what is said when a verb fails.

use std::collections::BTreeMap;
use std::time::Duration;

use conductor_machine::load::Seen;
use conductor_machine::machine::{Machine, Output, Running};
use serde_json::Value;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("verbs":
    start_and_stop_say_what_happened,
    restart_rolls_the_same_configuration,
    scale_changes_no_generation,
    enable_and_disable_are_for_the_next_boot,
    set_lays_values_over,
    the_last_command_has_the_last_word,
    rollback_under_load,
    rollback_after_a_reboot,
    rollback_brings_its_drop_ins,
    rollback_that_fails,
    rollback_of_a_packaged_service,
    five_generations_are_kept,
    show_names_the_file_of_each_value,
    env_is_what_processes_get,
    deployments_are_listed,
    logs_are_the_journal,
    verbs_below_another_root,
);

const OVER: &str = "/etc/conductor/services/shop.d";

/// What a verb prints; it must succeed.
#[track_caller]
fn service(m: &Machine, words: &str) -> String {
    m.run(&format!("conductor service {words}"))
}

/// A verb that must fail, saying these things.
#[track_caller]
fn refused(m: &Machine, words: &str, code: i32, says: &[&str]) -> Output {
    let output = m.try_run(&format!("conductor service {words}"));
    assert_eq!(output.status, code, "{words}: {output}");
    for say in says {
        assert!(output.stderr.contains(say), "{words} does not say {say:?}: {output}");
    }
    output
}

#[track_caller]
fn without_failures(m: &Machine, load: Running) -> Seen {
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(&seen);
    seen
}

/// All that is declared, for telling whether a refused verb left anything.
fn declared(m: &Machine) -> String {
    m.run("cd /etc/conductor/services; find . -type f -o -type l | sort | xargs tail -n +1; find . | sort")
}

fn is_active(m: &Machine, concurrency: u32) {
    assert_eq!(shop::deployments(m), shop::active(&shop::generation(m), 1..=concurrency));
}

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
    refused(m, "start shop", 1, &["GET /healthz", "500", "its last log lines:"]);
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
    refused(m, "scale shop 4", 1, &["shop: what was declared before stands again"]);
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

    let before = (declared(m), shop::generation(m), shop::deployments(m));
    refused(
        m,
        "set shop concurency=4",
        3,
        &["60-set.toml:", "concurency: there is no such key here", "did you mean `concurrency`?"],
    );
    refused(
        m,
        "set shop concurrency=four",
        3,
        &["a whole number, 0 or more is expected here, not the string \"four\""],
    );
    refused(m, "set shop config.A=1 deploy.drain_timeout=soon", 3, &["\"soon\" is not a time span"]);
    refused(m, "set shop health.tcp=true", 3, &["more than one check"]);
    refused(m, "set shop concurrency", 2, &["is not KEY=VALUE"]);
    refused(m, "set shop", 2, &["KEY=VALUE"]);
    refused(
        m,
        "set shop health.http=/nosuch health.status=[500] deploy.health_timeout=1s",
        1,
        &["GET /nosuch", "what was declared before stands again"],
    );
    assert_eq!((declared(m), shop::generation(m), shop::deployments(m)), before);

    let said = service(m, "set shop concurrency= exec.environment.VERSION= deploy.drain_timeout= nothing=");
    assert!(said.contains("nothing was not set by `conductor service set`"), "{said}");
    service(m, "set shop systemd.service.ReadOnlyPaths= config.EMPTY= config.NAME=");
    assert!(!m.try_run(&format!("test -e {OVER}")).success(), "nothing is left over it");
    assert!(shop::get(m).starts_with("1 "));
    without_failures(m, load);

    let generation = shop::generation(m);
    assert_eq!(service(m, "set shop config.LATER=1 --no-start"), "shop: set; nothing was rolled\n");
    assert_eq!(service(m, "set shop config.LATER=1 --no-start"), "shop: set already\n");
    assert_eq!(shop::generation(m), generation);
    m.run("conductor daemon-reload");
    assert_ne!(shop::generation(m), generation);
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

fn rollback_under_load(m: &mut Machine) {
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
    assert!(said.starts_with(&format!("shop: back to generation {second}, of 20")), "{said}");
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
        refused(m, "rollback shop zz", 1, &["no generation \"zz\" is kept; there are", "GENERATION", "SINCE"]);
    let line = |id: &str| unknown.stderr.lines().find(|line| line.contains(id)).unwrap_or_default().to_owned();
    assert!(line(&first).ends_with("serves"), "{unknown}");
    for part in ["description, exec.environment.VERSION, more.txt", "Z"] {
        assert!(line(&third).contains(part), "{unknown}");
    }
    assert!(!line(&second).contains("more.txt"), "{unknown}");
    refused(m, "rollback shop ''", 1, &["more than one generation \"\" is kept"]);
}

fn rollback_after_a_reboot(m: &mut Machine) {
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

fn rollback_brings_its_drop_ins(m: &mut Machine) {
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
    assert!(now != first && said.contains(&format!("its declaration compiles to {now} now")), "{said}");
    assert!(shop::get(m).starts_with("1 "));
}

fn rollback_that_fails(m: &mut Machine) {
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
    refused(
        m,
        &format!("rollback shop {first}"),
        1,
        &["shop: what was declared before stands again", "goes on serving"],
    );
    assert_eq!(declared(m), before);
    assert_eq!(shop::deployments(m), shop::active(&generation, 1..=2));
    let seen = without_failures(m, load);
    assert_eq!(seen.versions.keys().collect::<Vec<_>>(), ["2"]);
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.reboot();
    assert!(shop::get(m).starts_with("2 "));
}

fn rollback_of_a_packaged_service(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let vendor = "/usr/lib/conductor/services";
    m.run(&format!("mkdir -p {vendor}; mv {} {vendor}/; conductor daemon-reload", shop::DECLARED));
    let first = shop::generation(m);
    m.run(&format!("sed -i 's/VERSION = .*/VERSION = \"2\" }}/' {vendor}/shop/service.toml; conductor daemon-reload"));
    assert!(shop::get(m).starts_with("2 "));
    let said = service(m, "rollback shop");
    assert!(
        said.contains(&format!("{}/service.toml hides {vendor}/shop/service.toml from now on", shop::DECLARED)),
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
        refused(m, "set shop health.status=[500] deploy.health_timeout=500ms", 1, &["stands again"]);
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

fn show_names_the_file_of_each_value(m: &mut Machine) {
    let vendor = "/usr/lib/conductor/services";
    m.copy_app("/usr/local/bin/app");
    m.write(&format!("{vendor}/shop/service.toml"), "concurrency = 1\n[exec]\ncommand = [\"/usr/local/bin/app\"]\n");
    m.write(&format!("{vendor}/shop.d/30-site.toml"), "concurrency = 2\nconfig = { A = \"vendor\", B = \"vendor\" }\n");
    m.write(&format!("{vendor}/shop.d/40-masked.toml"), "concurrency = 9\n");
    m.write("/run/conductor/services/shop.d/35-run.toml", "config.B = \"run\"\n");
    m.run(&format!("mkdir -p {OVER}; ln -s /dev/null {OVER}/40-masked.toml"));
    m.write(&format!("{OVER}/30-site.toml"), "# hides the vendor's\nconfig = { A = \"etc\" }\n");
    m.run("conductor daemon-reload");
    service(m, "scale shop 3");
    let said = service(m, "show shop --sources");
    let lines = [
        ("concurrency = 3", format!("{OVER}/50-scale.toml:2")),
        ("A = \"etc\"", format!("{OVER}/30-site.toml:2")),
        ("B = \"run\"", "/run/conductor/services/shop.d/35-run.toml:1".to_owned()),
        ("command = [\"/usr/local/bin/app\"]", format!("{vendor}/shop/service.toml:3")),
        ("# declared in:", format!("{vendor}/shop/service.toml")),
    ];
    for (text, source) in lines {
        assert!(said.lines().any(|line| line.starts_with(text) && line.ends_with(&source)), "{text} {source}: {said}");
    }
    assert!(!said.contains("masked"), "{said}");

    m.run(&format!("mkdir -p {}; cp {vendor}/shop/service.toml {}/", shop::DECLARED, shop::DECLARED));
    let said = service(m, "show shop --sources");
    assert!(said.starts_with(&format!("# hidden:       {vendor}/shop/service.toml\n")), "{said}");

    // What is shown is a declaration of the same.
    m.run("mkdir /root/again; conductor service show shop >/root/again/service.toml");
    let units = |what: &str| m.run(&format!("conductor render {what} | grep -v 'service.toml'"));
    assert_eq!(units("/root/again --name shop"), units("shop"));
}

/// Variables by name, of `NAME=value` lines or what environ(7) has.
fn variables(text: &str, separator: char) -> BTreeMap<String, String> {
    let pairs = text.split(separator).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What systemd sets of itself, systemd.exec(5).
const SYSTEMD: &[&str] = &[
    "PATH",
    "LANG",
    "USER",
    "LOGNAME",
    "HOME",
    "SHELL",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "LISTEN_PIDFDID",
];

fn env_is_what_processes_get(m: &mut Machine) {
    let extra = "[config]\nODD = \"50 % of \\\"x\\\" $HOME \\\\ end\"\nLINES = \"one\\ntwo\"\n";
    let drop_in =
        "[Service]\nEnvironment=\"UNIT=%p/%i\" 'QUOTED=a \\x41 \"b\"' PLAIN=1\\\n  TWO=2\nEnvironment=PERCENT=%%\n";
    m.write(&format!("{OVER}/50-more.conf"), drop_in);
    Shop::new(2).extra(extra).declare(m, "1");
    let generation = shop::generation(m);
    for instance in [1, 2] {
        let unit = format!("shop-{generation}@{instance}.service");
        let pid = m.prop(&unit, "MainPID");
        let mut there = variables(&m.read(&format!("/proc/{pid}/environ")), '\0');
        there.retain(|name, _| !SYSTEMD.contains(&name.as_str()));
        let json = m.run(&format!("conductor deployment env {unit} --json"));
        let said: BTreeMap<String, String> = serde_json::from_str(&json).expect("variables");
        assert_eq!(said, there);
        assert_eq!(said["UNIT"], format!("shop-{generation}/{instance}"));
        let by_name = m.run(&format!("conductor deployment env shop-{generation}-{instance} --json"));
        assert_eq!(by_name, json);
    }
    let common: BTreeMap<String, String> = serde_json::from_str(&service(m, "env shop --json")).expect("variables");
    let own = ["CONDUCTOR_DEPLOYMENT", "CONDUCTOR_DEPLOYMENT_DIR", "CONDUCTOR_INSTANCE", "CONDUCTOR_SOCKET", "UNIT"];
    assert!(own.iter().all(|name| !common.contains_key(*name)), "{common:?}");
    assert_eq!((common["VERSION"].as_str(), common["LINES"].as_str()), ("1", "one\ntwo"));
    let text = service(m, "env shop");
    assert!(text.lines().any(|line| line == "CONDUCTOR_SERVICE=shop"), "{text}");

    // An old deployment's is that of its generation, not of what is declared since.
    m.run(&format!("sed -i 's/VERSION = .*/VERSION = \"2\" }}/' {}/service.toml", shop::DECLARED));
    assert!(service(m, "env shop").contains("VERSION=1\n"));
    service(m, "stop shop");
    assert!(service(m, "env shop").contains("VERSION=2\n"), "what would serve");
    let gone = m.try_run(&format!("conductor deployment env shop-{generation}@1"));
    assert_eq!(gone.status, 1, "{gone}");
    assert!(gone.stderr.contains("does not run; `conductor deployment list` shows what does"), "{gone}");
}

fn deployments_are_listed(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let generation = shop::generation(m);
    let unit = format!("shop-{generation}@2.service");
    let pid = m.prop(&unit, "MainPID");
    let rows: Value = serde_json::from_str(&m.run("conductor deployment list --json")).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
    assert_eq!((&rows[1]["unit"], &rows[1]["state"]), (&unit.as_str().into(), &"active".into()));
    assert_eq!((rows[1]["main_pid"].to_string(), &rows[1]["service"]), (pid.clone(), &"shop".into()));
    assert_eq!(rows[1]["slots"], serde_json::json!([2, 4, 6, 8, 10, 12]));
    let text = m.run("conductor deployment list shop");
    let line = text.lines().find(|line| line.starts_with(&unit)).expect("its line");
    assert!(line.contains(" active ") && line.contains(&format!(" {pid} ")) && line.contains("Z "), "{text}");
    let shown = m.run(&format!("conductor deployment show {}", unit.trim_end_matches(".service")));
    for part in
        [format!("pid: {pid}"), format!("socket: /run/conductor/sockets/shop-{generation}/2"), "slots: 2 4 6".into()]
    {
        assert!(shown.contains(&part), "no {part}: {shown}");
    }
    for (code, words) in [(1, "list nosuch"), (2, "show nosuch"), (1, "show nosuch-0123456789ab@1"), (2, "env ../x")] {
        let output = m.try_run(&format!("conductor deployment {words}"));
        assert_eq!(output.status, code, "{words}: {output}");
    }
    service(m, "stop shop");
    assert_eq!(m.run("conductor deployment list"), "no deployment runs\n");
}

fn logs_are_the_journal(m: &mut Machine) {
    m.write_executable("/root/shop/hello", "#!/bin/sh\necho \"hello from $CONDUCTOR_INSTANCE\"\n");
    Shop::new(2).extra("[hooks]\npost_start = [\"./hello\"]\n").declare(m, "1");
    m.run("journalctl --sync; systemd-run --quiet --wait --unit=shop-other echo hello from another");
    let logs = service(m, "logs shop -- --no-pager");
    for part in ["hello from 1", "hello from 2"] {
        assert!(logs.contains(part), "no {part}: {logs}");
    }
    assert!(logs.contains("shop.service - Shop 1"), "what systemd says of it: {logs}");
    assert!(!logs.contains("another"), "{logs}");
    let last = service(m, "logs shop -n 1 -- --output=cat");
    assert_eq!(last.lines().count(), 1, "{last}");
    let one = m.run(&format!("conductor deployment logs shop-{}@2 -- --output=cat", shop::generation(m)));
    assert!(one.contains("hello from 2") && !one.contains("hello from 1"), "{one}");

    let mut follow = m.spawn("timeout 3 conductor service logs shop -f -n 0 -- --output=cat || true");
    std::thread::sleep(Duration::from_millis(500));
    assert!(follow.is_running());
    service(m, "scale shop 3");
    let seen = follow.finish();
    assert!(seen.contains("hello from 3") && !seen.contains("hello from 1"), "{seen}");
}

fn verbs_below_another_root(m: &mut Machine) {
    m.copy_app("/srv/root/usr/local/bin/app");
    let text = "concurrency = 2\n[exec]\ncommand = [\"/usr/local/bin/app\"]\n";
    m.write("/srv/root/etc/conductor/services/web/service.toml", text);
    let here = |words: &str| m.run(&format!("conductor --root /srv/root service {words}"));
    assert_eq!(here("set web config.A=1 concurrency=3 --no-start"), "web: set; nothing was rolled\n");
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
