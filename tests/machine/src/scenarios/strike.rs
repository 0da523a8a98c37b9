//! Ends one of conductor's own commands with SIGKILL at a chosen step, from outside: something listens in between
//! when it talks to systemd, or a few lines of shell are in the place of the real program.

use std::time::Duration;

use conductor_machine::machine::Machine;

const DIR: &str = "/run/strike";
const BUS: &str = "/run/dbus/system_bus_socket";
/// Says "killed" once it has happened.
const STRUCK: &str = "/run/struck";
const REAL: &str = "/opt/conductor";

/// Passes on what comes for the message bus, and runs a line of shell before it passes on a call of the manager's
/// METHOD (any of those below for `*`) by a process whose words contain COMMAND. The line has the process in $CALLER;
/// if it fails, the call is not passed on.
const TAP: &str = r#"
import os, socket, struct, subprocess, sys, threading
command, method = sys.argv[1:]
line = open("DIR/line").read()
METHODS = ["Reload", "ListUnitsByPatterns", "StartUnit", "StopUnit", "ReloadUnit"]

def is_meant(message, caller):
    fields = message[16:16 + struct.unpack_from("<I", message, 12)[0]]
    called = lambda name: struct.pack("<I", len(name)) + name.encode() + b"\0" in fields
    with open(f"/proc/{caller}/cmdline") as words:
        return command in words.read().replace("\0", " ") and any(map(called, METHODS if method == "*" else [method]))

def messages(source):
    data = b""
    while True:
        read = source.recv(65536)
        if not read:
            return
        data += read
        if (end := data.find(b"BEGIN\r\n")) >= 0:
            yield data[:end + 7]
            data = data[end + 7:]
            break
        yield data
        data = b""
    while True:
        while len(data) >= 16:
            body, _, fields = struct.unpack_from("<III", data, 4)
            size = 16 + (fields + 7) // 8 * 8 + body
            if len(data) < size:
                break
            yield data[:size]
            data = data[size:]
        read = source.recv(65536)
        if not read:
            return
        data += read

def ask(client, bus, caller):
    try:
        for message in messages(client):
            if message[0] == ord("l") and message[1] == 1 and is_meant(message, caller):
                if subprocess.run(["sh", "-c", line], env={**os.environ, "CALLER": str(caller)}).returncode:
                    break
            bus.sendall(message)
    except OSError:
        pass
    bus.shutdown(socket.SHUT_RDWR)

def answer(client, bus):
    try:
        while data := bus.recv(65536):
            client.sendall(data)
    except OSError:
        pass
    client.close()

listener = socket.socket(socket.AF_UNIX)
listener.bind("DIR/bus")
os.chmod("DIR/bus", 0o666)
listener.listen(100)
while True:
    client, _ = listener.accept()
    caller = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    bus = socket.socket(socket.AF_UNIX)
    bus.connect("BUS")
    threading.Thread(target=ask, args=(client, bus, caller), daemon=True).start()
    threading.Thread(target=answer, args=(client, bus), daemon=True).start()
"#;

/// Whether systemd still does what the command had called it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    During,
}

/// Kills the command whose words contain `command` at its `nth` call of the manager's `method`,
/// org.freedesktop.systemd1(5). The shop's own hooks are listened to from now on.
pub(super) fn at_call(m: &Machine, command: &str, method: &str, nth: u32, moment: Moment) {
    let (kill, leave) = match moment {
        Moment::Before => ("kill -KILL $CALLER", "exit 1"),
        Moment::During => ("(sleep 0.05; kill -KILL $CALLER) &", "exit 0"),
    };
    at_each_call(
        m,
        command,
        method,
        &format!(
            "echo >>/run/calls
            if test $(wc -l </run/calls) = {nth}; then echo killed >{STRUCK}; {kill} {leave}; fi"
        ),
    );
}

/// Runs a line of shell before each call of the manager's `method` by the command whose words contain `command`; the
/// method may be `*`.
pub(super) fn at_each_call(m: &Machine, command: &str, method: &str, line: &str) {
    m.write(&format!("{DIR}/tap.py"), &TAP.replace("DIR", DIR).replace("BUS", BUS));
    m.write(&format!("{DIR}/line"), line);
    m.run(&format!("systemd-run --quiet --unit=strike --collect python3 {DIR}/tap.py '{command}' '{method}'"));
    m.until("something listens in between", Duration::from_secs(5), || {
        m.try_run(&format!("test -S {DIR}/bus")).success()
    });
    m.write("/etc/systemd/system/shop.service.d/strike.conf", &format!("[Service]\nBindPaths={DIR}/bus:{BUS}\n"));
    m.run("systemctl daemon-reload");
}

/// For commands that people type: listened to like the shop's hooks.
pub(super) fn exposed(command: &str) -> String {
    format!("unshare --mount sh -ec 'mount --bind {DIR}/bus {BUS}; exec {command}'")
}

/// Kills the next `conductor HOOK …` at its `nth` of some system calls, named as for strace, before it is done; at
/// once if `nth` is 0.
pub(super) fn at_syscall(m: &Machine, hook: &str, calls: &str, nth: u32) {
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
pub(super) fn over(m: &Machine) -> bool {
    m.run(&format!(
        "rm -rf {DIR} /etc/systemd/system/shop.service.d
        systemctl stop strike 2>/dev/null || true
        if test -e {REAL}; then mv {REAL} /usr/bin/conductor; fi
        systemctl daemon-reload"
    ));
    m.try_run(&format!("grep killed {STRUCK}")).success()
}
