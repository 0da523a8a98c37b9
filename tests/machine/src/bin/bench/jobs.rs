//! systemd's daemon-reload with services that have jobs, against as many plain timers beside services without jobs.

use std::fmt::Write;
use std::fs;
use std::io;

use conductor_machine::figure::median;
use conductor_machine::machine::Machine;

use crate::Outcome;
use crate::build::{Host, files};
use crate::clock::milliseconds;
use crate::declarations::declare;
use crate::table::Table;

/// Rounds, after a first one that does not count.
const ROUNDS: usize = 15;
const SERVICES: usize = 100;
const JOBS: usize = 5;

/// Two machines take turns: the same services are declared on both, and as many timers wait.
pub(crate) fn measure(host: &Host, table: &mut Table) -> Outcome {
    let (ours, plain) = (with_jobs(host)?, with_plain_timers(host)?);
    for machine in [&ours, &plain] {
        let waiting = machine
            .run("systemctl list-units --plain --no-legend --state=active '*.timer' | grep -c -e -job@ -e ^plain-");
        assert_eq!(waiting.trim(), (SERVICES * JOBS).to_string());
    }
    let (mut with_ours, mut with_plain) = (Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        with_ours.push(milliseconds(&ours, "systemctl daemon-reload"));
        with_plain.push(milliseconds(&plain, "systemctl daemon-reload"));
    }
    let figure =
        format!("daemon-reload, {SERVICES} services with {JOBS} jobs each, {host}, against as many plain timers");
    table.compare(&figure, median(&with_ours[1..]), median(&with_plain[1..]), 1.1);
    Ok(())
}

/// A machine whose declarations have jobs, and whose timers wait. Its services do not run: they would on both machines.
fn with_jobs(host: &Host) -> io::Result<Machine> {
    let machine = host.boot()?;
    declare(&files(&machine), SERVICES)?;
    let jobs = (1..=JOBS).fold(String::new(), |mut text, job| {
        let _ = write!(text, "[commands.job-{job}]\nexec = [\"/bin/true\"]\nschedule = \"*-*-* 0{job}:00\"\n");
        text
    });
    for number in 0..SERVICES {
        let path = files(&machine).join(format!("etc/conductor/services/service-{number:04}/service.toml"));
        let declared = fs::read_to_string(&path)?;
        fs::write(path, format!("{declared}{jobs}"))?;
    }
    machine.run("systemctl daemon-reload; cd /run/systemd/generator; systemctl start *-job@*.timer");
    Ok(machine)
}

fn with_plain_timers(host: &Host) -> io::Result<Machine> {
    let machine = host.boot()?;
    declare(&files(&machine), SERVICES)?;
    let units = files(&machine).join("etc/systemd/system");
    for number in 0..SERVICES * JOBS {
        let (owner, hour) = (number / JOBS, number % JOBS + 1);
        // They belong to the services as jobs do: their units, and their slices, are in systemd's memory in both cases.
        let owned = format!("PartOf=service-{owner:04}.service\n");
        let timer = format!("[Unit]\n{owned}[Timer]\nOnCalendar=*-*-* 0{hour}:00\nAccuracySec=1s\n");
        let slice = format!("Slice=conductor-service\\x2d{owner:04}.slice\n");
        let service = format!("[Unit]\n{owned}[Service]\nType=oneshot\nExecStart=/bin/true\n{slice}");
        fs::write(units.join(format!("plain-{number}.timer")), timer)?;
        fs::write(units.join(format!("plain-{number}.service")), service)?;
    }
    machine.run("systemctl daemon-reload; cd /etc/systemd/system; systemctl start plain-*.timer");
    Ok(machine)
}
