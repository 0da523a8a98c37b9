//! Services of a user without privileges, in the user's own manager.

use std::time::Duration;

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("user":
    rolls_updates,
    is_refused_what_is_the_system_s,
);

/// In service.toml, what an update is seen by; callers need no proxy.
const PORT: &str = "[[port]]\nlisten = \"127.0.0.1:8080\"\n";

/// A manager runs for alice. What libpam-systemd does for sessions is not on the machine, so that her manager is told
/// its directory here.
pub(super) fn begin(m: &Machine) {
    m.write(
        "/etc/systemd/system/user@.service.d/runtime.conf",
        "[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n",
    );
    m.run("useradd --create-home alice; systemctl daemon-reload; systemctl start user@$(id --user alice)");
}

pub(super) fn try_as_alice(m: &Machine, command: &str) -> Output {
    let environment =
        "env --ignore-environment HOME=/home/alice PATH=/usr/bin:/bin XDG_RUNTIME_DIR=/run/user/$(id -u alice)";
    m.write("/run/command", &format!("set -e; cd\n{command}\n"));
    m.try_run(&format!("setpriv --reuid alice --regid alice --init-groups {environment} sh /run/command"))
}

#[track_caller]
fn as_alice(m: &Machine, command: &str) -> String {
    let output = try_as_alice(m, command);
    assert!(output.success(), "{command}: {output}");
    output.stdout
}

fn declare_hello(m: &Machine) {
    as_alice(m, "conductor new hello; sed -i '/^.*route/,/^tls/d' hello/service.toml");
    as_alice(m, &format!("cat >>hello/service.toml <<'X'\n{PORT}X\nconductor --user service declare hello"));
}

fn rolls_updates(m: &mut Machine) {
    begin(m);
    declare_hello(m);
    let get = || m.run("curl --silent --show-error --fail http://127.0.0.1:8080/");
    assert!(get().starts_with("hello, version 1,"));
    let stored = "/home/alice/.config/conductor/services /home/alice/.local/state/conductor/generations";
    assert_eq!(m.run(&format!("find {stored} -maxdepth 0 -perm /077")), "", "open to other users");
    let callers = m.spawn(
        "for i in $(seq 300); do curl --silent --show-error --fail http://127.0.0.1:8080/ || exit; sleep 0.01; done | cut -d, -f2 | sort | uniq -c",
    );
    for version in 2..=4 {
        let said = as_alice(m, &format!("conductor --user service declare hello VERSION={version}"));
        assert!(said.contains("serves with 2 of 2 deployments"), "{said}");
    }
    let seen = callers.finish();
    let answers: u32 = seen.split_whitespace().filter_map(|word| word.parse::<u32>().ok()).filter(|n| *n > 4).sum();
    assert!(answers >= 290 && seen.contains("version 4"), "{seen}");
    m.note(seen.split_whitespace().collect::<Vec<_>>().join(" "));

    let said = as_alice(m, "conductor --user service rollback hello; conductor --user service scale hello 3");
    assert!(said.contains("serves with 3 of 3 deployments"), "{said}");
    assert!(get().starts_with("hello, version 3,"));
    let mine = as_alice(
        m,
        "conductor --user status; conductor --user service logs hello --lines 3; systemctl --user status hello",
    );
    assert!(mine.contains("(/home/alice/.config/conductor/services/hello/service.toml; generated)"), "{mine}");
    as_alice(m, "conductor --user doctor");
    assert_eq!(
        m.run("conductor service list"),
        "no service is declared; `conductor service declare DIR` declares one\n"
    );

    m.run("systemctl restart user@$(id --user alice)");
    m.until("it is back", Duration::from_secs(20), || {
        m.try_run("curl --silent --fail http://127.0.0.1:8080/").stdout.starts_with("hello, version 3,")
    });
    as_alice(m, "conductor --user service rm hello");
    assert_eq!(m.run("find /home/alice/.config /home/alice/.local /run/user -name '*hello*'"), "");
}

/// What cannot work is refused with the reason, and what is somebody else's says whose it is.
fn is_refused_what_is_the_system_s(m: &mut Machine) {
    begin(m);
    as_alice(m, "conductor new web; conductor new pod --pod; conductor new function --cgi");
    let refused = |command: &str, code: i32, words: &[&str]| {
        let output = try_as_alice(m, command);
        assert_eq!(output.status, code, "{command}: {output}");
        words.iter().for_each(|word| assert!(output.stderr.contains(word), "{command}: {output}"));
    };
    refused(
        "conductor --user service declare web",
        3,
        &["web/service.toml:", "the system's proxy has no users' services", "help: "],
    );
    refused(
        "conductor --user service declare pod",
        3,
        &["pod/service.toml:", "containers and pods are for the system's manager"],
    );
    refused(
        "conductor --user cgi declare function",
        3,
        &["function/function.toml:", "aliases are for functions of the system's manager"],
    );
    let theirs = &["error: ", "/run/conductor", "Permission denied", "help: run this as root, or with --user"];
    refused("conductor service declare web", 1, theirs);
    refused("conductor cgi declare function", 1, &["error: ", "/conductor", "Permission denied", "help: "]);
    refused("unset XDG_RUNTIME_DIR; conductor --user service list", 1, &["XDG_RUNTIME_DIR is not set"]);
    assert_eq!(
        m.run("find /etc/conductor /run/conductor /var/lib/conductor /home/alice/.config -name 'web*' -o -name 'pod*'"),
        ""
    );
}
