//! `conductor daemon-reload` with nothing to do.

use conductor_machine::figure::median;
use conductor_machine::machine::Machine;

use crate::Outcome;
use crate::build::{GENERATOR, Host, files};
use crate::clock::milliseconds;
use crate::declarations::{declare, running};
use crate::table::Table;

/// Rounds, after a first one that does not count.
const ROUNDS: usize = 9;
const SERVICES: usize = 1_000;

/// Every service runs, or its administrator has stopped it.
pub(crate) fn measure(host: &Host, table: &mut Table) -> Outcome {
    let figure = format!("daemon-reload, {SERVICES} services that run, {host}, against systemctl");
    let (ours, theirs) = against_systemctl(&running(host, SERVICES)?);
    table.compare(&figure, ours, theirs, 1.1);
    let figure = format!("daemon-reload, {SERVICES} stopped services, {host}, against systemctl");
    let (ours, theirs) = against_systemctl(&stopped(host)?);
    table.compare(&figure, ours, theirs, 1.2);
    Ok(())
}

/// A machine whose administrator has stopped every service.
fn stopped(host: &Host) -> std::io::Result<Machine> {
    let machine = host.boot()?;
    declare(&files(&machine), SERVICES)?;
    machine.run(
        "mkdir -p /run/conductor/stopped; cd /etc/conductor/services; touch $(printf '/run/conductor/stopped/%s ' *)",
    );
    Ok(machine)
}

/// The milliseconds of our reload and of systemd's own, which has the same unit files and no generator of ours.
fn against_systemctl(machine: &Machine) -> (f64, f64) {
    assert!(machine.run("conductor daemon-reload").contains("every service is as declared"));
    machine.run(
        "cp -a /run/systemd/generator /root/plain; rm -r /root/plain/conductor; cp -a /run/systemd/system /root/system",
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        ours.push(milliseconds(machine, "conductor daemon-reload >/dev/null"));
        machine.run(&format!(
            "mv {GENERATOR} /root/; cp -a --remove-destination /root/plain/. /run/systemd/system; systemctl daemon-reload"
        ));
        theirs.push(milliseconds(machine, "systemctl daemon-reload"));
        machine.run(&format!(
            "mv /root/conductor-generator {GENERATOR}; rm -r /run/systemd/system; cp -a /root/system /run/systemd/system
            systemctl daemon-reload"
        ));
    }
    (median(&ours[1..]), median(&theirs[1..]))
}
