//! Requests through ports: to sockets that processes take, and over the relay, against the process without systemd's socket.

use conductor_machine::figure::median;
use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::Outcome;
use crate::build::Host;
use crate::table::Table;

/// Rounds, in each of which every side has its turn.
const ROUNDS: usize = 7;
const REQUESTS: u64 = 60_000;

const BARE: u16 = 7001;
const PASSED: u16 = 7002;
const RELAYED: u16 = 7003;

/// Measures how long the same requests take, over connections that are kept open.
pub(crate) fn measure(host: &Host, table: &mut Table) -> Outcome {
    let machine = host.boot()?;
    declare(&machine, "passed", PASSED, "type = \"none\"", "pass = true");
    declare(&machine, "relayed", RELAYED, "type = \"activation\"", "");
    machine.copy_app("/usr/local/bin/app");
    machine.run(&format!("systemd-run --quiet --unit=bare /usr/local/bin/app --tcp {BARE}; until ss -ltn | grep -q ':{BARE} '; do sleep 0.1; done"));
    let mut took = [BARE, PASSED, RELAYED].map(|port| (port, Vec::new()));
    for _ in 0..ROUNDS {
        for (port, rounds) in &mut took {
            rounds.push(round(&machine, *port));
        }
    }
    let [bare, passed, relayed] = took.map(|(_, rounds)| median(&rounds));
    table.compare(
        &format!("{REQUESTS} requests to a passed socket, {host}, against the bare server"),
        passed,
        bare,
        1.0 / 0.98,
    );
    table.compare(
        &format!("{REQUESTS} requests over the relay of a port, {host}, against the bare server"),
        relayed,
        bare,
        None,
    );
    Ok(())
}

fn declare(machine: &Machine, name: &str, port: u16, listen: &str, of_port: &str) {
    let dir = format!("/root/{name}");
    machine.write(
        &format!("{dir}/service.toml"),
        &format!(
            "[exec]\ncommand = [\"./app\"]\n[listen]\n{listen}\n[[port]]\nlisten = \"127.0.0.1:{port}\"\n{of_port}\n"
        ),
    );
    machine.copy_app(&format!("{dir}/app"));
    machine.run(&format!("conductor service declare {dir}"));
}

/// The milliseconds that the requests take.
fn round(machine: &Machine, port: u16) -> f64 {
    let load = Load { connect: format!("127.0.0.1:{port}"), post: false, requests: REQUESTS, ..Load::default() };
    let seen = machine.load(load).wait();
    assert_eq!(seen.failed, 0, "{seen}");
    seen.seconds * 1000.0
}
