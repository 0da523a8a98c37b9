//! Ends one of conductor's own commands with SIGKILL at a chosen step, from outside: a systemctl in its PATH, or a
//! conductor in the place of the real one, that is a few lines of shell.

use conductor_machine::machine::Machine;

const BIN: &str = "/root/strike";
/// Says "killed" once it has happened.
const STRUCK: &str = "/run/struck";
const REAL: &str = "/opt/conductor";

/// Whether systemctl still does what the command had called it for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    During,
}

/// Kills the command whose words contain `command` at its `nth` call of `systemctl VERB`. The shop's own hooks have
/// this systemctl in their PATH from now on.
pub fn at_call(m: &Machine, command: &str, verb: &str, nth: u32, moment: Moment) {
    let leave = if moment == Moment::Before { "exit 1" } else { ":" };
    at_each_call(
        m,
        command,
        verb,
        &format!(
            "echo >>/run/calls
            if test $(wc -l </run/calls) = {nth}; then echo killed >{STRUCK}; kill -KILL $PPID; {leave}; fi"
        ),
    );
}

/// Runs a line of shell before each `systemctl VERB` of the command whose words contain `command`; the verb may be a
/// pattern.
pub fn at_each_call(m: &Machine, command: &str, verb: &str, line: &str) {
    let script = format!(
        r#"#!/bin/sh
case "$(tr '\0' ' ' </proc/$PPID/cmdline)" in
*"{command}"*)
    case "$1" in {verb})
        {line}
    esac
esac
exec /usr/bin/systemctl "$@"
"#
    );
    m.write_executable(&format!("{BIN}/systemctl"), &script);
    let path = format!("[Service]\nEnvironment=PATH={BIN}:/usr/bin:/bin\n");
    m.write("/etc/systemd/system/shop.service.d/strike.conf", &path);
    m.run("systemctl daemon-reload");
}

/// For commands that people type: with the systemctl of `at_call`.
pub fn exposed(command: &str) -> String {
    format!("PATH={BIN}:$PATH {command}")
}

/// Kills the next `conductor HOOK …` at its `nth` of some system calls, named as for strace, before it is done; at
/// once if `nth` is 0.
pub fn at_syscall(m: &Machine, hook: &str, calls: &str, nth: u32) {
    m.run(&format!("cp /usr/bin/conductor {REAL}"));
    let strike = match nth {
        0 => format!("echo killed >{STRUCK}; kill -KILL $$"),
        nth => {
            format!(
                "exec strace -f -q -o {STRUCK} --trace={calls} --inject={calls}:signal=KILL:when={nth} {REAL} \"$@\""
            )
        }
    };
    // Replaced, not written to: its hooks may be running.
    m.write_executable(
        "/usr/bin/conductor.new",
        &format!(
            "#!/bin/sh\ncase \"$*\" in\n\"{hook}\"*) if ! test -e {STRUCK}; then {strike}; fi ;;\nesac\nexec {REAL} \"$@\"\n"
        ),
    );
    m.run("mv /usr/bin/conductor.new /usr/bin/conductor");
}

/// Ends the possibility of further strikes, and says whether there was one.
pub fn over(m: &Machine) -> bool {
    m.run(&format!(
        "rm -rf {BIN} /etc/systemd/system/shop.service.d
        if test -e {REAL}; then mv {REAL} /usr/bin/conductor; fi
        systemctl daemon-reload"
    ));
    m.try_run(&format!("grep killed {STRUCK}")).success()
}
