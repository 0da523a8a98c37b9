//! Health checks and notifications of services that answer without end, or with what a terminal would obey.

use conductor_machine::machine::Machine;

use super::super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("attacks":
    checks_that_flood: "health checks are answered without end or with escape sequences, checks flood and leave processes, \
        notifications flood and name other processes"
        => "`declare` ends in time, its text is harmless, no hook grows, nothing stays, and other services serve",
);

/// The end of a declaration that a case must come to.
#[derive(Clone, Copy)]
enum Ends {
    Fails,
    Serves,
}

struct Case {
    what: &'static str,
    /// The line of `[health]`.
    check: &'static str,
    /// What the server does in Python, with its socket `l` and a function `notify`.
    does: &'static str,
    ends: Ends,
}

const CASES: &[Case] = &[
    Case {
        what: "a body without end",
        check: "http = \"/\"",
        does: "forever(b'HTTP/1.1 200 OK\\r\\n\\r\\n', lambda: b'x' * 100000)",
        ends: Ends::Serves, // the status is the answer
    },
    Case {
        what: "a body without end that has to match",
        check: "http = \"/\"\nbody = \"^y\"",
        does: "forever(b'HTTP/1.1 200 OK\\r\\n\\r\\n', lambda: b'x' * 100000)",
        ends: Ends::Fails,
    },
    Case {
        what: "interim answers without end",
        check: "http = \"/\"",
        does: "forever(b'', lambda: b'HTTP/1.1 100 Continue\\r\\n\\r\\n' * 1000)",
        ends: Ends::Fails,
    },
    Case {
        what: "a header without end",
        check: "http = \"/\"",
        does: "forever(b'HTTP/1.1 200 OK\\r\\n', lambda: b'X-%d: y\\r\\n' % time.time_ns() * 1000)",
        ends: Ends::Fails,
    },
    Case {
        what: "a line without end",
        check: "http = \"/\"",
        does: "forever(b'HTTP/1.1 200 ', lambda: b'x' * 100000)",
        ends: Ends::Fails,
    },
    Case {
        what: "a byte a second",
        check: "http = \"/\"",
        does: "forever(b'', lambda: time.sleep(1) or b'H')",
        ends: Ends::Fails,
    },
    Case {
        what: "escape sequences",
        check: "http = \"/\"",
        does: "forever(b'HTTP/1.1 500 \\x1b[31mRED\\x07\\r\\nContent-Length: 40\\r\\n\\r\\n\\x1b]0;title\\x07\\x1b[2J\\x00\\xff\\xc2\\x9b31m' + b'a' * 27, None)",
        ends: Ends::Fails,
    },
    Case {
        what: "a check that floods",
        check: "exec = [\"sh\", \"-c\", \"yes >&2; false\"]",
        does: "time.sleep(1000)",
        ends: Ends::Fails,
    },
    Case {
        what: "a check that leaves processes",
        check: "exec = [\"sh\", \"-c\", \"setsid sleep 500 & exit 1\"]",
        does: "time.sleep(1000)",
        ends: Ends::Fails,
    },
    Case {
        what: "a check that says escape sequences",
        check: "exec = [\"sh\", \"-c\", \"printf '\\\\033[31m\\\\033]0;t\\\\007' >&2; exit 1\"]",
        does: "time.sleep(1000)",
        ends: Ends::Fails,
    },
    Case {
        what: "notifications without end",
        check: "notify = true",
        does: "while True: notify(b'STATUS=' + b'x' * 1000 + b'\\nWATCHDOG=1\\nFDSTORE=1')",
        ends: Ends::Fails,
    },
    Case {
        what: "another main process",
        check: "notify = true",
        does: "notify(b'MAINPID=1'); notify(b'MAINPID=2'); notify(b'READY=1\\nMAINPID=1'); time.sleep(1000)",
        ends: Ends::Serves,
    },
    Case {
        what: "a log of escape sequences and long lines, and an end",
        check: "http = \"/\"",
        does: "print('\\x1b[31mred \\x1b]0;t\\x07 ' + 'y' * 100000, flush=True); [print('flood', i) for i in range(200000)]; sys.exit(3)",
        ends: Ends::Fails,
    },
];

const PROGRAM: &str = r#"#!/usr/bin/python3
import os, socket, sys, time
l = socket.socket(fileno=3)

def forever(first, more):
    while True:
        c, _ = l.accept()
        try:
            c.recv(4096)
            c.sendall(first)
            while more: c.sendall(more())
            c.close()
        except OSError: pass

def notify(text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(text, os.environ["NOTIFY_SOCKET"].replace("@", "\0"))

"#;

fn checks_that_flood(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    for Case { what, check, does, ends } in CASES {
        m.write_executable("/root/flood/server", &format!("{PROGRAM}{does}\n"));
        m.write(
            "/root/flood/service.toml",
            &format!("concurrency = 1\n[exec]\ncommand = [\"./server\"]\n[health]\n{check}\n[deploy]\nhealth_timeout = \"5s\"\n"),
        );
        let output = m.try_run("ulimit -v 3000000; timeout 280 conductor service declare /root/flood");
        match ends {
            Ends::Serves => assert!(output.success(), "{what}: {output}"),
            Ends::Fails => assert_eq!(output.status, 1, "{what}: {output}"),
        }
        let is_harmless = |c: char| c == '\n' || !c.is_control();
        assert!(output.stderr.chars().chain(output.stdout.chars()).all(is_harmless), "{what}: {:?}", output.stderr);
        assert!(output.stderr.len() < 20_000, "{what}: {} bytes", output.stderr.len());
        for command in ["status", "service list", "deployment list"] {
            let shown = m.run(&format!("conductor {command}"));
            assert!(shown.chars().all(is_harmless), "{what}: {shown:?}");
        }
        if matches!(ends, Ends::Serves) {
            let pid = m.run("pgrep --full '[f]lood.*/server'");
            let unit = m.run("systemctl list-units --plain --no-legend 'flood-*@1.service' | cut -d' ' -f1");
            assert_eq!(m.prop(unit.trim(), "MainPID"), pid.trim(), "{what}");
            m.run("conductor service rm flood");
        }
        assert_eq!(m.run("pgrep --full '[s]leep 500|[f]lood.*/server' || pgrep --exact yes || true"), "", "{what}");
        assert!(shop::get(m).starts_with("1 "), "{what}");
    }
    assert_eq!(m.failed_units(), Vec::<String>::new());
}
