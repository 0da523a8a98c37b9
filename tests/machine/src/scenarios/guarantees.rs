//! What holds whatever is declared: units that load, words that arrive, a sandbox, the scope of a user.

use std::time::Duration;

use conductor_machine::machine::Machine;
use serde_json::Value;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("guarantees":
    generated_units_load_without_a_word,
    words_arrive_unchanged,
    exposure_is_low,
    user_managers_have_their_own,
    units_of_others_are_not_hidden,
);

/// Every section that a declaration can have.
const EVERYTHING: &str = r#"
[hooks]
pre_start = ["/bin/true", "100%"]
post_start = ["/bin/true", "a b"]
pre_stop = ["/bin/true"]
drain = ["/bin/true"]
post_stop = ["/bin/true"]
[resources]
memory_max = "1G"
cpu_weight = 200
tasks_max = 500
[deploy]
max_surge = 2
drain_timeout = "1min 30s"
health_timeout = "2500ms"
[install]
wanted_by = ["multi-user.target"]
[systemd.unit]
After = ["network.target", "dbus.service"]
[systemd.service]
LimitNOFILE = 65536
StateDirectory = "shop"
[systemd.socket]
Backlog = 1024
[systemd.slice]
IOWeight = 50
"#;

fn generated_units_load_without_a_word(m: &mut Machine) {
    Shop::new(2).extra(EVERYTHING).declare(m, "1");
    for example in ["hello", "gunicorn", "static"] {
        let dir = format!("/usr/share/doc/conductor/examples/{example}");
        let output = m.try_run(&format!("conductor service declare {dir} VERSION=1"));
        assert!(output.success(), "{output}");
    }
    m.reboot();
    let units = "cd /run/systemd/generator; ls -d *.service *.socket *.slice | sed s/@/@1/";
    let units: Vec<_> = m.run(units).lines().map(str::to_owned).collect();
    assert!(units.len() >= 16, "{units:?}");
    for unit in &units {
        let state = ["LoadState", "LoadError", "NeedDaemonReload"].map(|property| m.prop(unit, property));
        assert_eq!(state, ["loaded", "", "no"], "{unit}");
    }
    // Of every boot and reload so far; other people's units may have their warnings.
    let said = m.run("journalctl --output=cat _PID=1 | grep /run/systemd/generator/ || true");
    assert_eq!(said, "");
    let generator = m.run("journalctl --output=cat --identifier=conductor-generator --identifier=systemd-generators");
    assert_eq!(generator.lines().filter(|line| line.contains("conductor")).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(m.failed_units(), Vec::<String>::new());
    m.note(format!("{} units", units.len()));
}

const WORDS: &[&str] = &[
    "",
    " ",
    "  leading",
    "trailing  ",
    "two words",
    "tab\there",
    "new\nline",
    "\n",
    "a\n[Service]\nExecStart=/bin/false",
    "carriage\rreturn",
    "\"",
    "'",
    "\"quoted\" and 'quoted'",
    "\\",
    "\\\\",
    "\\n\\t\\x41\\u0041",
    "backslash at the end\\",
    "backslash and line\\\nend",
    "%",
    "%%",
    "%i %n %%N %h",
    "100%",
    "$",
    "$$",
    "$HOME",
    "${HOME}",
    "a$b${c",
    "$2y$10$abcdefghij",
    "${#a} ${a:-b} ${1}",
    "$(id) `id`",
    ";",
    "; true",
    "a;b",
    "#",
    "# no comment",
    "=",
    "A=B",
    "-",
    "--",
    "@x",
    "+!|:x",
    "~/*?[a]<>&|",
    "{{ x }} {% y %} {# z #}",
    "grüße",
    "日本語 🎊",
    "\u{a0}\u{2028}\u{202e}\u{feff}",
    "e\u{301}",
    "\u{1b}[31m\u{1}\u{7f}\u{85}",
];

/// A string as TOML writes it.
fn toml_string(text: &str) -> String {
    let json = serde_json::to_string(text).expect("a string");
    json.chars().map(|c| if c == '\u{7f}' { "\\u007F".to_owned() } else { c.to_string() }).collect()
}

/// A property as D-Bus has it, not quoted for people as `systemctl show` does.
fn property(m: &Machine, unit: &str, interface: &str, name: &str) -> Value {
    let manager = "org.freedesktop.systemd1";
    let found =
        format!("busctl --json=short call {manager} /org/freedesktop/systemd1 {manager}.Manager GetUnit s {unit}");
    let found: Value = serde_json::from_str(&m.run(&found)).expect("JSON");
    let path = found["data"][0].as_str().expect("an object's path").to_owned();
    let value = m.run(&format!("busctl --json=short get-property {manager} {path} {manager}.{interface} {name}"));
    serde_json::from_str::<Value>(&value).expect("JSON")["data"].take()
}

fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_array().expect("a list").iter();
    texts.map(|text| text.as_str().expect("a string").to_owned()).collect()
}

/// The entries of a file in /proc whose entries end with NUL.
fn entries(m: &Machine, file: &str) -> Vec<String> {
    let text = m.run(&format!("cat {file}"));
    text.strip_suffix('\0').unwrap_or("").split('\0').map(str::to_owned).collect()
}

fn words_arrive_unchanged(m: &mut Machine) {
    m.copy_app("/usr/local/bin/app");
    let long = "x y%$\\\"é".repeat(6000);
    let words: Vec<&str> = WORDS.iter().copied().chain([long.as_str()]).collect();
    // systemd takes no other control characters in variables, and the compiler says so.
    let variable = |word: &&&str| !word.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    let variables: Vec<&str> = words.iter().filter(variable).copied().collect();
    assert!(words.len() > 45 && variables.len() > 43);

    let fixed = ["/usr/local/bin/app", "--version", "1", "--"];
    // In commands `${NAME}` is expanded, and `$$` is a dollar; every other `$` is itself.
    let typed = |word: &str| word.replace("$$", "$$$$").replace("${HOME}", "$${HOME}");
    let typed: Vec<_> = fixed.into_iter().chain(words.iter().copied()).map(typed).collect();
    let command: Vec<_> = typed.iter().map(|word| toml_string(word)).collect();
    let config: String = variables
        .iter()
        .enumerate()
        .map(|(i, text)| format!("V{i} = {}\n", toml_string(&text.replace("${HOME}", "$${HOME}"))))
        .collect();
    let description = "100% of $HOME; \"quoted\" 'text' \\ grüße # x";
    let text = format!(
        "description = {}\n[config]\n{config}[exec]\ncommand = [{}]\n[health]\nhttp = \"/healthz\"\n",
        toml_string(description),
        command.join(", ")
    );
    m.write("/etc/conductor/services/words/service.toml", &text);
    let output = m.run("conductor daemon-reload");
    let generation = output.split_whitespace().nth(2).expect("words: generation …").to_owned();
    let unit = format!("words-{generation}@1.service");

    let assignments: Vec<_> = variables.iter().enumerate().map(|(i, text)| format!("V{i}={text}")).collect();
    let is_ours = |entry: &&String| entry.starts_with('V') && entry.as_bytes()[1].is_ascii_digit();
    let of_ours = |all: Vec<String>| {
        let mut ours: Vec<_> = all.iter().filter(is_ours).cloned().collect();
        ours.sort_by_key(|entry| entry[1..entry.find('=').unwrap_or(1)].parse::<u32>().unwrap_or(u32::MAX));
        ours
    };
    assert_eq!(of_ours(strings(&property(m, &unit, "Service", "Environment"))), assignments, "as systemd read it");
    let pid = m.prop(&unit, "MainPID");
    assert_eq!(of_ours(entries(m, &format!("/proc/{pid}/environ"))), assignments, "as the process has it");

    let exec = property(m, &unit, "Service", "ExecStart");
    assert_eq!(exec.as_array().map(Vec::len), Some(1), "one command");
    let expected: Vec<_> = fixed.into_iter().chain(words.iter().copied()).collect();
    let doubled: Vec<_> = expected.iter().map(|word| word.replace('$', "$$")).collect();
    assert_eq!(strings(&exec[0][1]), doubled, "as systemd read it");
    assert_eq!(entries(m, &format!("/proc/{pid}/cmdline")), expected, "as the process has it");
    assert_eq!(m.prop("words.service", "Description"), description);
    m.note(format!("{} words, {} variables", words.len(), variables.len()));
}

fn exposure_is_low(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let unit = format!("shop-{}@1.service", shop::generation(m));
    let table = m.run(&format!("systemd-analyze --no-pager security {unit}"));
    let line = table.lines().find(|line| line.contains("Overall exposure level")).expect("a last line");
    let level = line.split(": ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a level");
    m.note(format!("exposure {level}"));
    assert!(level.parse::<f64>().expect("a number") <= 2.0, "{table}");
}

fn user_managers_have_their_own(m: &mut Machine) {
    m.copy_app("/usr/local/bin/app");
    m.run("useradd --create-home --uid 1234 somebody");
    // What pam_systemd would set.
    m.write(
        "/etc/systemd/system/user@.service.d/runtime.conf",
        "[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n",
    );
    let declared = "/home/somebody/.config/conductor/services/mine/service.toml";
    m.write(declared, "[exec]\ncommand = [\"/usr/local/bin/app\"]\n[health]\nhttp = \"/healthz\"\n");
    m.write("/home/somebody/.config/conductor/services/broken/service.toml", "[exec]\ncomand = []\n");
    m.run("chown -R somebody: /home/somebody/.config; systemctl daemon-reload; systemctl start user@1234");
    let as_user = |command: &str| {
        m.try_run(&format!(
            "setpriv --reuid=1234 --regid=1234 --clear-groups env HOME=/home/somebody XDG_RUNTIME_DIR=/run/user/1234 {command}"
        ))
    };
    let files = m.run("cd /run/user/1234/systemd/generator; find . -name '*mine*' | sort");
    assert!(files.contains("./mine.service\n") && !files.contains("broken"), "{files}");
    // What a user's manager cannot do is not in them: other users, the proxy's group, privileges.
    let units =
        m.run("cat /run/user/1234/systemd/generator/*mine*.service /run/user/1234/systemd/generator/*mine*.socket");
    for directive in ["DynamicUser=", "\nUser=", "SocketGroup="] {
        assert!(!units.contains(directive), "{directive}: {units}");
    }
    m.until("the user's manager has started it", Duration::from_secs(10), || {
        as_user("systemctl --user is-active mine").success()
    });
    let started = as_user("systemctl --user restart mine");
    let state = as_user("systemctl --user list-units --all --plain --no-legend 'mine*'");
    assert!(started.success(), "{started}{state}{}", m.run("journalctl --no-pager _UID=1234"));
    let list: Value = serde_json::from_str(&as_user("conductor --user service list --json").stdout).expect("JSON");
    let mine = list.as_array().expect("a list").iter().find(|row| row["name"] == "mine").expect("mine");
    assert_eq!((&mine["state"], &mine["ready"]), (&"active".into(), &1.into()), "{list}");
    assert!(as_user("systemctl --user stop mine").success());
    assert_eq!(m.run("pgrep --exact app || true"), "");
    assert_eq!(m.run("ls /run/systemd/generator | grep mine || true"), "", "nothing of it is the system's");
}

fn units_of_others_are_not_hidden(m: &mut Machine) {
    let shop = Shop::new(1);
    shop.write(m);
    for name in ["caddy", "dbus", "systemd-journald"] {
        let refused = m.try_run(&format!("{} --name {name}", shop::command("1")));
        assert_eq!(refused.status, 3, "{refused}");
        let (_, path) =
            refused.stderr.split_once(&format!("{name}.service already exists as another unit: ")).expect("why");
        let path = path.lines().next().expect("its path");
        assert!(path.ends_with(&format!("/{name}.service")), "{refused}");
        m.run(&format!("test -e {path}; test ! -e /etc/conductor/services/{name}"));
    }
    // One that comes later, when a declaration has the name already, wins as systemd has it.
    shop.declare(m, "1");
    m.write("/etc/systemd/system/shop.service", "[Service]\nExecStart=/bin/sleep 1000\n");
    let reload = m.try_run("conductor daemon-reload");
    assert_eq!(reload.status, 3, "{reload}");
    assert!(reload.stderr.contains("/etc/systemd/system/shop.service"), "{reload}");
    assert!(shop::get(m).starts_with("1 "), "what runs goes on running");
    m.run("rm /etc/systemd/system/shop.service; conductor daemon-reload");
    assert!(shop::get(m).starts_with("1 "));
}
