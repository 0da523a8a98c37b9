//! What is on disk cannot be read, is garbled, or is called like something else.

use std::time::Duration;

use conductor_machine::machine::Machine;

use super::super::shop::{self, DECLARED, Shop};
use crate::scenario::scenarios;

const STAYS: &str = "`daemon-reload` names what it cannot read and fails; the service keeps its processes and its \
     history, and with the declaration readable again everything is as declared";

scenarios!("attacks":
    few_descriptors: "`daemon-reload` runs with 5 to 18 descriptors"
        => "whatever it cannot open, no service is taken for deleted: each keeps its processes",
    declarations_out_of_reach: "the declarations, one of them or its service.toml are links to nothing or loops" => STAYS,
    garbled_state: "target.json, model.json or units.json of a running service is empty, cut, garbage or a directory"
        => "others are reloaded, a process that is killed comes back, and the next `daemon-reload` restores the file",
    garbled_history: "stored generations lose files or their declaration, or are links, files or unreadable; foreign names are beside \
        them; the files of the one that runs are garbage"
        => "no command hangs or panics, what runs serves, and the next declare stores the files again",
    names_of_others: "a service is called like a user of the machine, or like conductor's own units"
        => "its processes are another user's, and conductor's names are refused",
);

/// Fails unless the service runs as before: the same processes answer.
#[track_caller]
fn assert_untouched(m: &Machine, what: &str, processes: &str) {
    assert_eq!(m.run("pgrep --exact app"), processes, "{what}");
    shop::get(m);
}

fn few_descriptors(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    Shop::new(2).declare(m, "2");
    let processes = m.run("pgrep --exact app");
    let history = m.run("ls /var/lib/conductor/generations/shop");
    for most in 5..=18 {
        let output = m.try_run(&format!("ulimit -n {most}; timeout 250 conductor daemon-reload"));
        assert!(!output.success() && !output.stderr.contains("panicked"), "{most}: {output}");
        assert_untouched(m, &format!("{most}: {output}"), &processes);
    }
    assert_eq!(m.run("ls /var/lib/conductor/generations/shop"), history);
    assert!(m.run("conductor daemon-reload").contains("every service is as declared"));
}

fn declarations_out_of_reach(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let processes = m.run("pgrep --exact app");
    for (what, moved, target) in [
        (
            "the file is on a file system that is not mounted",
            format!("{DECLARED}/service.toml"),
            "/srv/away/service.toml",
        ),
        ("the file is a loop", format!("{DECLARED}/service.toml"), "service.toml"),
        ("the directory is on a file system that is not mounted", DECLARED.to_owned(), "/srv/away/shop"),
        ("the directory is a loop", DECLARED.to_owned(), "shop"),
        ("all are on a file system that is not mounted", "/etc/conductor/services".to_owned(), "/srv/away"),
        ("all are a loop", "/etc/conductor/services".to_owned(), "services"),
        ("all of conductor's configuration is away", "/etc/conductor".to_owned(), "/srv/away"),
    ] {
        m.run(&format!("mv {moved} /root/moved; ln -s {target} {moved}"));
        let output = m.try_run("conductor daemon-reload");
        assert!(!output.success() && output.stderr.contains("cannot be read"), "{what}: {output}");
        assert_untouched(m, what, &processes);
        for command in ["conductor plan", "conductor status", "conductor service list", "conductor check"] {
            let output = m.try_run(command);
            assert!(!output.stderr.contains("panicked"), "{what}: {command}: {output}");
        }
        assert!(!m.try_run("conductor plan").stdout.contains("no longer declared"), "{what}");
        m.run(&format!("rm {moved}; mv /root/moved {moved}"));
        assert!(m.run("conductor daemon-reload").contains("every service is as declared"), "{what}");
        assert_untouched(m, what, &processes);
    }
}

/// Declares the same application under another name, as a version.
fn declare_other(m: &Machine, name: &str, version: u32) {
    m.run(&format!(
        "place=/etc/conductor/services/{name}; mkdir -p $place; cp {DECLARED}/app $place
        sed 's/shop.localhost/{name}.localhost/; s/VERSION = \"[0-9]*\"/VERSION = \"{version}\"/' {DECLARED}/service.toml \
            >$place/service.toml"
    ));
}

fn garbled_state(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let snapshot = format!("/run/conductor/generations/shop/{}", shop::generation(m));
    let unit = format!("shop-{}@1.service", shop::generation(m));
    let target = "/run/conductor/generations/shop/target.json".to_owned();
    let mut version = 10;
    for file in [target, format!("{snapshot}/model.json"), format!("{snapshot}/units.json")] {
        for garble in [": >$f", "truncate --size=20 $f", "head -c 400 /dev/urandom >$f", "rm $f; mkdir $f"] {
            let what = format!("{file}: {garble}");
            m.run(&format!("f={file}; {garble}"));
            // The delay of a restart grows with their number.
            m.run(&format!("systemctl reset-failed {unit}; systemctl kill --signal=KILL {unit}"));
            m.until(&format!("{what}: the process is back"), Duration::from_secs(40), || {
                m.prop(&unit, "ActiveState") == "active"
            });
            shop::get(m);
            version += 1;
            declare_other(m, "other", version);
            let output = m.try_run("conductor daemon-reload");
            assert!(!output.stderr.contains("panicked"), "{what}: {output}");
            let answer = m.run("curl --silent --fail --max-time 5 http://other.localhost/");
            assert!(answer.starts_with(&version.to_string()), "another service is reloaded: {what}: {answer} {output}");
            shop::get(m);
            assert!(m.run("conductor daemon-reload").contains("every service is as declared"), "{what}: {output}");
            m.run(&format!("test -f {file} && head -c 1 {file} | grep -q '{{' && tail -c 1 {file} | grep -q '}}'"));
        }
    }
}

/// What happens to a stored generation, in $old below the service's history.
const GARBLED: &[&str] = &[
    "rm $old/declared/service.toml",
    ": >$old/declared/service.toml",
    "rm -r $old/files",
    "rm -r $old/declared",
    "rm -r $old/files; ln -s /etc $old/files",
    "rm -r $old/declared; ln -s loop $old/declared",
    "mkdir foreign; touch 0123456789ab; ln -s / 0123456789ac",
    "rm $old/served; mkdir $old/served",
    "chmod 000 $old",
    "touch -d 2035-01-01 $old",
    "rm -r $old; ln -s $new $old",
    "head -c 400 /dev/urandom >$old/declared/service.toml",
];

fn garbled_history(m: &mut Machine) {
    let shop = Shop::new(1);
    let generations = ["1", "2", "3"].map(|version| {
        shop.declare(m, version);
        shop::generation(m)
    });
    let history = "/var/lib/conductor/generations/shop";
    let place = format!("cd {history}; old={}; new={}", generations[1], generations[2]);
    for garble in GARBLED {
        m.run(&format!("cp -a {history} /root/history; {place}; {garble}"));
        for command in [
            &format!("service rollback shop {}", generations[1]),
            "service rollback shop",
            "service status shop",
            "service history shop",
            "plan",
            "check",
            "daemon-reload",
            "service declare /root/shop VERSION=4",
        ] {
            let output = m.try_run(&format!("timeout 250 conductor {command}"));
            assert!(output.status <= 4 && !output.stderr.contains("panicked"), "{garble}: {command}: {output}");
            shop::get(m);
        }
        shop::assert_serves(m, "4", 1);
        m.run(&format!("rm -rf {history}; mv /root/history {history}"));
        shop.declare(m, "3");
    }
    let running = format!("{history}/{}/files/app", shop::generation(m));
    m.run(&format!("echo garbage >/root/garbage; chmod 755 /root/garbage; mv /root/garbage {running}"));
    m.run("conductor daemon-reload");
    assert!(shop::get(m).starts_with("3 "), "its process goes on");
    shop.declare(m, "3");
    m.run(&format!("cmp {DECLARED}/app {running}"));
    m.run("systemctl restart shop");
    shop::assert_serves(m, "3", 1);
}

fn names_of_others(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    m.run("useradd --create-home mallory");
    for name in ["cgi", "proxy", "bridge", "a.service", "hello.d", "-.mount"] {
        let dir = format!("/root/{name}");
        m.run(&format!("mkdir -p -- '{dir}'; cp {DECLARED}/service.toml {DECLARED}/app '{dir}'"));
        let output = m.try_run(&format!("conductor check '{dir}'"));
        assert!(!output.success() && output.stderr.contains("name"), "{name}: {output}");
    }
    declare_other(m, "mallory", 2);
    m.run("conductor daemon-reload");
    let answer = m.run("curl --silent --fail --max-time 5 http://mallory.localhost/");
    let process = answer.split_whitespace().nth(1).expect("a process");
    assert_ne!(m.run(&format!("stat --format=%u /proc/{process}")), m.run("id -u mallory"));
}
