//! Further listeners of a process, `[listen.NAME]`.

use std::time::Duration;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("further":
    all_kinds_roll: "a server with four listeners, of which proxy and ports reach one each, is updated, scaled, restarted and rolled back"
        => "no call of any listener fails, and each answers with its own name",
    recreated: "a server with listeners on TCP and a unix socket is recreated under calls, and stopped" => "callers of each wait for the next one",
    first_callers: "the first callers of a deployment come while it is asked to stop, in its `pre_stop` hook"
        => "they are answered; the stop waits for no time limit, and nothing starts again",
    late_listener: "a new version does not listen at its second port" => "it is not ready; the old version serves on both",
    stolen_port: "another user listens on the second port that a process was given" => "the deployment is not ready with it, and starts again with another one",
    killed_process: "the process is killed" => "nobody else can bind its ports meanwhile, and each listener answers again",
    come_and_go,
    worker_with_metrics,
    containers,
);

const SECOND: Duration = Duration::from_secs(1);
const DIR: &str = "/root/shop";

/// Answers at each of its listeners with its version and the listener's name, after a moment; SIGTERM kills it at once.
const SERVER: &str = r#"#!/usr/bin/python3
import http.server, os, socket, socketserver, sys, threading, time
known = dict(zip(os.environ.get("LISTEN_FDNAMES", "").split(":"), range(3, 3 + int(os.environ.get("LISTEN_FDS", 0)))))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.02)
        body = f"{os.environ['VERSION']} {self.server.label}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self): return "caller"
    def log_message(self, *_): pass

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    request_queue_size = 128
    daemon_threads = True
    def __init__(self, label, listener):
        super().__init__(None, Handler, bind_and_activate=False)
        self.label, self.socket = label, listener
    def get_request(self):
        return self.socket.accept()[0], ("caller", 0)

def bound(family, address):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(128)
    return listener

servers = []
for label in sys.argv[1:]:
    suffix = "" if label == "main" else "_" + label.upper()
    name = "listen" if label == "main" else label
    if name in known:
        listener = socket.socket(fileno=known[name])
    elif "PORT" + suffix in os.environ:
        listener = bound(socket.AF_INET, ("127.0.0.1", int(os.environ["PORT" + suffix])))
    else:
        listener = bound(socket.AF_UNIX, os.environ["CONDUCTOR_SOCKET" + suffix])
    servers.append(Server(label, listener))
for server in servers[1:]: threading.Thread(target=server.serve_forever, daemon=True).start()
servers[0].serve_forever()
"#;

/// Calls each listener, one call after the other, until there is a file /run/over; prints the calls, and what failed.
const CALLER: &str = r#"import http.client, os, threading, time
calls, failed = [0], []
ways = {"main": (80, "shop.localhost"), "admin": (80, "admin.localhost"), "metrics": (9464, "x"), "control": (9465, "x")}
def call(label):
    port, host = ways[label]
    while not os.path.exists("/run/over"):
        try:
            caller = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            caller.request("GET", "/", headers={"Host": host})
            answer = caller.getresponse()
            said = answer.read().decode().split()
            if answer.status != 200 or said[1:] != [label]: failed.append(f"{label}: {answer.status} {said}")
        except Exception as error:
            failed.append(f"{label} at {time.time() % 3600:.3f}: {error!r}")
        calls[0] += 1
        time.sleep(0.005)
import sys
threads = [threading.Thread(target=call, args=(label,)) for label in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(calls[0], *failed[:10], sep="\n")
"#;

/// The four listeners, and what leads callers to each.
const ALL: &str = r#"concurrency = 2
slots = 4
[exec]
command = ["./server", "main", "admin", "metrics", "control"]
environment = { VERSION = "{{ VERSION }}", METRICS = "127.0.0.1:${PORT_METRICS}" }
[listen]
type = "tcp"
[listen.metrics]
type = "tcp"
[listen.admin]
type = "unix"
[listen.control]
type = "activation"
[health]
http = "/"
listener = "admin"
[[route]]
host = ["shop.localhost"]
tls = "off"
[[route]]
host = ["admin.localhost"]
tls = "off"
listener = "admin"
[[port]]
listen = "127.0.0.1:9464"
listener = "metrics"
[[port]]
listen = "127.0.0.1:9465"
listener = "control"
"#;

/// Two ports, each behind a `[[port]]`.
const TWO: &str = r#"[exec]
command = ["./server", "main", "metrics"]
environment = { VERSION = "{{ VERSION }}" }
[listen]
type = "tcp"
[listen.metrics]
type = "tcp"
[[route]]
host = ["shop.localhost"]
tls = "off"
[[port]]
listen = "127.0.0.1:9464"
listener = "metrics"
"#;

fn write(m: &Machine, text: &str) {
    m.write(&format!("{DIR}/service.toml"), text);
    m.write_executable(&format!("{DIR}/server"), SERVER);
    m.write("/root/caller.py", CALLER);
}

fn declare(m: &Machine, version: &str) -> String {
    m.run(&format!("conductor service declare {DIR} VERSION={version} 2>&1"))
}

/// What a listener answers: its version and its name.
fn answer(m: &Machine, at: &str) -> String {
    m.run(&format!("curl --silent --fail --max-time 60 http://{at}/")).trim().to_owned()
}

fn answers(m: &Machine) -> [String; 2] {
    ["shop.localhost", "127.0.0.1:9464"].map(|at| answer(m, at))
}

/// Runs `what` while callers call the listeners; none of them may fail.
fn under_calls(m: &Machine, listeners: &str, what: impl FnOnce()) {
    let caller = m.spawn(&format!("rm -f /run/over; python3 /root/caller.py {listeners}"));
    what();
    m.run("touch /run/over");
    let told = caller.finish();
    assert_eq!(told.lines().count(), 1, "{told}");
    m.note(format!("{} calls, 0 failed", told.trim()));
}

fn all_kinds_roll(m: &mut Machine) {
    write(m, ALL);
    declare(m, "1");
    let m = &*m;
    under_calls(m, "main admin metrics control", || {
        for version in ["2", "3"] {
            declare(m, version);
        }
        m.run("conductor service scale shop 3; conductor service restart shop; conductor service scale shop 1");
        m.run("conductor service rollback shop; systemctl daemon-reload; conductor daemon-reload");
    });
    assert_eq!(answer(m, "127.0.0.1:9465"), "3 control");
    assert_eq!(m.run("ls /run/conductor/slots/shop | sort | tail -n 4"), "4\n4-admin\n4-control\n4-metrics\n");
    let unit = m.run("systemctl list-units --plain --no-legend 'shop-????????????@1.service' | cut -d ' ' -f 1");
    let shown = m.run(&format!("conductor deployment show {unit}"));
    assert!(shown.contains("1-metrics"), "{shown}");
    let told = m.run("conductor service status shop; conductor doctor || true");
    assert!(!told.contains("cannot connect"), "{told}");
    // Nothing of them is left.
    m.run("conductor service rm shop");
    assert_eq!(
        m.run("systemctl list-units --all --plain --no-legend 'shop*'; ls /run/conductor/sockets /run/conductor/slots"),
        "/run/conductor/slots:\n\n/run/conductor/sockets:\n"
    );
    assert_eq!(m.run("ls /run/systemd/system | grep shop || true"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn recreated(m: &mut Machine) {
    write(m, &format!("{}[deploy]\nstrategy = \"recreate\"\n", ALL.replace("concurrency = 2", "concurrency = 1")));
    declare(m, "1");
    let m = &*m;
    under_calls(m, "main admin metrics control", || {
        for version in ["2", "3", "4"] {
            declare(m, version);
        }
    });
    assert_eq!(answer(m, "127.0.0.1:9465"), "4 control");
    m.run("systemctl stop shop");
    assert_eq!(m.run("systemctl list-units --plain --no-legend --state=active 'shop*'; ss -lnHt 'sport = 9464'"), "");
    m.run("systemctl start shop");
    assert_eq!(answers(m), ["4 main", "4 metrics"]);
}

fn first_callers(m: &mut Machine) {
    let text = TWO.replace("[listen]\n", "[hooks]\npre_stop = [\"/usr/bin/sleep\", \"3\"]\n[listen]\n");
    write(m, &format!("{text}[deploy]\nstrategy = \"recreate\"\n"));
    for version in ["1", "2"] {
        declare(m, version);
        let unit = m.run("systemctl list-units --plain --no-legend 'shop-????????????@1.service' | cut -d ' ' -f 1");
        let update = m.spawn(&format!("conductor service declare {DIR} VERSION={version}-next 2>&1"));
        m.until("it stops", 60 * SECOND, || m.prop(unit.trim(), "ActiveState") == "deactivating");
        let callers =
            ["shop.localhost", "127.0.0.1:9464"].map(|at| m.spawn(&format!("curl --silent --fail http://{at}/")));
        for (caller, label) in callers.into_iter().zip(["main", "metrics"]) {
            let said = caller.finish();
            assert!(said.trim().ends_with(label), "{said}");
        }
        let told = update.finish();
        assert!(!told.contains("did not stop"), "{told}");
    }
    let journal = m.run("journalctl --unit 'shop-*' --output cat");
    assert!(!journal.contains("stopping although"), "{journal}");
}

fn late_listener(m: &mut Machine) {
    write(m, &format!("{TWO}[deploy]\nhealth_timeout = \"5s\"\n"));
    declare(m, "1");
    m.run(&format!("sed -i 's/\"main\", \"metrics\"/\"main\"/' {DIR}/service.toml"));
    let output = m.try_run(&format!("conductor service declare {DIR} VERSION=2"));
    assert!(!output.success() && output.stderr.contains("its process has to listen on $PORT_METRICS"), "{output}");
    assert_eq!(answers(m), ["1 main", "1 metrics"]);
}

/// The process tells its ports in a file, and waits until somebody has taken the second.
fn stolen_port(m: &mut Machine) {
    let program = SERVER.replace(
        "servers = []",
        "os.umask(0)\ntaken = '/srv/ports/taken'\nif not os.path.exists(taken):\n    with open('/srv/ports/one', 'w') as out: \
         out.write(os.environ['PORT_METRICS'])\n    while not os.path.exists(taken): time.sleep(0.01)\nservers = []",
    );
    write(m, &TWO.replace("[listen]\n", "[systemd.service]\nReadWritePaths = \"/srv/ports\"\n[listen]\n"));
    m.write_executable(&format!("{DIR}/server"), &program);
    m.run("mkdir -p /srv/ports && chmod 1777 /srv/ports");
    let thief = m.spawn(
        "exec setpriv --reuid=nobody --clear-groups python3 -c 'import os, socket, time
while not os.path.exists(\"/srv/ports/one\") or not open(\"/srv/ports/one\").read(): time.sleep(0.01)
taken = socket.create_server((\"127.0.0.1\", int(open(\"/srv/ports/one\").read())))
open(\"/srv/ports/taken\", \"w\").close()
time.sleep(300)'",
    );
    declare(m, "1");
    assert_eq!(answers(m), ["1 main", "1 metrics"]);
    let journal = m.run("journalctl --unit 'shop-*' --output cat");
    assert!(journal.contains("the user nobody"), "{journal}");
    m.run("kill $(pgrep --full 'time[.]sleep.300')");
    drop(thief.wait());
}

fn killed_process(m: &mut Machine) {
    write(m, ALL);
    declare(m, "1");
    for _ in 0..3 {
        m.run("systemctl kill --signal=KILL --kill-who=main 'shop-????????????@*.service'");
        // A caller who has connected to the one that was killed is lost.
        for at in ["shop.localhost", "admin.localhost", "127.0.0.1:9464", "127.0.0.1:9465"] {
            m.until("it answers", 20 * SECOND, || m.try_run(&format!("curl --silent --fail http://{at}/")).success());
        }
    }
    let stored = m.run("systemctl show --property=FileDescriptorStoreMax --property=NFileDescriptorStore 'shop-????????????@1.service'");
    assert!(stored.contains("NFileDescriptorStore=2"), "{stored}");
    m.reboot();
    assert_eq!(answers(m), ["1 main", "1 metrics"]);
}

/// A listener is added, led to elsewhere, and removed.
fn come_and_go(m: &mut Machine) {
    let one = "[exec]\ncommand = [\"./server\", \"main\"]\nenvironment = { VERSION = \"{{ VERSION }}\" }\n[listen]\ntype = \"tcp\"\n\
               [[route]]\nhost = [\"shop.localhost\"]\ntls = \"off\"\n";
    write(m, one);
    declare(m, "1");
    write(m, TWO);
    declare(m, "2");
    assert_eq!(answers(m), ["2 main", "2 metrics"]);
    // Another listener for the same callers: no deployment is replaced.
    let before = m.run("ls /run/conductor/deployments");
    write(
        m,
        &TWO.replace("tls = \"off\"", "tls = \"off\"\nlistener = \"metrics\"")
            .replace("9464\"\nlistener = \"metrics\"", "9464\""),
    );
    declare(m, "2");
    assert_eq!(m.run("ls /run/conductor/deployments"), before);
    m.until("the route leads there", 20 * SECOND, || answers(m) == ["2 metrics", "2 main"]);
    write(m, one);
    declare(m, "3");
    assert_eq!(answer(m, "shop.localhost"), "3 main");
    assert_eq!(m.run("ls /run/conductor/slots/shop | grep -c metrics || true").trim(), "0");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend '*metrics*'"), "");
}

fn worker_with_metrics(m: &mut Machine) {
    let worker = TWO.replace("type = \"tcp\"\n[listen.metrics]", "type = \"none\"\n[listen.metrics]");
    let worker = worker.replace("\"main\", \"metrics\"", "\"metrics\"");
    let worker = worker.replace(
        "[[route]]\nhost = [\"shop.localhost\"]\ntls = \"off\"\n",
        "[health]\nhttp = \"/\"\nlistener = \"metrics\"\n",
    );
    let worker = format!(
        "{worker}[health.live]\nhttp = \"/\"\nlistener = \"metrics\"\ninterval = \"1s\"\ntimeout = \"1s\"\nfailures = 2\n"
    );
    write(m, &worker);
    declare(m, "1");
    assert_eq!(answer(m, "127.0.0.1:9464"), "1 metrics");
    let m = &*m;
    under_calls(m, "metrics", || drop((declare(m, "2"), declare(m, "3"))));
    assert_eq!(answer(m, "127.0.0.1:9464"), "3 metrics");
    // One that hangs is found by its metrics.
    let pid = m.run("systemctl show --property=MainPID --value 'shop-????????????@1.service'");
    m.run(&format!("kill -STOP {pid}"));
    m.until("another process answers", 60 * SECOND, || {
        m.run("systemctl show --property=MainPID --value 'shop-????????????@1.service'") != pid
    });
    m.until("it answers", 20 * SECOND, || m.try_run("curl --silent --fail http://127.0.0.1:9464/").success());
}

/// A container and a pod with two ports.
fn containers(m: &mut Machine) {
    image::make(m, IMAGE, "1");
    let run = "PORT=$PORT_METRICS /bin/app --address 0.0.0.0 --version metrics & exec /bin/app --address 0.0.0.0 --version main";
    let rest = "[listen.metrics]\ntype = \"tcp\"\nport = 9090\n[health]\nhttp = \"/healthz\"\n\
                [[route]]\nhost = [\"shop.localhost\"]\ntls = \"off\"\n[[port]]\nlisten = \"127.0.0.1:9464\"\nlistener = \"metrics\"\n";
    let container = format!(
        "[container]\nimage = \"{IMAGE}\"\nport = 8080\nexec = [\"/bin/sh\", \"-c\", '{run}']\n\
         environment = {{ RELEASE = \"{{{{ VERSION }}}}\", AT = \"${{PORT_METRICS}}\" }}\n{rest}"
    );
    let pod = format!("[pod]\ntemplate = \"pod.yaml\"\nport = 8080\n{rest}");
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: shop\nspec:\n  containers:\n  - name: web\n    image: {IMAGE}\n    \
         command: [/bin/sh, -c, '{run}']\n    env:\n    - {{ name: RELEASE, value: \"{{{{ VERSION }}}}\" }}\n    \
         - {{ name: PORT, value: \"{{{{ PORT }}}}\" }}\n    - {{ name: PORT_METRICS, value: \"{{{{ PORT_METRICS }}}}\" }}\n"
    );
    m.write(&format!("{DIR}/pod.yaml"), &manifest);
    for text in [container, pod] {
        m.write(&format!("{DIR}/service.toml"), &text);
        for version in ["1", "2"] {
            declare(m, version);
            for (at, label) in [("shop.localhost", "main"), ("127.0.0.1:9464", "metrics")] {
                let said = answer(m, at);
                assert!(said.starts_with(label), "{said}");
            }
        }
        m.run("conductor service rm shop");
    }
}
