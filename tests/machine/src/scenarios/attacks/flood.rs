//! A local user floods what rollouts use, all at once and all the time.

use conductor_machine::load::{Load, thousands};
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::shop::{self, Engine, Listen, Shop};

scenarios!("attacks":
    flooded_rollouts: "a local user takes locks and ports, writes to the log, and opens connections to every socket and to the \
                       proxy, all the time while services are rolled under load"
        => "no request fails",
);

/// The number of requests, unless CONDUCTOR_MACHINE_REQUESTS says another: a run of minutes for a release.
const REQUESTS: u64 = 20_000;
/// Requests for each rollout.
const A_ROLLOUT: u64 = 4_000;

/// Four floods, each of which rests a little: the processors are for what is shown.
const FLOOD: &str = r#"
import fcntl, os, socket, threading, time

def often(flood):
    def run():
        while True:
            flood()
            time.sleep(0.05)
    threading.Thread(target=run, daemon=True).start()

def tried(work, *arguments):
    try:
        return work(*arguments)
    except OSError:
        return None

def paths():
    for top in ["/run", "/etc/conductor", "/var/lib/conductor"]:
        for here, directories, files in os.walk(top):
            yield from (os.path.join(here, name) for name in directories + files)

def locks():
    opened = [tried(os.open, path, os.O_RDONLY | os.O_NONBLOCK) for path in paths() if "conductor" in path]
    for descriptor in opened:
        if descriptor is not None:
            tried(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    time.sleep(0.2)
    [os.close(descriptor) for descriptor in opened if descriptor is not None]

def ports():
    taken = [socket.socket() for _ in range(1000)]
    for number, one in enumerate(taken):
        tried(one.bind, ("127.0.0.1", 0 if number % 2 else 32768 + os.urandom(1)[0] * 100 + number % 100))
        tried(one.listen)
    time.sleep(0.2)
    [one.close() for one in taken]

def logs():
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    entry = b"MESSAGE=flood\nCONDUCTOR_SERVICE=shop\nPRIORITY=3\n"
    for path, text in [("/dev/log", b"<11>flood"), ("/run/systemd/journal/socket", entry)] * 50:
        tried(log.sendto, text, path)
    log.close()

def sockets():
    opened = []
    for path in paths():
        if path.startswith("/run/") and tried(lambda: os.stat(path).st_mode & 0o170000) == 0o140000:
            for kind in [socket.SOCK_STREAM, socket.SOCK_DGRAM]:
                opened.append(socket.socket(socket.AF_UNIX, kind))
                opened[-1].setblocking(False)
                tried(opened[-1].connect, path)
                tried(opened[-1].send, b"READY=1\nSTOPPING=1\nMAINPID=1\n")
    for _ in range(50):
        opened.append(socket.socket())
        tried(opened[-1].connect, ("127.0.0.1", 80))
        tried(opened[-1].send, b"GET / HTTP/1.1\r\nHost: shop.localhost\r\n")
    time.sleep(0.2)
    [one.close() for one in opened]

for flood in [locks, ports, logs, sockets]:
    often(flood)
open("/run/flood/begun", "w").close()
time.sleep(6105)
"#;

fn flooded_rollouts(m: &mut Machine) {
    let requests = std::env::var("CONDUCTOR_MACHINE_REQUESTS").ok().and_then(|number| number.parse().ok());
    let requests = requests.unwrap_or(REQUESTS);
    let shop = Shop::new(2);
    shop.declare(m, "0");
    bridged(m, 0);
    m.run("useradd --create-home mallory; install -d -o mallory /run/flood");
    m.write("/run/flood.py", FLOOD);
    m.run("systemd-run --quiet --unit=flood --uid=mallory python3 /run/flood.py");
    m.until("the flood has begun", std::time::Duration::from_secs(20), || {
        m.try_run("test -e /run/flood/begun").success()
    });
    let load = Load { at_least: requests, seconds: 1800, ..shop::load() };
    let other =
        m.load(Load { host: "bridged.localhost".into(), clients: 4, pause_ms: 20, at_least: 0, ..load.clone() });
    let load = m.load(load);
    let mut refused = 0;
    for version in 1..=requests / A_ROLLOUT {
        shop.declare(m, &version.to_string());
        // A port that was taken first fails a rollout, not a request.
        refused += u64::from(!bridged(m, version));
    }
    let (seen, other) = (load.stop(), other.stop());
    m.run("systemctl stop flood");
    assert_eq!((seen.failed, other.failed), (0, 0), "{seen}\n{other}");
    assert!(seen.requests() >= requests, "{seen}");
    shop::get(m);
    m.note(format!(
        "{seen}; of a bridged service {} requests, {refused} rollouts refused",
        thousands(other.requests())
    ));
}

/// Declares a service that binds a TCP port; returns whether it serves the version.
fn bridged(m: &Machine, version: u64) -> bool {
    let text = Shop::new(1).engine(Engine::Exec(Listen::Tcp)).service_toml().replace(shop::HOST, "bridged.localhost");
    m.write("/root/bridged/service.toml", &text);
    m.run("cp --update /root/shop/app /root/bridged/app");
    let declared = m.try_run(&format!("conductor service declare /root/bridged VERSION={version}"));
    declared.success()
}
