//! Rolling updates: of one service, and of many by `conductor daemon-reload`.

use conductor_machine::figure::median;

use crate::Outcome;
use crate::build::Host;
use crate::clock::milliseconds;
use crate::plain;
use crate::table::Table;

/// Updates, after a first one that does not count.
const UPDATES: usize = 12;
const UPDATES_OF_MANY: usize = 3;
/// How many services are updated together, each with two deployments.
const MANY: usize = 100;

/// A service of three deployments that are ready at once.
const SERVICE: &str = r#"description = "Ready at once"
concurrency = 3

[exec]
command = ["./app"]
environment = { VERSION = "{{ VERSION }}" }

[health]
http = "/healthz"

[[route]]
host = ["ready.localhost"]
tls = "off"
"#;

/// Updates one service, against a start and a stop of each plain unit in turn.
pub(crate) fn of_one(host: &Host, table: &mut Table) -> Outcome {
    let machine = host.boot()?;
    machine.write("/root/ready/service.toml", SERVICE);
    machine.copy_app("/root/ready/app");
    machine.run("conductor service declare /root/ready VERSION=0");
    plain::start(&machine, "ready", 3);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for version in 1..=UPDATES + 1 {
        machine.run(&format!("conductor service declare --no-start /root/ready VERSION={version}"));
        ours.push(milliseconds(&machine, "systemctl reload ready"));
        // Before the update above, the declaration has reloaded systemd.
        machine.run("systemctl daemon-reload");
        let (old, new) = plain::sides(version);
        let one = |i| {
            format!("systemctl start plain-{new}@{i}; systemctl stop plain-{old}@{i}.service plain-{old}@{i}.socket")
        };
        theirs.push(milliseconds(&machine, &(1..=3).map(one).collect::<Vec<_>>().join("; ")));
    }
    let figure = format!("rolling 3 deployments, {host}, against plain units");
    table.compare(&figure, median(&ours[1..]), median(&theirs[1..]), 1.15);
    Ok(())
}

/// Updates many services at once, against one call that starts and one that stops all plain units.
pub(crate) fn of_many(host: &Host, table: &mut Table) -> Outcome {
    let machine = host.boot()?;
    machine.copy_app("/usr/local/bin/app");
    let service = SERVICE.replace("concurrency = 3", "concurrency = 2").replace("./app", "/usr/local/bin/app");
    machine.write("/root/many.toml", &service);
    let edit = |version: usize| {
        let each = format!("for i in $(seq 0 {}); do d=/etc/conductor/services/many-$i; mkdir -p $d", MANY - 1);
        let text =
            format!("sed \"s/{{{{ VERSION }}}}/{version}/; s/ready.localhost/many-$i.localhost/\" /root/many.toml");
        machine.run(&format!("{each}; {text} >$d/service.toml; done"));
    };
    edit(0);
    machine.run("conductor daemon-reload");
    plain::start(&machine, "many-0", 2 * MANY);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for version in 1..=UPDATES_OF_MANY + 1 {
        edit(version);
        ours.push(milliseconds(&machine, "conductor daemon-reload >/dev/null"));
        let (old, new) = plain::sides(version);
        let units = |side, kind| plain::units(side, kind, 2 * MANY);
        let (start, stop) = (units(new, "service"), [units(old, "service"), units(old, "socket")].join(" "));
        theirs.push(milliseconds(&machine, &format!("systemctl start {start}; systemctl stop {stop}")));
    }
    let figure = format!("rolling {MANY} services x 2, {host}, against plain units");
    table.compare(&figure, median(&ours[1..]), median(&theirs[1..]), 1.5);
    Ok(())
}
