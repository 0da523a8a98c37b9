//! What programs may write, and what the journal says when they may not.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{declare, get, ready};

scenarios!("functions":
    writing,
    denials: "a program writes where its sandbox or its user's rights do not let it"
        => "the journal names the key of function.toml that would, and the answer names the function's log",
);

/// Counts in the directory that a variable names, and answers with what it finds.
const COUNT: &str = r#"#!/bin/sh
printf 'Content-Type: text/plain\n\n'
case "$PATH_INFO" in
/groups) id -nG ;;
/shared) echo x >>/srv/shared/file; wc -l </srv/shared/file ;;
/mask) rm -f "$CACHE_DIRECTORY/file"; echo >"$CACHE_DIRECTORY/file"; stat -c %a "$CACHE_DIRECTORY/file" ;;
/suid) /srv/suid-id -u ;;
*) echo x >>"$STATE_DIRECTORY/file"; echo "$(wc -l <"$STATE_DIRECTORY/file") $STATE_DIRECTORY $CACHE_DIRECTORY $LOGS_DIRECTORY" ;;
esac
"#;

const KEYS: &str = "state = \"counter\"\ncache = \"counter/a\"\nlogs = \"counter\"\nread_write = [\"/srv/shared\"]\ngroups = [\"sharers\"]\n";
const EXEC: &str = "[exec]\ncommand = [\"./count\"]\n[systemd.service]\nUMask = \"0022\"\n";

fn writing(m: &mut Machine) {
    ready(m);
    m.run("groupadd --system sharers; install --directory --group=sharers --mode=2770 /srv/shared; install --mode=4755 /usr/bin/id /srv/suid-id");
    let first = declare(m, "count", COUNT, &format!("aliases = [\"/count\"]\n{KEYS}{EXEC}"));
    let told = |number: u32| format!("{number} /var/lib/counter /var/cache/counter/a /var/log/counter\n");
    assert_eq!([get(m, "/count"), get(m, "/count")], [(200, told(1)), (200, told(2))]);
    assert_eq!(get(m, "/count/shared"), (200, "1\n".into()));
    assert_eq!(get(m, "/count/mask"), (200, "644\n".into()));
    assert!(get(m, "/count/groups").1.contains("sharers"));
    assert_ne!(get(m, "/count/suid").1, "0\n", "the sandbox gives setuid programs no other user");

    // A newer version, and one with a unit for each request, have the same directories.
    let second = declare(m, "count", COUNT, &format!("aliases = [\"/count\"]\ntimeout = \"20s\"\n{KEYS}{EXEC}"));
    assert_eq!(get(m, "/count"), (200, told(3)));
    assert_eq!(get(m, &format!("/cgi/{first}")), (200, told(4)));
    declare(m, "count", COUNT, &format!("aliases = [\"/count\"]\nmode = \"isolated\"\n{KEYS}{EXEC}"));
    assert_eq!(get(m, "/count"), (200, told(5)));
    assert_eq!(get(m, "/count/shared"), (200, "2\n".into()));
    m.reboot();
    assert_eq!(get(m, &format!("/cgi/{second}")), (200, told(6)));

    m.run("useradd --system runner");
    let free = "aliases = [\"/free\"]\n[exec]\ncommand = [\"./count\"]\nuser = \"runner\"\nsandbox = \"none\"\n";
    declare(m, "free", COUNT, free);
    assert_eq!(get(m, "/free/suid"), (200, "0\n".into()));
}

const DENIED: &str = r#"#!/usr/bin/python3
import os, sys
path = os.environ["PATH_INFO"]
if path == "/sh": os.execv("/bin/sh", ["sh", "-c", "echo x >/srv/written"])
if path == "/caught":
    try: open("/var/lib/awstats/x", "w")
    except OSError as error: print(error, file=sys.stderr)
    print("Content-Type: text/plain\n\nwithout")
elif path == "/chown": os.setuid(0)
else: open(path, "w" if path.startswith("/var") else "r")
"#;

fn denials(m: &mut Machine) {
    ready(m);
    m.run("mkdir /var/lib/awstats /var/cache/munin /srv/closed; chmod 700 /srv/closed; echo >/srv/closed/file");
    for mode in ["pooled", "isolated"] {
        let id = declare(m, mode, DENIED, &format!("mode = \"{mode}\"\n[exec]\ncommand = [\"./denied\"]\n"));
        let home = format!("/cgi/{id}");
        for (path, status) in
            [("/sh", 502), ("/caught", 200), ("/var/cache/munin/x", 502), ("/srv/closed/file", 502), ("/chown", 502)]
        {
            let (seen, body) = get(m, &format!("{home}{path}"));
            assert_eq!(seen, status, "{path} {body}");
            assert!(status != 502 || body.contains(&format!("conductor cgi logs {}", &id[..12])), "{body}");
        }
        for told in [
            "function.toml: /srv/written: Read-only file system: write read_write = [\"/srv\"]",
            "function.toml: /var/lib/awstats/x: Read-only file system: write state = \"awstats\"",
            "function.toml: /var/cache/munin/x: Read-only file system: write cache = \"munin\"",
            "function.toml: /srv/closed/file: Permission denied: write groups = [",
            "function.toml: Operation not permitted: the sandbox denies it",
        ] {
            m.until(told, Duration::from_secs(5), || {
                m.run(&format!("journalctl --sync; conductor cgi logs {} -- --output=cat", &id[..12])).contains(told)
            });
        }
        // The program's own words stay, each line once, and a pooled function is told once.
        for _ in 0..3 {
            get(m, &format!("{home}/sh"));
        }
        m.until("the journal has it", Duration::from_secs(5), || {
            let log = m.run(&format!("journalctl --sync; conductor cgi logs {id} -- --output=cat"));
            let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
            let told = if mode == "pooled" { 1 } else { 4 };
            count("cannot create /srv/written") == 4 && count("write read_write = [\"/srv\"]") == told
        });
    }
}
