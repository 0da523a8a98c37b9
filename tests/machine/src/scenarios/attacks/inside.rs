//! What a process in the default sandbox reaches of the machine: each attempt must be refused.

use std::time::Duration;

use conductor_machine::machine::Machine;

use super::super::shop::{self, Engine, Listen, Shop};
use crate::scenario::scenarios;

scenarios!("attacks":
    inside_a_service: "a process of a service in the default sandbox tries files, sockets, privileges and processes of others"
        => "each is refused; what it tells systemd changes nothing",
);

/// Attempts by name, as expressions of Python that fail where the kernel refuses. `c` makes an error of a system call
/// that returns one.
const REFUSED: &[(&str, &str)] = &[
    ("write to /", "write('/')"),
    ("write to /etc", "write('/etc')"),
    ("write to /run", "write('/run')"),
    ("write to /run/conductor", "write('/run/conductor')"),
    ("write to /var/lib/conductor", "write('/var/lib/conductor')"),
    ("write to its deployment's records", "write(os.path.dirname(os.environ['CONDUCTOR_DEPLOYMENT_DIR']))"),
    ("write to its files", "write(os.environ['CONDUCTOR_SERVICE_DIR'])"),
    ("write to its sockets", "write(os.path.dirname(os.environ['CONDUCTOR_SOCKET']))"),
    ("write to slots", "write('/run/conductor/slots/shop')"),
    ("write to the proxy's configuration", "write('/run/conductor/proxy/caddy')"),
    ("write to units", "write('/run/systemd/system')"),
    ("write to /proc/sys", "open('/proc/sys/kernel/core_pattern', 'w').write('x')"),
    ("write to control groups", "open('/sys/fs/cgroup/cgroup.procs', 'w').write('1')"),
    (
        "write to its control group",
        "open('/sys/fs/cgroup' + open('/proc/self/cgroup').read().split('::')[1].strip() + '/cgroup.procs', 'w').write('1')",
    ),
    ("read passwords", "open('/etc/shadow').read()"),
    (
        "read declarations",
        "open('/etc/conductor/services/shop/service.toml').read() if os.stat('/etc/conductor/services').st_mode & 7 == 0 else open('/nowhere')",
    ),
    ("read root's directory", "os.listdir('/root')"),
    ("read a home directory", "os.listdir('/home/mallory')"),
    ("read the kernel's log", "open('/dev/kmsg').read(1)"),
    ("read memory", "open('/dev/mem', 'rb').read(1)"),
    ("read the environment of PID 1", "open('/proc/1/environ').read()"),
    ("list descriptors of PID 1", "os.listdir('/proc/1/fd')"),
    ("connect to another service", "connect('/run/conductor/sockets/shop-GENERATION/1')"),
    ("connect to another service's slot", "connect('/run/conductor/slots/shop/1')"),
    ("connect to another service's own socket", "connect('/run/conductor/sockets/shop-GENERATION/1.d/socket')"),
    ("connect to the proxy's administration", "connect('/run/caddy/admin.sock')"),
    ("connect to the proxy's administration by TCP", "socket.create_connection(('127.0.0.1', 2019), 1)"),
    ("connect to systemd", "connect('/run/systemd/private')"),
    ("change its socket's mode", "os.chmod(os.environ['CONDUCTOR_SOCKET'], 0o777)"),
    ("remove its socket", "os.unlink(os.environ['CONDUCTOR_SOCKET'])"),
    ("lock a rollout", "lock('/run/conductor/locks/rollout/shop')"),
    ("lock a declaration", "lock('/run/conductor/locks/declare/shop')"),
    ("lock ports", "lock('/run/conductor/ports')"),
    ("start a unit", "run('systemctl', 'start', 'conductor-proxy.service')"),
    ("stop a unit", "run('systemctl', 'stop', 'shop.service')"),
    ("start a transient unit", "run('systemd-run', '--wait', 'true')"),
    ("stop a service", "run('conductor', 'service', 'stop', 'shop')"),
    (
        "clean up another's deployment",
        "run('conductor', 'deployment', '_cleanup', '/run/conductor/deployments/shop-GENERATION-1')",
    ),
    ("become root", "os.setuid(0)"),
    ("become another user", "os.setuid(1)"),
    ("become another group", "os.setgid(1)"),
    ("join a group", "os.setgroups([0])"),
    ("give a file away", "open('/tmp/given', 'w').close() or os.chown('/tmp/given', 1, -1)"),
    ("run as root by a setuid program", "run('su', '-c', 'true')"),
    ("signal PID 1", "os.kill(1, 0)"),
    ("signal another service", "os.kill(PROCESS, 0)"),
    ("trace another service", "c(libc.ptrace(16, PROCESS, 0, 0))"),
    ("read another service's environment", "open('/proc/PROCESS/environ').read()"),
    ("trace PID 1", "c(libc.ptrace(16, 1, 0, 0))"),
    ("make a user namespace", "c(libc.unshare(0x10000000))"),
    ("make a mount namespace", "c(libc.unshare(0x20000))"),
    ("mount", "c(libc.mount(b'n', b'/tmp', b'tmpfs', 0, None))"),
    ("change the root", "os.chroot('/tmp')"),
    ("make a device", "os.mknod('/tmp/device', 0o20666, os.makedev(1, 1))"),
    ("make a setuid file", "open('/tmp/setuid', 'w').close() or os.chmod('/tmp/setuid', 0o4755)"),
    ("run in real time", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
    ("raise its priority", "os.nice(-5)"),
    ("set the clock", "time.clock_settime(time.CLOCK_REALTIME, time.time())"),
    ("set the host name", "socket.sethostname('x')"),
    ("open a raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    ("open a packet socket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    ("bind a privileged port", "socket.socket().bind(('127.0.0.1', 81))"),
    ("change its personality", "c(libc.personality(0x0400000))"),
    ("load a module", "c(libc.syscall(175, 0, 0, 0))"),
    ("load a program into the kernel", "c(libc.syscall(321, 0, 0, 0))"),
    ("reboot", "c(libc.reboot(0x01234567))"),
];

const PROGRAM: &str = r#"#!/usr/bin/python3
import ctypes, fcntl, os, socket, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def c(result):
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def write(dir):
    path = os.path.join(dir, "mallory")
    open(path, "w").write("x")
    os.unlink(path)

def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)

def lock(path):
    fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)

def run(*words):
    subprocess.run(words, check=True, timeout=20, stdin=subprocess.DEVNULL, capture_output=True)

def attempt(name, text):
    try:
        return "REACHED %r" % (eval(text),)
    except (OSError, subprocess.CalledProcessError) as error:
        return "refused %s" % (error,)
    except Exception as error:
        return "REACHED nothing: %r" % (error,)

for name, text in ATTEMPTS:
    print(name, "=>", attempt(name, text), flush=True)
systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for text in "MAINPID=1", "READY=1", "STOPPING=1", "ERRNO=1", "WATCHDOG=trigger", "STATUS=owned", "RELOADING=1":
    try: systemd.sendto(text.encode(), "/run/systemd/notify")
    except OSError: pass
print("done", flush=True)
time.sleep(1000)
"#;

fn inside_a_service(m: &mut Machine) {
    let shop = Shop::new(1).engine(Engine::Exec(Listen::Unix));
    shop.declare(m, "1");
    m.run("useradd --create-home mallory; chmod 700 /home/mallory");
    let attempts: Vec<_> = REFUSED.iter().map(|(name, text)| format!("({name:?}, {text:?})")).collect();
    let program = PROGRAM.replacen("def c(", &format!("ATTEMPTS = [{}]\n\ndef c(", attempts.join(",\n")), 1);
    let process = m.run("pgrep --exact app");
    let program = program.replace("GENERATION", &shop::generation(m)).replace("PROCESS", process.trim());
    m.write_executable("/root/inside/server", &program);
    m.write("/root/inside/service.toml", "[exec]\ncommand = [\"./server\"]\n[health]\nexec = [\"true\"]\n");
    m.run("conductor service declare /root/inside");
    let said = || m.run("journalctl --sync; journalctl --output=cat CONDUCTOR_SERVICE=inside");
    m.until("all was tried", Duration::from_secs(200), || said().lines().any(|line| line == "done"));
    let said = said();
    let tried = said.lines().filter(|line| line.contains(" => ")).count();
    assert_eq!(tried, REFUSED.len(), "{said}");
    let reached: Vec<_> = said.lines().filter(|line| line.contains(" => REACHED")).collect();
    assert_eq!(reached, [""; 0]);
    for name in ["shop", "inside"] {
        assert_eq!(m.prop(&format!("{name}.service"), "ActiveState"), "active", "{name}");
    }
    let unit = m.run("systemctl list-units --plain --no-legend 'inside-*@1.service' | cut -d' ' -f1");
    let (unit, pid) = (unit.trim(), m.run("pgrep --full '[i]nside.*/server'"));
    assert_eq!((m.prop(unit, "MainPID"), m.prop(unit, "ActiveState")), (pid.trim().to_owned(), "active".to_owned()));
    assert_ne!(m.prop(unit, "StatusText"), "owned");
    assert!(shop::get(m).starts_with("1 "));
    m.note(format!("{tried} attempts"));
}
