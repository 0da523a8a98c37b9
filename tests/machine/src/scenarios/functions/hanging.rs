//! Programs on a file system that does not answer, as of a network that is gone.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, WORKER, declare, get, ready};
use crate::scenarios::shop::{self, Shop};

scenarios!("functions":
    hanging_files: "the program of a function is on a file system that never answers, and execve(2) hangs for good"
        => "that request gets 504; other requests of the same gateway, other functions, rollouts and `daemon-reload` go on",
);

/// A file system by FUSE, fuse(4), that answers only what concerns the mount itself: who looks up a name in it waits for
/// ever, and no signal ends that.
const HANG: &str = r#"import ctypes, os, struct, time
os.makedirs("/mnt/hang", exist_ok=True)
if not os.path.exists("/dev/fuse"): os.mknod("/dev/fuse", 0o20600, os.makedev(10, 229))
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hang", b"/mnt/hang", b"fuse", 6, options): raise OSError(ctypes.get_errno(), "mount")
now = int(time.time())
attributes = struct.pack("<QII6Q10I", 1, 0, 0, 1, 0, 0, now, now, now, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
ANSWERS = {
    26: struct.pack("<4I2H2I2HI28x", 7, 31, 0, 0, 12, 9, 4096, 1, 0, 0, 0),
    3: attributes,
    17: struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0),
}
while True:
    asked = os.read(device, 1 << 20)
    _, operation, unique = struct.unpack_from("<IIQ", asked)
    answer = ANSWERS.get(operation)
    if answer is not None:
        os.write(device, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
"#;

/// Counts processes that wait uninterruptibly in a system call which looks up a path, for 300 ms: any process may wait
/// for a disk, but not so long.
const COUNT: &str = r#"python3 -c '
import glob, time
LOOKUPS = {"2", "4", "6", "21", "59", "257", "262", "269", "322", "332", "439"}
def seen():
    found = set()
    for directory in glob.glob("/proc/[0-9]*"):
        try:
            state = open(directory + "/stat").read().rpartition(")")[2].split()[0]
            if state == "D" and open(directory + "/syscall").read().split()[0] in LOOKUPS: found.add(directory)
        except OSError: pass
    return found
first = seen()
time.sleep(0.3)
print(len(first & seen()))'"#;

fn link(m: &Machine, to: &str) {
    m.run(&format!("for name in act work; do ln -sfn {to}/$name /srv/.link; mv -T /srv/.link /srv/$name; done"));
}

fn hanging_files(m: &mut Machine) {
    ready(m);
    Shop::new(1).declare(m, "1");
    m.write_executable("/srv/real/act", ACT);
    m.write_executable("/srv/real/work", WORKER);
    link(m, "/srv/real");
    let limits = "timeout = \"6s\"\nmax_concurrency = 4\n";
    let manifests = [
        ("cgi", format!("{limits}[exec]\ncommand = [\"/srv/act\"]\n")),
        ("alone", format!("mode = \"isolated\"\n{limits}[exec]\ncommand = [\"/srv/act\"]\n")),
        ("stdio", format!("interface = \"http\"\nmax_requests = 1\n{limits}[exec]\ncommand = [\"/srv/work\"]\n")),
        ("socket", format!("interface = \"http\"\nlisten = \"socket\"\n{limits}[exec]\ncommand = [\"/srv/work\"]\n")),
    ];
    let ids = manifests.map(|(name, manifest)| declare(m, name, ACT, &manifest));
    for id in &ids {
        assert_eq!(get(m, &format!("/cgi/{id}/x")).0, 200);
    }
    m.write("/root/hang.py", HANG);
    m.run("systemd-run --quiet --unit=hang --service-type=exec python3 /root/hang.py");
    m.until("the file system is there", Duration::from_secs(10), || m.run("cat /proc/mounts").contains("/mnt/hang"));
    let hanging = || m.run(COUNT).trim().parse::<u32>().expect("a number");
    for id in &ids {
        let before = hanging();
        // A worker that serves already needs no exec.
        get(m, &format!("/cgi/{id}/dies"));
        link(m, "/mnt/hang");
        let url = format!("http://localhost/cgi/{id}/x");
        let caller =
            m.spawn(&format!("curl --silent --max-time 60 --output /dev/null --write-out '%{{http_code}}' {url}"));
        m.until("execve(2) hangs", Duration::from_secs(10), || hanging() > before);
        link(m, "/srv/real");
        for other in &ids {
            assert_eq!(get(m, &format!("/cgi/{other}/x")).0, 200, "{other}, while {id} hangs");
        }
        assert_eq!(caller.finish(), "504", "{id}");
    }
    for command in ["cgi list", "status", "check", "doctor", "plan", "daemon-reload"] {
        let output = m.try_run(&format!("timeout 60 conductor {command}"));
        assert!(output.status != 124 && !output.stderr.contains("panicked"), "{command}: {output}");
    }
    Shop::new(1).declare(m, "2");
    assert!(shop::get(m).starts_with("2 "));
    m.note(format!("{} processes hang", hanging()));
    m.run("systemctl stop hang");
    m.until("none hangs", Duration::from_secs(10), || hanging() == 0);
    for id in &ids {
        assert_eq!(get(m, &format!("/cgi/{id}/x")).0, 200);
    }
}
