//! Dependencies of services, and services that do not run on every machine.

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;
use serde_json::Value;

use crate::scenario::scenarios;

scenarios!("services":
    dependencies_are_declared_first_and_removed_with_the_last,
    boot_waits_for_ready,
    circles_and_failures_touch_nothing,
    held_back_is_no_failure,
);

/// A declaration's directory below /root, of a service without routes.
fn write(m: &Machine, name: &str, flags: &str, extra: &str) {
    m.copy_app("/usr/local/bin/app");
    let flags: Vec<_> = flags.split_whitespace().collect();
    let command: Vec<_> = std::iter::once("/usr/local/bin/app").chain(flags).collect();
    let text = format!("{extra}\n[exec]\ncommand = {command:?}\n[health]\nhttp = '/healthz'\n");
    m.write(&format!("/root/{name}/service.toml"), &text);
}

fn brings(names: &[&str]) -> String {
    let sections = names.iter().map(|name| format!("[[service]]\ndir = '../{name}'\nvars = {{ SIZE = 64 }}\n"));
    sections.collect()
}

/// Sections of dependencies without variables.
fn depends_on(names: &[&str]) -> String {
    names.iter().map(|name| format!("[[service]]\ndir = '../{name}'\n")).collect()
}

fn declare(m: &Machine, arguments: &str) -> Output {
    m.try_run(&format!("conductor service declare {arguments}"))
}

#[track_caller]
fn declared(m: &Machine, arguments: &str) -> String {
    let output = declare(m, arguments);
    assert!(output.success(), "{arguments}: {output}");
    output.stdout
}

/// Each service's name and state.
fn list(m: &Machine) -> Vec<(String, String)> {
    let rows: Value = serde_json::from_str(&m.run("conductor service list --json")).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    rows.as_array().expect("rows").iter().map(|row| (text(&row["name"]), text(&row["state"]))).collect()
}

fn active(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), "active".to_owned())).collect()
}

fn dependencies_are_declared_first_and_removed_with_the_last(m: &mut Machine) {
    // [exec] comes last in these files: the sections in double brackets are before it.
    write(m, "disk", "--version {{SIZE}}", "");
    write(m, "redis", "--version {{SIZE}}", &brings(&["disk"]));
    write(m, "shop", "", &brings(&["redis"]));
    write(m, "blog", "", &brings(&["redis", "disk"]));
    let said = declared(m, "/root/shop");
    let order: Vec<_> =
        said.lines().filter_map(|line| line.split_once(": generation ")).map(|(name, _)| name).collect();
    assert_eq!(order, ["disk", "disk", "redis", "redis", "shop", "shop"], "{said}");
    assert_eq!(list(m), active(&["disk", "redis", "shop"]));
    assert!(m.prop("shop.service", "Wants").contains("redis.service"));
    assert!(m.prop("shop.service", "After").contains("redis.service"));
    assert!(m.run("pgrep --list-full --exact app").contains("--version 64"));

    declared(m, "/root/blog");
    declared(m, "/root/disk SIZE=64");
    assert_eq!(list(m), active(&["blog", "disk", "redis", "shop"]));
    m.run("conductor service rm shop");
    assert_eq!(list(m), active(&["blog", "disk", "redis"]), "blog brings redis along, too");
    write(m, "blog", "", "");
    let said = declared(m, "/root/blog");
    assert!(said.contains("redis: no service depends on it any more\nredis: removed\n"), "{said}");
    assert_eq!(list(m), active(&["blog", "disk"]), "disk was declared by itself");
    m.run("conductor service rm blog; conductor service rm disk");
    assert_eq!(list(m), []);

    declared(m, "/root/shop --no-start");
    let states: Vec<_> = list(m).into_iter().map(|(name, state)| format!("{name} {state}")).collect();
    assert_eq!(states, ["disk inactive", "redis inactive", "shop inactive"]);
    m.run("rm -r /etc/conductor/services/shop; conductor daemon-reload");
    assert_eq!(list(m), [], "gone with the declaration that somebody deleted");
    assert_eq!(m.run("find /var/lib/conductor/generations /run/conductor -name '*redis*' -o -name '*disk*'"), "");
}

fn boot_waits_for_ready(m: &mut Machine) {
    write(m, "redis", "--start-delay 2s", "");
    write(m, "shop", "", &depends_on(&["redis"]));
    declared(m, "/root/shop");
    m.reboot();
    let time = |unit: &str, property: &str| -> u64 { m.prop(unit, property).parse().expect("microseconds") };
    assert_eq!(list(m), active(&["redis", "shop"]));
    let (begun, ready) = (
        time("redis.service", "InactiveExitTimestampMonotonic"),
        time("redis.service", "ActiveEnterTimestampMonotonic"),
    );
    assert!(ready - begun >= 2_000_000, "redis took its time: {begun} to {ready}");
    assert!(time("shop.service", "InactiveExitTimestampMonotonic") >= ready, "shop has waited for it");
}

fn circles_and_failures_touch_nothing(m: &mut Machine) {
    write(m, "redis", "", &depends_on(&["disk"]));
    write(m, "disk", "", &depends_on(&["shop"]));
    write(m, "shop", "", &depends_on(&["redis"]));
    let refused = declare(m, "/root/shop");
    assert_eq!(refused.status, 3, "{refused}");
    assert!(refused.stderr.contains("services depend on each other: shop → redis → disk → shop"), "{refused}");
    assert!(refused.stderr.contains("service.toml:2:7: service[0].dir"), "{refused}");
    assert_eq!(list(m), []);

    write(m, "disk", "", "");
    declared(m, "/root/shop");
    let before = m.run("pgrep --exact app; cat /etc/conductor/services/shop/service.toml");
    write(m, "queue", "--unhealthy", "[deploy]\nhealth_timeout = '1s'");
    write(m, "shop", "--version 2", &depends_on(&["redis", "queue"]));
    let refused = declare(m, "/root/shop");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("500 Internal Server Error: out of order"), "{refused}");
    assert!(refused.stderr.contains("shop: not declared: its dependency queue failed"), "{refused}");
    assert_eq!(m.run("pgrep --exact app; cat /etc/conductor/services/shop/service.toml"), before);
    assert_eq!(list(m), active(&["disk", "redis", "shop"]));

    // A new declaration that fails is removed together with its new dependencies.
    write(m, "queue", "", "");
    write(m, "shop", "--unhealthy", &format!("{}[deploy]\nhealth_timeout = '1s'", depends_on(&["redis", "queue"])));
    let refused = declare(m, "/root/shop");
    assert_eq!(refused.status, 1, "{refused}");
    assert_eq!(list(m), active(&["disk", "redis", "shop"]), "{refused}");
    m.run("cp -r /root/queue /srv/queue; conductor service declare /root/queue");
    write(m, "shop", "", "[[service]]\ndir = '/srv/queue'\n");
    let refused = declare(m, "/root/shop");
    assert!(refused.stderr.contains("queue is declared already, from /root/queue: give [[service]]"), "{refused}");
    m.run("conductor service rm queue");
    let missing = "[[service]]\ndir = '../nowhere'\n";
    write(m, "shop", "", missing);
    let refused = declare(m, "/root/shop");
    assert_eq!(refused.status, 3, "{refused}");
    assert!(refused.stderr.contains("there is no service.toml in /root/shop/../nowhere"), "{refused}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn held_back_is_no_failure(m: &mut Machine) {
    write(m, "web", "", "[condition]\nhost = 'other*'\npath = ['/usr', '!/run/off']\n");
    write(m, "shop", "", &depends_on(&["web"]));
    let said = declared(m, "/root/shop");
    assert!(said.contains("web: held back: host = \"other*\"\n"), "{said}");
    let states = |m: &Machine| list(m).into_iter().map(|(_, state)| state).collect::<Vec<_>>();
    assert_eq!(states(m), ["active", "held back: host = \"other*\""]);
    assert!(m.run("conductor service status web").contains("   state: held back: host = \"other*\"\n"));
    assert_eq!(m.run("conductor daemon-reload"), "every service is as declared\n", "that it is held back is declared");
    let plan = m.run("conductor plan web");
    assert!(plan.contains("held back: host = \"other*\"\n"), "{plan}");
    m.reboot();
    assert_eq!(states(m), ["active", "held back: host = \"other*\""]);
    assert_eq!(m.failed_units(), Vec::<String>::new());

    m.run("hostname other-1; touch /run/off");
    assert_eq!(states(m)[1], "held back: path = \"!/run/off\"");
    m.run("rm /run/off; conductor daemon-reload");
    assert_eq!(states(m), ["active", "active"]);
    m.run("hostname elsewhere; conductor daemon-reload");
    assert_eq!(states(m), ["active", "active"], "what runs goes on running");
}
