//! Where functions are found: their IDs, their aliases, and the one gateway that serves all.

use std::time::Duration;

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{self, ACT, DIR, EXEC, count, curl, declare, direct, get, ready, try_declare};

scenarios!("functions":
    addresses,
    an_alias_moves: "an alias moves to a newer function, ten times, under load" => "no request fails and no proxy is reloaded",
    all_in_one,
);

fn addresses(m: &mut Machine) {
    ready(m);
    let manifest = format!("aliases = [\"/act\", \"act.localhost\", \"other.localhost/deep\"]\ntls = \"off\"\n{EXEC}");
    let id = declare(m, "act", ACT, &manifest);
    assert_eq!(m.run(&format!("conductor cgi identify {DIR}/act")).trim(), id);
    let home = format!("/cgi/{id}");
    assert_eq!(get(m, &format!("{home}/x%20y")), (200, "here /x y\n".into()));
    assert_eq!(get(m, "/act/z"), (200, "here /z\n".into()));
    assert_eq!(curl(m, "/", "--header 'Host: act.localhost'"), (200, "here /\n".into()));
    assert_eq!(curl(m, "/deep/er", "--header 'Host: other.localhost'"), (200, "here /er\n".into()));
    assert_eq!(curl(m, "/shallow", "--header 'Host: other.localhost'").0, 404);
    assert_eq!(get(m, &format!("/cgi/{}/x", "0".repeat(64))).0, 404);

    // Declared again, nothing changes: no reload of systemd or the proxy.
    let before = m.prop(&format!("conductor-cgi-{id}.service"), "InvocationID");
    let inode = m.run(&format!("stat --format %i /etc/conductor/functions/{id}"));
    assert_eq!(m.run(&format!("conductor cgi declare {DIR}/act/function.toml")).trim(), id);
    assert_eq!(m.run(&format!("stat --format %i /etc/conductor/functions/{id}")), inode);
    assert_eq!(m.prop(&format!("conductor-cgi-{id}.service"), "InvocationID"), before);

    let list = m.run("conductor cgi list");
    assert!(list.contains(&id[..12]) && list.contains("running") && list.contains("/act act.localhost"), "{list}");
    let json = m.run("conductor cgi list --json");
    assert!(json.contains(&format!("\"id\": \"{id}\"")) && json.contains("\"mode\": \"pooled\""), "{json}");
    assert!(m.run(&format!("conductor render {id}")).contains("[Socket]"));
    for what in [&id, &format!("{DIR}/act")] {
        let said = m.run(&format!("conductor explain {what}"));
        assert!(said.contains("tls = \"off\"  (") && said.contains("        @1 path /act /act/*\n"), "{said}");
    }
    assert!(m.run("conductor check").contains("in order"));

    assert_addresses_are_taken(m, &id, &manifest);
    m.run(&format!("systemctl stop conductor-cgi-{id}.socket conductor-cgi-{id}.service"));
    assert_eq!(get(m, &home).0, 503);
    assert_eq!(get(m, "/act").0, 503);
    m.run("conductor daemon-reload");
    assert_eq!(get(m, "/act/again"), (200, "here /again\n".into()));
    m.reboot();
    assert_eq!(get(m, &format!("{home}/up")), (200, "here /up\n".into()));
    assert_eq!(get(m, "/act/up"), (200, "here /up\n".into()));
    assert_removal_takes_addresses(m, &id);
}

/// Another function has no right to its alias, nor to what a service is routed by.
fn assert_addresses_are_taken(m: &Machine, id: &str, manifest: &str) {
    let taken = try_declare(m, "thief", ACT, manifest);
    assert_eq!(taken.status, 3, "{taken}");
    assert!(taken.stderr.contains("belongs to the function \"act\"") && taken.stderr.contains(id), "{taken}");
    m.write("/root/shop/service.toml", "[exec]\ncommand = [\"/bin/true\"]\n[[route]]\npath = \"/shop\"\n");
    m.run("conductor service declare /root/shop --no-start");
    let taken = try_declare(m, "thief", ACT, &format!("aliases = [\"/shop\"]\n{EXEC}"));
    assert!(taken.status == 3 && taken.stderr.contains("the service shop"), "{taken}");
    let taken = m.try_run("mkdir /root/act && printf '[exec]\ncommand = [\"/bin/true\"]\n[[route]]\npath = \"/act\"\n' >/root/act/service.toml && conductor service declare /root/act --no-start");
    assert!(taken.status == 3 && taken.stderr.contains("the function \"act\""), "{taken}");
    m.run("rm -r /etc/conductor/services/shop");
}

/// The site on port 80 stays with the last function.
fn assert_removal_takes_addresses(m: &Machine, id: &str) {
    declare(m, "last", ACT, EXEC);
    let refused = m.try_run("conductor cgi rm ac");
    assert!(!refused.success(), "{refused}");
    assert_eq!(m.run(&format!("conductor cgi rm {}", &id[..4])).trim(), id);
    for path in [format!("/cgi/{id}").as_str(), "/act"] {
        assert_eq!(get(m, path).0, 404);
    }
    let last = m.run("conductor cgi list | sed -n 's/ .*last.*//p'");
    m.run(&format!("conductor cgi rm {last}"));
    assert_eq!(m.run("conductor cgi list"), "no function is declared; `conductor cgi declare MANIFEST` declares one\n");
    assert_eq!(
        m.run(
            "ls -A /etc/conductor/aliases /run/conductor/cgi; systemctl list-units --all --no-legend 'conductor-cgi-*'"
        )
        .replace('\n', " ")
        .trim(),
        "/etc/conductor/aliases:  /run/conductor/cgi:"
    );
}

fn an_alias_moves(m: &mut Machine) {
    ready(m);
    let manifest = format!("name = \"app\"\naliases = [\"/app\"]\n{EXEC}");
    let program = |version: u32| {
        format!("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\nX-Version: v{version}\\r\\n\\r\\nv{version}\\n'\n")
    };
    let mut before = declare(m, "app", &program(0), &manifest);
    let reloads = "journalctl --sync; journalctl --unit=caddy --output=cat | grep -c '^Reloaded caddy' || true";
    let count = m.run(reloads);
    let load = m.load(Load { clients: 4, path: "/app".into(), post: false, ..Load::default() });
    for version in 1..=10 {
        let id = declare(m, "app", &program(version), &manifest);
        m.run(&format!("conductor cgi rm {before}"));
        before = id;
    }
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(seen.versions.len(), 11, "{seen}");
    assert_eq!(m.run(reloads), count);
    m.note(format!("{} requests, 0 failed", seen.ok));
}

/// What the proxy follows.
fn by_alias(m: &Machine, alias: &str, path: &str) -> (u32, String) {
    curl(m, path, &format!("--unix-socket /etc/conductor/aliases/+{alias}"))
}

/// `conductor cgi serve` without an ID, for functions whose sockets systemd does not have.
fn all_in_one(m: &mut Machine) {
    ready(m);
    let program = |version: u32| format!("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nv{version}\\n'\n");
    let declare = |name: &str, program: &str, manifest: &str| {
        m.write_executable(&format!("{DIR}/{name}/act"), program);
        m.write(&format!("{DIR}/{name}/function.toml"), &format!("name = \"{name}\"\n{manifest}"));
        m.run(&format!("conductor cgi declare --no-start {DIR}/{name}")).trim().to_owned()
    };
    let systemds = function::declare(m, "systemds", ACT, EXEC);
    let manifest = format!("aliases = [\"/app\"]\n{EXEC}");
    let mut before = declare("app", &program(0), &manifest);
    let alone = declare("alone", ACT, &format!("mode = \"isolated\"\n{EXEC}"));
    m.run("systemd-run --quiet --unit=all --property=KillMode=mixed conductor cgi serve");
    let served = |id: &str| m.try_run(&format!("test -S /run/conductor/cgi/{id}")).success();
    m.until("it serves", Duration::from_secs(5), || served(&before));
    assert_eq!(by_alias(m, "app", "/x"), (200, "v0\n".into()));
    assert_eq!(get(m, "/app"), (200, "v0\n".into()));
    assert!(!served(&alone));
    let log = m.run("journalctl --sync; journalctl --unit=all --output=cat");
    assert!(log.contains(&format!("{systemds}: not serving: systemd has its socket")), "{log}");
    assert!(log.contains(&format!("{alone}: not serving: only systemd runs isolated functions")), "{log}");

    // One of another name comes beside it, the alias moves, and what had it goes.
    let other = declare("other", ACT, EXEC);
    m.until("the other is served", Duration::from_secs(5), || served(&other));
    for version in 1..=5 {
        let id = declare("app", &program(version), &manifest);
        m.until("it is served", Duration::from_secs(5), || served(&id));
        assert_eq!(get(m, "/app"), (200, format!("v{version}\n")));
        assert_eq!(by_alias(m, "app", "/x"), (200, format!("v{version}\n")));
        m.run(&format!("conductor cgi rm {before}"));
        m.until("the old one is not", Duration::from_secs(5), || !served(&before));
        assert_eq!(direct(m, &other, "/x", "").0, 200);
        before = id;
    }
    // What is in flight is finished, and what runs is nobody's any more.
    let slow = m.spawn(&format!("curl --silent --unix-socket /run/conductor/cgi/{other} http://x/slow"));
    m.until("it runs", Duration::from_secs(5), || count(m, "sleep 0.5") > 0);
    m.run("systemctl stop all");
    assert_eq!(slow.finish(), "slow\n");
    assert!(!served(&other) && !served(&before));
    // From here on it is systemd's.
    m.run("conductor daemon-reload");
    assert_eq!(get(m, "/app"), (200, "v5\n".into()));
    assert_eq!(m.failed_units(), Vec::<String>::new());
}
