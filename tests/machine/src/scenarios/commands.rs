//! `conductor run`: a service's commands, as its deployments run.

use std::time::Duration;

use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("commands":
    runs_as_a_deployment_does,
    runs_without_a_deployment,
    arguments_arrive_as_they_are,
    interrupted_command_ends,
);

const COMMANDS: &str = r#"
[commands.where]
description = "Say where it runs"
exec = ["./where", "declared", "${VERSION}"]

[commands.stopped]
exec = ["./where"]
scope = "service"

[commands.words]
exec = ["/usr/bin/printf", "%s\n", "$$5"]

[commands.long]
exec = ["/usr/bin/sleep", "3600"]

[systemd.service]
StateDirectory = "shop"
RuntimeDirectory = "shop"
MemoryMax = "300M"
"#;

/// Prints its sandbox, environment and directory, and fails.
const WHERE: &str = r#"#!/bin/sh
echo "$@"
id --user --name
pwd
grep --only-matching '/conductor.slice/[^/]*' /proc/self/cgroup
env | grep ^CONDUCTOR_ | sort
echo "tmp: $(ls /tmp)"
touch /etc/not-mine /var/lib/shop/mine 2>/dev/null || echo "read only"
test -p /dev/stdin && cat
exit 7
"#;

fn declare(m: &Machine, concurrency: u32) -> String {
    m.write_executable("/root/shop/where", WHERE);
    Shop::new(concurrency).extra(COMMANDS).declare(m, "1");
    shop::generation(m)
}

/// Nothing of a command is there when it has ended.
#[track_caller]
fn assert_nothing_left(m: &Machine) {
    let units = m.run("systemctl list-units --all --plain --no-legend 'shop-run-*'");
    let files = m.run(
        "find /run/systemd/system /run/systemd/transient /run/systemd/units -name 'shop-run-*' 2>/dev/null || true",
    );
    assert_eq!((units.as_str(), files.as_str()), ("", ""));
}

fn runs_as_a_deployment_does(m: &mut Machine) {
    let generation = declare(m, 2);
    let second = format!("shop-{generation}@2.service");
    let main = m.prop(&second, "MainPID");
    m.run(&format!("touch /proc/{main}/root/tmp/of-the-second"));
    let environment = |instance: u32| {
        format!(
            "CONDUCTOR_DEPLOYMENT=shop-{generation}-{instance}
CONDUCTOR_DEPLOYMENT_DIR=/run/conductor/deployments/shop-{generation}-{instance}/own
CONDUCTOR_GENERATION={generation}
CONDUCTOR_INSTANCE={instance}
CONDUCTOR_SERVICE=shop
CONDUCTOR_SERVICE_DIR=/var/lib/conductor/generations/shop/{generation}/files
CONDUCTOR_SOCKET=/run/conductor/sockets/shop-{generation}/{instance}
"
        )
    };
    let expected = |instance: u32, tmp: &str| {
        format!(
            "declared 1 more\nconductor-shop\n/var/lib/conductor/generations/shop/{generation}/files
/conductor.slice/conductor-shop.slice\n{}tmp: {tmp}\nread only\nfrom stdin\n",
            environment(instance)
        )
    };
    let run = |of: &str| m.try_run(&format!("echo from stdin | conductor run {of} where more"));
    for (of, instance, tmp) in
        [("shop", 1, ""), (second.as_str(), 2, "of-the-second"), (&format!("shop-{generation}-2"), 2, "of-the-second")]
    {
        let output = run(of);
        assert_eq!((output.status, output.stderr.as_str()), (7, ""), "{of}: {output}");
        assert_eq!(output.stdout, expected(instance, tmp), "{of}");
    }
    assert_eq!(m.run("stat --format=%U /var/lib/private/shop/mine").trim(), "conductor-shop");
    m.run("test -d /run/shop");
    assert_nothing_left(m);
    // On a terminal it has one.
    let terminal = m.try_run("script --quiet --return --command 'conductor run shop where' /dev/null </dev/null");
    assert!(terminal.stdout.contains("conductor-shop\r\n"), "{terminal}");
    assert_nothing_left(m);
}

fn runs_without_a_deployment(m: &mut Machine) {
    let generation = declare(m, 1);
    let list = m.run("conductor run shop");
    assert!(list.starts_with("COMMAND  SCOPE       DESCRIPTION"), "{list}");
    assert!(list.contains("\nwhere    deployment  Say where it runs  ./where declared ${VERSION}\n"), "{list}");
    let json: serde_json::Value = serde_json::from_str(&m.run("conductor run shop --json")).expect("JSON");
    assert_eq!(json["stopped"]["scope"], "service");

    let unknown = m.try_run("conductor run shop wehre");
    assert_eq!(unknown.status, 1, "{unknown}");
    assert_eq!(unknown.stderr, "error: shop has no command \"wehre\": did you mean where?\n");

    m.run("systemctl stop shop");
    let refused = m.try_run("conductor run shop where");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.starts_with("error: no deployment of shop is running: `systemctl start shop`"), "{refused}");
    for _ in 0..2 {
        let output = m.try_run("conductor run shop stopped </dev/null");
        assert_eq!(output.status, 7, "{output}");
        let expected = format!(
            "\nconductor-shop\n/var/lib/conductor/generations/shop/{generation}/files
/conductor.slice/conductor-shop.slice
CONDUCTOR_GENERATION={generation}
CONDUCTOR_SERVICE=shop
CONDUCTOR_SERVICE_DIR=/var/lib/conductor/generations/shop/{generation}/files
tmp: \nread only\n"
        );
        assert_eq!(output.stdout, expected);
        // What was never started has no files yet.
        m.run("rm -r /var/lib/conductor/generations/shop");
    }
    assert_nothing_left(m);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn arguments_arrive_as_they_are(m: &mut Machine) {
    declare(m, 1);
    let output = m.run(r#"conductor run shop words '$HOME ${VERSION}' '%n %%' 'two  words' --json --user '"' '\'"#);
    assert_eq!(output, "$5\n$HOME ${VERSION}\n%n %%\ntwo  words\n--json\n--user\n\"\n\\\n");
    assert_nothing_left(m);
}

fn interrupted_command_ends(m: &mut Machine) {
    declare(m, 1);
    for signal in ["INT", "TERM", "HUP"] {
        // A shell's background jobs ignore SIGINT.
        let running = m.spawn("exec conductor run shop long");
        m.until("it runs", Duration::from_secs(5), || {
            m.try_run("pgrep --full --exact '/usr/bin/sleep 3600'").success()
        });
        m.run(&format!("pkill -{signal} --full --exact 'conductor run shop long'"));
        let output = running.wait();
        assert_eq!(output.status, 1, "{signal}: {output}");
        assert!(!m.try_run("pgrep --full --exact '/usr/bin/sleep 3600'").success(), "{signal}");
        assert_nothing_left(m);
    }
}
