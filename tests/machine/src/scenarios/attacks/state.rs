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
        let output = m.try_run(&format!("ulimit -n {most}; timeout 60 conductor daemon-reload"));
        assert!(!output.stderr.contains("panicked"), "{most}: {output}");
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

fn garbled_state(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    m.run(
        "mkdir /etc/conductor/services/other
        printf '[exec]\\ncommand = [\"/bin/sleep\", \"1000\"]\\n' >/etc/conductor/services/other/service.toml
        conductor daemon-reload",
    );
    let snapshot = format!("/run/conductor/generations/shop/{}", shop::generation(m));
    let mut seconds = 1000;
    for file in [
        "/run/conductor/generations/shop/target.json",
        &format!("{snapshot}/model.json"),
        &format!("{snapshot}/units.json"),
    ] {
        for garble in [": >$f", "truncate --size=20 $f", "head -c 400 /dev/urandom >$f", "rm $f; mkdir $f"] {
            let what = format!("{file}: {garble}");
            m.run(&format!("f={file}; {garble}"));
            let unit =
                format!("shop-{}@1.service", m.run("basename $(ls -d /run/conductor/generations/shop/*/)").trim());
            m.run(&format!("systemctl kill --signal=KILL {unit}"));
            m.until("the process is back", Duration::from_secs(20), || m.prop(&unit, "ActiveState") == "active");
            shop::get(m);
            seconds += 1;
            m.run(&format!("sed -i 's/\"[0-9]*\"/\"{seconds}\"/' /etc/conductor/services/other/service.toml"));
            let output = m.try_run("conductor daemon-reload");
            assert!(!output.stderr.contains("panicked"), "{what}: {output}");
            assert!(m.run("pgrep --full '^/bin/sleep '").lines().count() == 1, "{what}: {output}");
            let other = format!("/bin/sleep {seconds}");
            assert!(m.run("ps -eo args").contains(&other), "another service is reloaded: {what}: {output}");
            shop::get(m);
            let outcome = m.run("conductor daemon-reload; conductor status");
            assert!(outcome.contains("every service is as declared"), "{what}: {output} {outcome}");
            m.run(&format!(
                "python3 -c 'import json; json.load(open(\"{file}\"))' 2>/dev/null || grep -q '^{{.*}}$' {file}"
            ));
        }
    }
}

fn names_of_others(m: &mut Machine) {
    m.run("useradd --create-home mallory");
    for name in ["cgi", "proxy", "bridge", "a.service", "hello.d", "-.mount"] {
        let dir = format!("/root/{name}");
        m.run(&format!("mkdir -p -- '{dir}'; printf '[exec]\\ncommand = [\"/bin/true\"]\\n' >'{dir}/service.toml'"));
        let output = m.try_run(&format!("conductor check '{dir}'"));
        assert!(!output.success() && output.stderr.contains("name"), "{name}: {output}");
    }
    m.run(
        "mkdir /root/mallory
        printf '[exec]\\ncommand = [\"/bin/sleep\", \"1000\"]\\n' >/root/mallory/service.toml
        conductor service declare /root/mallory",
    );
    let user = m.run("stat --format=%u /proc/$(pgrep --full '^/bin/sleep 1000')");
    assert_ne!(user, m.run("id -u mallory"));
}
