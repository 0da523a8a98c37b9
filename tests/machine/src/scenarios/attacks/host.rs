//! The host changes underneath: directories become read-only, inodes run out, the package is replaced or removed.

use std::time::Duration;

use conductor_machine::command::Background;
use conductor_machine::machine::{Machine, PACKAGE};

use crate::scenario::scenarios;
use crate::scenarios::function;
use crate::scenarios::shop::{self, DECLARED, Shop};

const UNTOUCHED: &str = "each command that has to write there fails and names a file; the service, its declaration and its history \
     stay, and with the directory writable again everything is as declared";

scenarios!("attacks":
    etc_is_read_only(|m| read_only(m, "/etc/conductor")): "/etc/conductor is read-only when services are changed" => UNTOUCHED,
    state_is_read_only(|m| read_only(m, "/var/lib/conductor")): "/var/lib/conductor is read-only when services are changed"
        => UNTOUCHED,
    no_inodes_on_run: "/run has no inode left when services are changed, systemd reloads and a process is killed"
        => "what runs serves, callers of the killed process wait, and with inodes again everything is as declared",
    package_replaced_amid_a_rollout: "dpkg installs the package again in the middle of a rollout"
        => "the rollout ends, the new version serves, and no request fails",
    package_removed_amid_a_rollout: "dpkg removes the package in the middle of a rollout, and installs it again; then it is purged"
        => "nothing runs without the package; installed again it serves the old or the new declaration; a purge leaves nothing",
);

/// Commands that change something, each of which writes to /etc/conductor; and what undoes those that write only there.
const CHANGES: &[(&str, &str)] = &[
    ("service declare /root/shop VERSION=2", ""),
    ("service scale shop 3", ""),
    ("service restart shop", ""),
    ("service set shop config.A=1", ""),
    ("service rollback shop", ""),
    ("service disable shop", "service enable shop"),
    ("service rm shop", ""),
    ("cgi declare /root/act", "cgi rm /act"),
];

fn read_only(m: &Machine, dir: &str) {
    let shop = Shop::new(2);
    function::ready(m);
    shop.declare(m, "0");
    shop.declare(m, "1");
    m.write("/root/act/function.toml", "name = \"act\"\naliases = [\"/act\"]\n[exec]\ncommand = [\"./act\"]\n");
    m.run("cp /bin/true /root/act/act");
    let files =
        || m.run("find /etc/conductor /var/lib/conductor ! -type d ! -name served -printf '%p %s %l\\n' | sort");
    let before = (files(), m.run("pgrep --exact app"));
    for (command, undo) in CHANGES {
        m.run(&format!("mount --bind {dir} {dir}; mount -o remount,bind,ro {dir}"));
        let refused = m.try_run(&format!("timeout 250 conductor {command}"));
        let is_elsewhere = refused.success() && dir.starts_with("/var") && !undo.is_empty();
        let is_told = refused.status == 1 && refused.stderr.contains("Read-only") && refused.stderr.contains(dir);
        assert!(is_elsewhere || is_told, "{command}: {refused}");
        assert!(shop::get(m).starts_with("1 "), "{command}: {refused}");
        m.run(&format!("umount {dir}"));
        if is_elsewhere {
            m.run(&format!("conductor {undo}"));
        }
        let reload = m.try_run("conductor daemon-reload");
        assert!(reload.stdout.contains("every service is as declared"), "{command}: {refused}\n{reload}");
        assert_eq!((files(), m.run("pgrep --exact app")), before, "{command}: {refused}");
    }
    shop.declare(m, "2");
    shop::assert_serves(m, "2", 2);
}

fn no_inodes_on_run(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    shop.write(m);
    let unit = format!("shop-{}@1.service", shop::generation(m));
    m.run("used=$(df --output=iused /run | tail -n 1); mount -o remount,nr_inodes=$((used + 1)) /run");
    m.run("for name in 1 2 3; do touch /run/filler$name || true; done; ! touch /run/more");
    for command in
        ["service declare /root/shop VERSION=2", "service scale shop 3", "service restart shop", "status", "check"]
    {
        let output = m.try_run(&format!("timeout 250 conductor {command}"));
        assert!([0, 1].contains(&output.status), "{command}: {output}");
        assert!(shop::get(m).starts_with("1 "), "{command}: {output}");
    }
    m.run(&format!("systemctl kill --signal=KILL {unit}; systemctl daemon-reload || true"));
    let ask = format!("curl --silent --fail --max-time 100 http://{}/", shop::HOST);
    let callers: Vec<_> = (0..12).map(|_| m.spawn(&ask)).collect();
    m.run("rm -f /run/filler*; mount -o remount,nr_inodes=0 /run; systemctl daemon-reload");
    m.until("it is back", Duration::from_secs(60), || m.prop(&unit, "ActiveState") == "active");
    for caller in callers {
        assert!(caller.finish().starts_with("1 "), "callers wait for it");
    }
    m.run("conductor daemon-reload");
    assert!(m.read(&format!("{DECLARED}/service.toml")).contains("VERSION = \"1\""));
    shop.declare(m, "2");
    shop::assert_serves(m, "2", 2);
}

/// Begins to declare version 2, whose deployments take their time, and waits until the first is starting.
fn begin_rollout(m: &Machine) -> Background {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    shop.flags("--start-delay 1500ms").write(m);
    let declare = m.spawn(&shop::command("2"));
    m.until("version 2 starts", Duration::from_secs(20), || m.run("pgrep --exact app | wc -l").trim() == "3");
    declare
}

fn package_replaced_amid_a_rollout(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let load = m.load(shop::load());
    let declare = begin_rollout(m);
    m.run(&format!("dpkg --install {PACKAGE}"));
    declare.finish();
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    shop::assert_serves(m, "2", 2);
}

fn package_removed_amid_a_rollout(m: &mut Machine) {
    let declare = begin_rollout(m);
    let removed = m.run("timeout 250 dpkg --remove conductor");
    let declared = declare.wait();
    assert_eq!(m.run("pgrep --exact app || true"), "", "{removed}\n{declared}");
    assert_eq!(
        m.run("systemctl list-units --all --plain --no-legend 'shop*' 'conductor*'"),
        "",
        "{removed}\n{declared}"
    );
    assert_eq!(m.failed_units(), Vec::<String>::new(), "{removed}\n{declared}");
    assert_eq!(m.run("find /run -name '*conductor*' -o -name '*shop*'"), "");
    assert_eq!(m.prop("caddy.service", "ActiveState"), "active");

    m.run(&format!("dpkg --install {PACKAGE}; conductor daemon-reload"));
    let version = if m.read(&format!("{DECLARED}/service.toml")).contains("VERSION = \"2\"") { "2" } else { "1" };
    shop::assert_serves(m, version, 2);
    m.note(format!("version {version} after it was installed again"));

    m.run("timeout 250 dpkg --purge conductor");
    assert_eq!(
        m.run("pgrep --exact app || true; ls -d /etc/conductor /var/lib/conductor /run/conductor 2>/dev/null || true"),
        ""
    );
    assert_eq!(m.failed_units(), Vec::<String>::new());
    assert_eq!(m.prop("caddy.service", "ActiveState"), "active");
}
