//! A failure names its cause, as the last thing on the screen, and what a host lacks is known before anything starts.

use std::time::{Duration, Instant};

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("causes":
    failed_starts: "processes exit, are killed, cannot write, listen elsewhere, or their hooks fail"
        => "the last lines on the screen are those of the process, the cause and what to write",
    a_batch_with_one_that_failed: "one deployment of a batch fails at once while another hangs"
        => "`declare` reports the failure at once",
    a_part_that_fails: "a part of a service does not start" => "the error tells why, with the part's own log lines",
    missing_on_the_host: "users, credentials, interpreters, programs and podman are missing, and a port is taken"
        => "`check` and `declare` say so with the line, and nothing is declared",
    missing_later: "what is missing is needed later" => "`check` warns, and the service starts",
    missing_after_a_reload: "a user that a service needs is removed" => "a daemon-reload leaves it alone",
);

/// A declaration and what the last lines on the screen say about it.
struct Row {
    name: &'static str,
    toml: &'static str,
    /// The program `app` of the declaration.
    app: &'static str,
    /// A command that prepares the machine.
    setup: &'static str,
    says: &'static [&'static str],
}

/// What a program with no other fault does.
const SLEEPS: &str = "#!/bin/sh\nexec sleep 1000\n";
const ROW: Row = Row { name: "", toml: "[exec]\ncommand = ['./app']\n", app: SLEEPS, setup: "true", says: &[] };

const LISTENS: &str = "#!/usr/bin/python3
import http.server
http.server.HTTPServer(('127.0.0.1', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
";
const CHILD_NOTIFIES: &str = "#!/bin/sh
python3 -c 'import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ[\"NOTIFY_SOCKET\"]); s.send(b\"READY=1\")
import time; time.sleep(1000)'
exit 1
";
const SHORT: &str = "[exec]\ncommand = ['./app']\n[deploy]\nhealth_timeout = '2s'\n";

const FAILED: &[Row] = &[
    Row {
        name: "background",
        app: "#!/bin/sh\necho going\n",
        says: &["  | going\n", " exited with status 0: does it go into the background?"],
        ..ROW
    },
    Row {
        name: "exits",
        app: "#!/bin/sh\necho no such table >&2; exit 3\n",
        says: &["  | no such table\n", " exited with status 3"],
        ..ROW
    },
    Row {
        name: "killed",
        app: "#!/bin/sh\necho so far; kill -KILL $$\n",
        says: &["  | so far\n", " was killed by SIGKILL"],
        ..ROW
    },
    Row {
        name: "hook",
        toml: "[exec]\ncommand = ['sleep', '1000']\n[hooks]\npre_start = ['./app']\n",
        app: "#!/bin/sh\necho table exists >&2; exit 7\n",
        says: &["  | table exists\n", " did not start: the hook pre_start (./app) exited with status 7"],
        ..ROW
    },
    Row {
        name: "elsewhere",
        toml: SHORT,
        app: LISTENS,
        says: &[
            "it listens on 127.0.0.1:8000, and not on the socket that systemd passes\n",
            "help: if it binds a port itself, write type = \"tcp\" in [listen]",
        ],
        ..ROW
    },
    Row {
        name: "silent",
        toml: SHORT,
        says: &["no answer within", "help: if it binds a port itself, write type = \"tcp\" in [listen]"],
        ..ROW
    },
    Row {
        name: "child",
        toml: "[exec]\ncommand = ['./app']\n[health]\nnotify = true\n[deploy]\nhealth_timeout = '3s'\n",
        app: CHILD_NOTIFIES,
        says: &["READY=1 by sd_notify did not come within 3s\n", "write NotifyAccess = \"all\" in [systemd.service]"],
        ..ROW
    },
    Row {
        name: "readonly",
        app: "#!/bin/sh\ntouch /var/lib/notes\n",
        says: &["Read-only file system\n", " exited with status 1\n", "write StateDirectory = \"NAME\""],
        ..ROW
    },
    Row {
        name: "stderr",
        app: "#!/bin/sh\necho going >/dev/stderr\n",
        says: &[
            "No such device or address\n",
            " exited with status 2\n",
            "help: its output is a socket of the journal",
        ],
        ..ROW
    },
    Row {
        name: "namespace",
        toml: "[exec]\ncommand = ['./app']\n[systemd.service]\nReadWritePaths = ['/nowhere']\n",
        says: &["/nowhere", "exited with status 226/NAMESPACE: systemd could not set up the mounts"],
        ..ROW
    },
];

fn write(m: &Machine, row: &Row) {
    m.write(&format!("/root/{}/service.toml", row.name), row.toml);
    m.write_executable(&format!("/root/{}/app", row.name), row.app);
    m.run(row.setup);
}

/// Lines that may follow the cause: the declaration's line, marked, and what to write.
const LINES: usize = 5;

/// Asserts that texts stand in this order at the end of what was printed.
fn assert_ends(name: &str, text: &str, says: &[&str]) {
    let mut rest = text;
    for words in says {
        let Some((_, after)) = rest.split_once(words) else { panic!("{name}: {words:?} is not in its place:\n{text}") };
        rest = after;
    }
    assert!(rest.lines().count() <= LINES, "{name}: the cause is not the last thing:\n{text}");
    assert!(text.matches("did not start: ").count() <= 1, "{name}:\n{text}");
}

fn failed_starts(m: &mut Machine) {
    for row in FAILED {
        write(m, row);
        let output = m.try_run(&format!("cd /root; conductor service declare {}", row.name));
        assert_eq!(output.status, 1, "{}: {output}", row.name);
        assert_ends(row.name, &output.stderr, row.says);
        assert!(!output.stderr.contains("  | error: "), "lines of conductor's: {output}");
        m.note(format!("{}:\n{}", row.name, output.stderr));
    }
}

fn a_batch_with_one_that_failed(m: &mut Machine) {
    let app = "#!/bin/sh\nif [ $CONDUCTOR_INSTANCE = 2 ]; then echo two fails; exit 4; fi\nexec sleep 1000\n";
    let toml = "concurrency = 2\n[exec]\ncommand = ['./app']\n[deploy]\nhealth_timeout = '120s'\n";
    write(m, &Row { name: "batch", toml, app, ..ROW });
    let began = Instant::now();
    let output = m.try_run("cd /root; conductor service declare batch");
    assert_ends("batch", &output.stderr, &["  | two fails\n", " exited with status 4"]);
    assert!(began.elapsed() < Duration::from_secs(100), "the other was waited for: {:?}", began.elapsed());
}

fn a_part_that_fails(m: &mut Machine) {
    let toml = "[[part]]\nname = 'web'\n[part.exec]\ncommand = ['./app']\n[part.hooks]\npre_start = ['./migrate']\n";
    write(m, &Row { name: "parted", toml, ..ROW });
    m.write_executable("/root/parted/migrate", "#!/bin/sh\necho table exists; exit 1\n");
    let output = m.try_run("cd /root; conductor service declare parted");
    let says = ["parted.web: ", "  | table exists\n", "the hook pre_start (./migrate) exited with status 1"];
    assert_ends("parted", &output.stderr, &says);
}

const MISSING: &[Row] = &[
    Row {
        name: "user",
        toml: "[exec]\ncommand = ['./app']\nuser = 'deployer-of-shop'\n",
        says: &["user/service.toml:3:8: exec.user: there is no user deployer-of-shop on this host"],
        ..ROW
    },
    Row {
        name: "credential",
        toml: "[exec]\ncommand = ['./app']\n[exec.credentials]\ndb = '/etc/credstore/none'\n",
        says: &["credential/service.toml:4:6: exec.credentials.db: there is no file /etc/credstore/none"],
        ..ROW
    },
    Row {
        name: "variables",
        toml: "[exec]\ncommand = ['./app']\nenvironment_file = ['-/etc/default/maybe', '/etc/default/none']\n",
        says: &["variables/service.toml:3:44: exec.environment_file[1]: there is no file /etc/default/none"],
        ..ROW
    },
    Row {
        name: "interpreter",
        app: "#!/opt/venv/bin/python\n",
        says: &["./app cannot run: there is no program /opt/venv/bin/python", "#!/opt/venv/bin/python"],
        ..ROW
    },
    Row {
        name: "env",
        app: "#!/usr/bin/env nodejs-of-mine\n",
        says: &["./app cannot run: there is no program nodejs-of-mine in /usr/local/sbin:"],
        ..ROW
    },
    Row {
        name: "windows",
        app: "#!/bin/sh\r\nsleep 1000\r\n",
        says: &["the first line of ./app ends as on Windows"],
        ..ROW
    },
    Row {
        name: "name",
        toml: "[exec]\ncommand = ['gunicorn-of-mine']\n",
        says: &["name/service.toml:2:12: exec.command[0]: there is no program gunicorn-of-mine in /usr/local/sbin:"],
        ..ROW
    },
    Row {
        name: "absolute",
        toml: "[exec]\ncommand = ['/opt/none/app']\n",
        says: &["absolute/service.toml:2:12: exec.command[0]: there is no program /opt/none/app"],
        ..ROW
    },
    Row {
        name: "mode",
        toml: "[exec]\ncommand = ['/etc/passwd']\n",
        says: &["/etc/passwd is not executable", "chmod +x /etc/passwd"],
        ..ROW
    },
    Row {
        name: "hidden",
        toml: "[exec]\ncommand = ['/root/hidden/app']\n",
        says: &["ProtectHome=yes of the sandbox hides /root/hidden/app"],
        ..ROW
    },
    Row {
        name: "port",
        toml: "[exec]\ncommand = ['./app']\n[listen]\ntype = 'tcp'\n[[port]]\nlisten = '127.0.0.1:1883'\n",
        setup: "systemd-run --quiet --unit=broker python3 -m http.server --bind 127.0.0.1 1883
                until ss --tcp --listening --no-header | grep -q 1883; do sleep 0.1; done",
        says: &[
            "port/service.toml:6:10: port[0].listen: broker.service (python3, process ",
            ") listens on 127.0.0.1:1883",
        ],
        ..ROW
    },
    Row {
        name: "socket",
        toml: "[exec]\ncommand = ['./app']\n[[port]]\nlisten = '1884'\n",
        setup: "systemd-run --quiet --unit=broker2 --socket-property=ListenStream=127.0.0.1:1884 true",
        says: &["broker2.socket listens on 127.0.0.1:1884"],
        ..ROW
    },
    Row {
        name: "several",
        toml: "concurency = 2\n[exec]\ncommand = ['true']\n[listen]\ntype = 'fastcgi'\n[timer]\n[[port]]\nlisten = '53/udp'\n",
        says: &[
            "concurency: unknown key",
            "\"fastcgi\" is not one of",
            "timer: unknown key",
            "\"53/udp\" is not an address",
        ],
        ..ROW
    },
];

fn missing_on_the_host(m: &mut Machine) {
    for row in MISSING {
        write(m, row);
        for command in ["check", "service declare"] {
            let output = m.try_run(&format!("cd /root; conductor {command} {}", row.name));
            assert_eq!(output.status, 3, "{}: {output}", row.name);
            assert_ends(row.name, &output.stderr, row.says);
            m.note(format!("{}:\n{}", row.name, output.stderr));
        }
    }
    m.write("/root/container/service.toml", "[container]\nimage = 'localhost/none'\npull = 'never'\nport = 80\n");
    let output = m.try_run("mv /usr/bin/podman /usr/bin/podman.away; cd /root; conductor check container");
    assert!(output.stderr.contains("container: there is no podman on this host"), "{output}");
    m.run("mv /usr/bin/podman.away /usr/bin/podman");
    assert_eq!(m.run("find /etc/conductor/services /run/conductor/generations -mindepth 1"), "");
}

const SERVES: &str = "#!/usr/bin/python3
import socket
listener = socket.socket(fileno=3)
while True:
    listener.accept()[0].close()
";

fn missing_later(m: &mut Machine) {
    let toml = "[exec]\ncommand = ['./app']\n[hooks]\npost_stop = ['report-of-mine']\n[commands.shell]\nexec = ['/opt/none']\n";
    write(m, &Row { name: "later", toml, app: SERVES, ..ROW });
    let checked = m.try_run("cd /root; conductor check later");
    assert!(checked.success(), "{checked}");
    let declared = m.try_run("cd /root; conductor service declare later");
    assert!(declared.success(), "{declared}");
    for output in [checked, declared] {
        for words in [
            "warning: later/service.toml:4:14: hooks.post_stop[0]: there is no program report-of-mine",
            "warning: later/service.toml:6:9: commands.shell.exec[0]: there is no program /opt/none",
        ] {
            assert!(output.stderr.contains(words), "{output}");
        }
    }
    // Its own port is not another's.
    m.run("printf \"[[port]]\\nlisten = '1885'\\n\" >>/root/later/service.toml; cd /root; conductor service declare later");
    m.run("cd /root; conductor check later && conductor check && conductor service declare later");
}

fn missing_after_a_reload(m: &mut Machine) {
    let toml = "[exec]\ncommand = ['./app']\nuser = 'shopper'\n";
    write(m, &Row { name: "reloaded", toml, app: SERVES, setup: "useradd --system shopper", ..ROW });
    m.run("cd /root; conductor service declare reloaded; sed -i /^shopper/d /etc/passwd /etc/shadow; conductor daemon-reload");
    assert_eq!(m.prop("reloaded.service", "ActiveState"), "active");
    assert!(m.run("conductor service list").contains("reloaded"));
}
