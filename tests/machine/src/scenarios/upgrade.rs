//! The package is replaced while services run.

use std::thread::sleep;
use std::time::Duration;

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use super::watch::Watch;
use crate::scenario::scenarios;

scenarios!("upgrade":
    older_format: "the package is replaced by one whose renderer has a new format, while deployments run"
        => "nothing restarts until the next reload, a process that dies comes back by its old unit, and the reload \
            rolls: old deployments drain and stop by their old ExecStop=, no request fails",
    older_format_and_removal: "a service compiled by an older renderer is removed after an upgrade"
        => "its deployments stop through their old ExecStop=, and nothing is left",
    package_files_are_replaced: "the program and the generator are replaced in the middle of a rollout"
        => "the rollout goes on and no request fails",
);

/// What another renderer would have called it, and what it would have written differently.
const OLD: &str = "00000000f0e1";

/// Makes the running generation one that an older renderer compiled: its name is another, its units differ, and its
/// model has a key that no longer exists.
fn age(m: &Machine) {
    let new = shop::generation(m);
    m.run(&format!(
        r#"cd /run/conductor/generations/shop
        cp -a {new} {OLD}
        cp -a /var/lib/conductor/generations/shop/{new} /var/lib/conductor/generations/shop/{OLD}
        cd {OLD}
        sed -i 's/{new}/{OLD}/g' units.json model.json
        sed -i 's/Type=exec\\n/Type=exec\\nEnvironment=RENDERER=old\\nExecStop=\/bin\/echo stopped by the old unit\\n/' units.json
        grep -q RENDERER=old units.json
        sed -i 's/^{{/{{"forgotten":1,/' model.json
        cd /run/systemd/system
        for kind in service socket; do sed 's/{new}/{OLD}/g' shop-{new}@.$kind >shop-{OLD}@.$kind; done
        sed -i 's/^Type=exec/Type=exec\nEnvironment=RENDERER=old\nExecStop=\/bin\/echo stopped by the old unit/' shop-{OLD}@.service
        cd /run/conductor/generations/shop/{OLD}
        sed -i 's/{new}/{OLD}/; s/"generation":"[0-9a-f]\{{64\}}"/"generation":"0"/' ../target.json
        systemctl daemon-reload
        systemctl start shop-{OLD}@1 shop-{OLD}@2
        systemctl stop shop-{new}@1 shop-{new}@2
        rm -r /run/systemd/system/shop-{new}* /run/conductor/sockets/shop-{new} ../{new} /var/lib/conductor/generations/shop/{new}"#
    ));
    upgrade(m);
    assert_eq!(shop::generation(m), OLD);
}

/// What a package's scripts do.
fn upgrade(m: &Machine) {
    m.run(
        "for file in /usr/bin/conductor /usr/lib/systemd/system-generators/conductor-generator; do
            cp $file $file.dpkg-new; mv $file.dpkg-new $file
        done
        systemctl daemon-reload; systemctl daemon-reexec; systemctl try-restart conductor-proxy",
    );
}

fn load() -> Load {
    Load { clients: 8, pause_ms: 5, ..shop::load() }
}

fn older_format(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    age(m);
    let processes = || m.run("pgrep --exact app");
    let (before, watch, running) = (processes(), Watch::begin(m), m.load(load()));
    upgrade(m);
    assert_eq!(processes(), before, "nothing restarts");
    let unit = format!("shop-{OLD}@1.service");
    m.run(&format!("systemctl kill --signal=KILL {unit}"));
    m.until("it is back", Duration::from_secs(5), || m.prop(&unit, "ActiveState") == "active");
    assert!(m.prop(&unit, "Environment").contains("RENDERER=old"));
    let killed = running.stop();
    assert!(killed.failed <= 8, "{killed}");
    shop::assert_serves(m, "1", 2);
    assert_eq!(shop::generation(m), OLD);

    let running = m.load(load());
    m.run("conductor daemon-reload");
    let seen = running.stop();
    watch.end();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_ne!(shop::generation(m), OLD);
    assert_eq!(shop::traces(m, OLD), "");
    shop::assert_serves(m, "1", 2);
    assert_stopped_by_the_old_unit(m);
    m.note(seen);
}

fn assert_stopped_by_the_old_unit(m: &Machine) {
    m.run("journalctl --sync");
    let stops = m.run("journalctl --output=cat --grep='^stopped by the old unit$' | wc -l");
    assert_eq!(stops.trim(), "2");
}

fn older_format_and_removal(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    age(m);
    let request = m.spawn(&format!("curl --silent --fail 'http://{}/slow?ms=1000'", shop::HOST));
    m.until("the request is on its way", Duration::from_secs(1), || {
        m.try_run("ss -x state established | grep -q /shop-").success()
    });
    m.run("conductor service rm shop");
    assert!(request.finish().starts_with("1 "), "a request in flight is answered");
    assert_stopped_by_the_old_unit(m);
    assert_eq!(m.run("find /etc/conductor /run /var/lib/conductor -name '*shop*'"), "");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend '*shop*'"), "");
}

fn package_files_are_replaced(m: &mut Machine) {
    let shop = Shop::new(2).flags("--start-delay 3s");
    shop.declare(m, "1");
    shop.write(m);
    let (watch, running) = (Watch::begin(m), m.load(load()));
    let mut declare = m.spawn(&shop::command("2"));
    for _ in 0..3 {
        upgrade(m);
        assert!(declare.is_running(), "the rollout is not over");
        sleep(Duration::from_millis(300));
    }
    let output = declare.wait();
    let seen = running.stop();
    watch.end();
    assert!(output.success(), "{output}");
    assert_eq!(seen.failed, 0, "{seen}");
    shop::assert_serves(m, "2", 2);
}
