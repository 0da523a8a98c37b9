//! Live checks of many deployments, against as many timers of systemd's that start curl(1).

use std::thread::sleep;
use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::Outcome;
use crate::build::Host;
use crate::table::Table;

const SERVICES: u32 = 2;
const DEPLOYMENTS: u32 = 500;
/// How long each side is measured, six rounds of checks.
const WINDOW: Duration = Duration::from_secs(60);

/// Measures the processor time of everything on the machine, less what it takes with no check at all.
pub(crate) fn measure(host: &Host, table: &mut Table) -> Outcome {
    let machine = host.boot()?;
    for name in 1..=SERVICES {
        let dir = format!("/root/live-{name}");
        machine.write(&format!("{dir}/service.toml"), &declaration());
        machine.copy_app(&format!("{dir}/app"));
        machine.run(&format!("conductor service declare {dir}"));
    }
    plain(&machine);
    let idle = spent(&machine, "systemctl stop 'conductor-live@*.timer'");
    let ours = spent(&machine, "systemctl start conductor-live@10s.timer") - idle;
    let theirs = spent(
        &machine,
        "systemctl stop 'conductor-live@*.timer'; cd /run/plain; systemctl start $(printf 'plain@%s.timer ' *)",
    ) - idle;
    let deployments = SERVICES * DEPLOYMENTS;
    let figure = format!("{deployments} live checks in 10 s, processor time a second, {host}, against timers and curl");
    table.compare(&figure, ours, theirs, None);
    table.share(&format!("{deployments} live checks in 10 s, {host}"), ours / 1000.0, 0.5);
    Ok(())
}

fn declaration() -> String {
    format!(
        "slots = {DEPLOYMENTS}\nconcurrency = {DEPLOYMENTS}\n[exec]\ncommand = [\"./app\"]\n[health]\nhttp = \"/healthz\"\n\
         [health.live]\nhttp = \"/healthz\"\n[deploy]\nhealth_timeout = \"10min\"\n"
    )
}

/// A timer and a service for each deployment's socket.
fn plain(machine: &Machine) {
    machine
        .write("/run/systemd/system/plain@.timer", "[Timer]\nOnActiveSec=1s\nOnUnitActiveSec=10s\nAccuracySec=100ms\n");
    machine.write(
        "/run/systemd/system/plain@.service",
        "[Service]\nType=oneshot\nLogLevelMax=notice\n\
         ExecStart=curl --silent --fail --output /dev/null --max-time 5 --unix-socket /run/plain/%i http://localhost/healthz\n",
    );
    machine.run(
        "mkdir /run/plain; cd /run/conductor/sockets; for socket in live-*/*; do [ -S $socket ] || continue
        ln -s $PWD/$socket /run/plain/$(echo $socket | tr -c 'a-z0-9\\n' _); done; systemctl daemon-reload",
    );
}

/// The milliseconds of processor time that the machine has spent in a second, after a command.
fn spent(machine: &Machine, command: &str) -> f64 {
    machine.run(command);
    sleep(Duration::from_secs(12));
    let usage = || {
        let stat = machine.run("cat /sys/fs/cgroup/cpu.stat");
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        usage.and_then(|text| text.parse::<f64>().ok()).expect("the processor time of a control group")
    };
    let before = usage();
    sleep(WINDOW);
    (usage() - before) / 1000.0 / WINDOW.as_secs_f64()
}
