//! What the generator reads, systemd waits for: at each boot and each daemon-reload, for all services.

use std::iter::repeat_n;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::shop::Shop;

const OTHERS: &str = "the generator ends, other services are compiled as ever, and `check` names it";

scenarios!("attacks":
    generator_is_not_held_up: "a FIFO, a device, a socket, a directory, a loop, a file of 2 GB or garbage is where the generator \
        looks for a file or a directory" => OTHERS,
    values_are_hostile: "a declaration has values without end, out of range, nested without end, or with lines of units and of \
        Caddyfiles in them" => "the generator ends, other services are compiled as ever, and no line of a value becomes a line of \
        a unit or of the proxy's configuration",
);

/// Where the generator looks, with a service, a function and a live generation that are there for this alone.
const PLACES: &[&str] = &[
    "/etc/conductor/conductor.toml",
    "/etc/conductor/services/evil",
    "/etc/conductor/services/evil/service.toml",
    "/etc/conductor/services/evil/file",
    "/etc/conductor/services/evil/.declared.json",
    "/etc/conductor/services/evil.d",
    "/etc/conductor/services/evil.d/10-evil.toml",
    "/etc/conductor/services/evil.d/10-evil.conf",
    "/run/conductor/services/worse",
    "/run/conductor/services/worse/service.toml",
    "/usr/local/lib/conductor/services/worse/service.toml",
    "/etc/conductor/functions/$id",
    "/etc/conductor/functions/$id/function.toml",
    "/etc/conductor/functions/$id/act",
    "/etc/conductor/aliases/evil",
    "/run/conductor/generations/evil",
    "/run/conductor/generations/evil/target.json",
    "/run/conductor/generations/evil/0123456789ab",
    "/run/conductor/generations/evil/0123456789ab/units.json",
    "/run/conductor/generations/evil/0123456789ab/model.json",
];

/// What is put there, as $place.
const KINDS: &[&str] = &[
    "mkfifo $place",
    "ln -s /dev/zero $place",
    "python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $place",
    "mkdir $place",
    "ln -s $place $place",
    "truncate --size=2G $place",
    "head -c 5000 /dev/urandom >$place",
    ": >$place",
];

/// Things around the places that are in order.
const AROUND: &str = "id=$(printf 'a%.0s' $(seq 64))
    mkdir -p /etc/conductor/services/evil /etc/conductor/services/evil.d /run/conductor/services/worse \
        /usr/local/lib/conductor/services/worse /etc/conductor/functions/$id /etc/conductor/aliases \
        /run/conductor/generations/evil/0123456789ab
    printf '[pod]\\ntemplate = \"file\"\\n' >/etc/conductor/services/evil/service.toml
    printf 'name = \"evil\"\\n[exec]\\ncommand = [\"./act\"]\\n' >/etc/conductor/functions/$id/function.toml
    place=PLACE; rm -rf $place";
const AWAY: &str = "rm -rf /etc/conductor/conductor.toml /etc/conductor/services/evil* /run/conductor/services \
    /usr/local/lib/conductor /etc/conductor/functions/* /etc/conductor/aliases/evil /run/conductor/generations/evil";

/// Runs the generator with less memory and time than systemd gives it; returns the units of the shop and its routes.
fn generate(m: &Machine, what: &str) -> String {
    let output = m.try_run(
        "rm -rf /run/generated; mkdir -p /run/generated/normal /run/generated/early /run/generated/late
        cd /run/generated; ulimit -v 1000000; SYSTEMD_SCOPE=system timeout 20 \
            /usr/lib/systemd/system-generators/conductor-generator /run/generated/normal /run/generated/early /run/generated/late",
    );
    assert!(output.success() && !output.stderr.contains("panicked"), "{what}: {output}");
    m.run("cd /run/generated/normal; cat shop.service shop-*@.service shop-*@.socket; grep -A 2 shop.localhost -r conductor/proxy")
}

fn generator_is_not_held_up(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let units = generate(m, "nothing");
    let mut cases = 0;
    for place in PLACES {
        for kind in KINDS {
            let what = format!("{place}: {kind}");
            m.run(&format!("{}; {kind}", AROUND.replace("PLACE", place)));
            assert_eq!(generate(m, &what), units, "{what}");
            for command in ["check", "plan", "status", "service list", "cgi list"] {
                let output = m.try_run(&format!("ulimit -v 2000000; timeout 250 conductor {command}"));
                assert!(output.status <= 4 && !output.stderr.contains("panicked"), "{what}: {command}: {output}");
            }
            m.run(AWAY);
            cases += 1;
        }
    }
    assert_eq!(generate(m, "nothing"), units);
    assert!(m.run("conductor daemon-reload").contains("every service is as declared"));
    m.note(format!("{cases} cases"));
}

/// A value that tries to become lines.
const LINES: &str = r"x\nInjected=1\n\n[Service]\nInjected=1\n}\nInjected\n";

/// Declarations, each after `[exec]` and its command.
fn hostile_values() -> Vec<(&'static str, String)> {
    let many = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    let deep = |count: usize, open: &str, close: &str| {
        let nested: String = repeat_n(open, count).chain(["1"]).chain(repeat_n(close, count)).collect();
        format!("environment = {nested}\n")
    };
    let mut values = vec![
        ("nested arrays", deep(200_000, "[", "]")),
        ("nested tables", deep(100_000, "{a=", "}")),
        ("a long dotted key", format!("environment{} = 1\n", ".a".repeat(200_000))),
        ("a long header", format!("[environment{}]\n", ".a".repeat(200_000))),
        ("many headers", many(20_000, |index| format!("[a{index}]\n"))),
        ("many variables", format!("[config]\n{}", many(40_000, |index| format!("A{index} = \"\"\n")))),
        ("many routes", many(10_000, |index| format!("[[route]]\nhost = [\"a{index}.localhost\"]\n"))),
        ("many ports", many(5_000, |index| format!("[[port]]\nlisten = \"{}\"\n", 10_000 + index))),
        ("many parts", many(2_000, |index| format!("[[part]]\nname = \"a{index}\"\n"))),
        ("many commands", many(5_000, |index| format!("[commands.a{index}]\nexec = [\"true\"]\n"))),
        ("a long text", format!("[config]\nA = \"{}\"\n", "a".repeat(900_000))),
        ("a text of a hundred thousand lines", format!("[config]\nA = \"{}\"\n", r"a\n".repeat(100_000))),
        ("more than 1 MiB", format!("# {}\n", "a".repeat(2 << 20))),
        ("a key twice", "environment = {}\nenvironment = {}\n".into()),
        ("bytes that are no text", "# \u{0}\u{1b}[31m\u{7}\n".into()),
    ];
    for number in ["-1", "0", "4294967295", "9223372036854775807", "1e308", "inf", "nan", "1979-05-27", "\"1\"", "[1]"]
    {
        for key in ["concurrency", "slots", "deploy.max_surge", "resources.tasks_max"] {
            values.push(("a number", format!("#TOP {key} = {number}\n")));
        }
    }
    for span in ["0s", "1ns", "-1s", "99999999999999999999y", "infinity", "1e99s", "", LINES] {
        for key in ["health.interval", "health.timeout", "deploy.drain_timeout", "listen.idle_timeout"] {
            values.push(("a time span", format!("#TOP {key} = \"{span}\"\n")));
        }
    }
    for key in LINED {
        values.push(("lines", key.replace('@', LINES)));
    }
    values
}

/// Each place where a text may stand, as @.
const LINED: &[&str] = &[
    "#TOP description = \"@\"\n",
    "user = \"@\"\n",
    "environment = { A = \"@\" }\n",
    "environment = { \"@\" = \"1\" }\n",
    "credentials = { \"@\" = \"/etc/passwd\" }\n",
    "credentials = { a = \"/@\" }\n",
    "sandbox = \"@\"\n",
    "[config]\nA = \"@\"\n",
    "[config]\n\"@\" = \"1\"\n",
    "[health]\nhttp = \"/@\"\n",
    "[health]\nexec = [\"true\", \"@\"]\n",
    "[listen]\ntype = \"@\"\n",
    "[[route]]\nhost = [\"@\"]\n",
    "[[route]]\nhost = [\"a.localhost\"]\npath = \"/@\"\n",
    "[[route]]\nhost = [\"{$HOME}\"]\n",
    "[[route]]\nhost = [\"a.localhost\"]\npath = \"/{env.HOME}\"\n",
    "[[port]]\nlisten = \"@\"\n",
    "[hooks]\npre_start = [\"true\", \"@\"]\n",
    "[hooks]\npost_stop = [\"@\"]\n",
    "[resources]\nmemory_max = \"@\"\n",
    "[condition]\nhost = \"@\"\n",
    "[condition]\npath_exists = \"/@\"\n",
    "[install]\nwanted_by = [\"@\"]\n",
    "[install]\nwanted_by = [\"../../evil.target\", \"/etc/evil\"]\n",
    "[commands.\"@\"]\nexec = [\"true\"]\n",
    "[commands.a]\nexec = [\"true\", \"@\"]\ndescription = \"@\"\n",
    "[[service]]\ndir = \"@\"\n",
    "[[service]]\ndir = \"../shop\"\nvars = { A = \"@\" }\n",
    "[systemd.service]\nSyslogIdentifier = \"@\"\n",
    "[systemd.service]\n\"@\" = \"1\"\n",
    "[systemd.unit]\nDocumentation = \"@\"\n",
    "[systemd.\"@\"]\nA = \"1\"\n",
];

fn values_are_hostile(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let units = generate(m, "nothing");
    let values = hostile_values();
    for (what, text) in &values {
        let what = format!("{what}: {}", text.chars().take(200).collect::<String>());
        let (top, rest) = match text.strip_prefix("#TOP ") {
            Some(top) => (top, ""),
            None => ("", text.as_str()),
        };
        let text = format!("{top}[exec]\ncommand = [\"/bin/sleep\", \"6106\"]\n{rest}");
        m.write("/etc/conductor/services/evil/service.toml", &text);
        assert_eq!(generate(m, &what), units, "{what}");
        let injected = m.run("grep --recursive --no-messages '^[[:space:]]*Injected' /run/generated || true");
        assert_eq!(injected, "", "{what}");
        let checked = m.try_run("ulimit -v 2000000; timeout 250 conductor check evil 2>&1");
        assert!([0, 1, 3].contains(&checked.status) && !checked.stdout.contains("panicked"), "{what}: {checked}");
        m.run(AWAY);
    }
    m.note(format!("{} cases", values.len()));
}
