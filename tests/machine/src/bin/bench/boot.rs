//! The start of many workers with jobs and live checks, as at boot, against as many plain units with as many timers.

use std::fs;
use std::io;

use conductor_machine::machine::Machine;

use crate::Outcome;
use crate::build::{Host, files};
use crate::clock::milliseconds;
use crate::table::Table;

const SERVICES: usize = 1000;
/// What is pulled in at boot, in a target of its own: the machine itself stays up.
const TARGET: &str = "[Unit]\nAllowIsolate=no\n";
/// Each has a process, a job by the clock, and a check every ten seconds.
const SERVICE: &str = r#"[exec]
command = ["/bin/sleep", "infinity"]
sandbox = "none"
[listen]
type = "none"
[health]
start = "10ms"
[health.live]
exec = ["/bin/true"]
interval = "10min"
[commands.nightly]
exec = ["/bin/true"]
schedule = "*-*-* 03:00"
[install]
wanted_by = ["many.target"]
"#;

/// Two machines start theirs in turn.
pub(crate) fn measure(host: &Host, table: &mut Table) -> Outcome {
    let (mut ours, mut plain) = (with_services(host)?, with_plain_units(host)?);
    let start = "systemctl start many.target; systemctl is-system-running --wait >/dev/null || true";
    // The first start stores generations; a boot finds them, and nothing below /run.
    ours.run(start);
    ours.reboot();
    plain.reboot();
    let with_ours = milliseconds(&ours, start);
    let with_plain = milliseconds(&plain, start);
    for (machine, pattern) in [(&ours, "'service-*@1.service'"), (&plain, "'plain-*.service'")] {
        let running =
            machine.run(&format!("systemctl list-units --plain --no-legend --state=active {pattern} | wc -l"));
        assert_eq!(running.trim(), SERVICES.to_string());
    }
    let figure = format!("the start of {SERVICES} workers with job and live check, {host}, against plain units");
    table.compare(&figure, with_ours, with_plain, 1.3);
    Ok(())
}

fn with_services(host: &Host) -> io::Result<Machine> {
    let machine = host.boot()?;
    for number in 0..SERVICES {
        let dir = files(&machine).join(format!("etc/conductor/services/service-{number:04}"));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("service.toml"), SERVICE)?;
    }
    machine.write("/etc/systemd/system/many.target", TARGET);
    machine.run("systemctl daemon-reload");
    Ok(machine)
}

fn with_plain_units(host: &Host) -> io::Result<Machine> {
    let machine = host.boot()?;
    let units = files(&machine).join("etc/systemd/system");
    let wants = units.join("many.target.wants");
    fs::create_dir_all(&wants)?;
    for number in 0..SERVICES {
        let exec = "[Service]\nType=exec\nExecStart=/bin/sleep infinity\nDynamicUser=yes\n";
        let once = "[Service]\nType=oneshot\nExecStart=/bin/true\nDynamicUser=yes\n";
        for (name, text) in [
            (format!("plain-{number}.service"), exec),
            (format!("nightly-{number}.service"), once),
            (format!("nightly-{number}.timer"), "[Timer]\nOnCalendar=*-*-* 03:00\n"),
            (format!("live-{number}.service"), once),
            (format!("live-{number}.timer"), "[Timer]\nOnActiveSec=10min\nOnUnitActiveSec=10min\n"),
        ] {
            fs::write(units.join(&name), text)?;
            if !name.ends_with(".service") || name.starts_with("plain-") {
                std::os::unix::fs::symlink(format!("../{name}"), wants.join(&name))?;
            }
        }
    }
    machine.write("/etc/systemd/system/many.target", TARGET);
    machine.run("systemctl daemon-reload");
    Ok(machine)
}
