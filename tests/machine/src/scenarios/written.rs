//! Words, files and names arrive as people wrote them.

use conductor_machine::machine::Machine;
use serde_json::Value;

use crate::scenario::scenarios;

scenarios!("written":
    words_of_commands,
    files_of_a_project,
    what_editors_leave,
    names_that_were_typed,
    directories_that_generations_share,
    machine_in_the_default_sandbox,
);

/// An HTTP server on the passed socket, or where `BIND` says, which answers with its arguments and environment.
const SERVER: &str = r#"#!/usr/bin/python3
import http.server, json, os, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("", 0), Handler, bind_and_activate=False)
        bind = os.environ.get("BIND")
        self.socket = socket.create_server((bind.split(":")[0], int(bind.split(":")[1]))) if bind else socket.socket(fileno=3)
        self.server_name, self.server_port = "localhost", 80
    def get_request(self):
        return self.socket.accept()[0], ("unix", 0)
Server().serve_forever()
"#;

/// Writes /root/NAME with the server and a declaration.
pub(super) fn write(m: &Machine, name: &str, declaration: &str) {
    m.run(&format!("rm -rf /root/{name}; mkdir -p /root/{name}"));
    m.write_executable(&format!("/root/{name}/server.py"), SERVER);
    m.write(&format!("/root/{name}/service.toml"), declaration);
}

/// What a deployment of the service answers.
pub(super) fn ask(m: &Machine, name: &str) -> Value {
    let answer = m.run(&format!("curl --silent --max-time 5 --unix-socket /run/conductor/slots/{name}/1 http://x/"));
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

const PLAIN: &str = "[exec]\ncommand = [\"./server.py\"]\n";

fn words_of_commands(m: &mut Machine) {
    let script = r#"n=${#LIST}; t=${TAG%%#}; u=${NONE:-unset}; echo $0 $n $t $u {# >>/run/$CONDUCTOR_SERVICE; test "$CONDUCTOR_INSTANCE" = ${CONDUCTOR_INSTANCE}"#;
    let hook = format!("['sh', '-c', '''{script}''', ");
    let text = format!(
        r#"
[config]
LIST = "abc"
TAG = "v1#"
[exec]
command = ["./server.py", "$2y$10$abcdefghij", "cost: $5", "$LIST", "${{LIST}}", "$${{LIST}}", "a$$b", "${{#LIST}}", "$"]
[health]
exec = {hook}'health$1${{LIST}}']
[hooks]
pre_start = {hook}'pre$1${{LIST}}']
post_start = {hook}'post$1${{LIST}}']
pre_stop = {hook}'stop$1${{LIST}}']
drain = {hook}'drain$1${{LIST}}']
post_stop = {hook}'end$1${{LIST}}']
[commands.say]
exec = {hook}'command$1${{LIST}}']
"#
    );
    write(m, "words", &text);
    m.run("touch /run/words; chmod 666 /run/words");
    let text = m.run("cd /root; sed -i 's|^\\[hooks\\]|[systemd.service]\\nReadWritePaths = \"/run/words\"\\n[hooks]|' words/service.toml; conductor service declare words");
    assert!(text.contains(", 1 file of "), "{text}");
    let answer = ask(m, "words");
    let expected = ["$2y$10$abcdefghij", "cost: $5", "$LIST", "abc", "${LIST}", "a$b", "${#LIST}", "$"];
    assert_eq!(answer["arguments"], serde_json::json!(expected));
    m.run("conductor run words say");
    m.run("conductor service stop words");
    let said = m.run("cat /run/words");
    let mut places: Vec<_> =
        said.lines().map(|line| line.split("$1abc 3 v1 unset {#").next().unwrap_or(line)).collect();
    places.dedup();
    assert_eq!(places, ["pre", "health", "post", "command", "stop", "drain", "end"], "{said}");
    m.run("conductor service rm words");
}

fn files_of_a_project(m: &mut Machine) {
    write(m, "project", "\u{feff}[exec]\r\ncommand = [\"./.venv/bin/python3\", \"server.py\"]\r\n");
    m.run(
        "cd /root/project
         mkdir -p .venv/bin .git/objects node_modules/.bin build lib
         ln -s /usr/bin/python3 .venv/bin/python3; ln -s python3 .venv/bin/python
         printf 'home = /usr/bin\n' >.venv/pyvenv.cfg
         head -c 40000000 /dev/zero >.git/objects/pack; head -c 40000000 /dev/zero >build/app.o
         touch server.py~ '#server.py#' .server.py.swp lib/keep.log lib/drop.log; ln -s me@host.1:2 '.#server.py'
         mkfifo .git/fifo events.sock
         printf '# what is built\n/build/\n*.log\n!keep.log\n*.sock\n' >.conductorignore",
    );
    m.run("conductor service declare /root/project");
    let stored = m.run("cd /etc/conductor/services/project; find . ! -name .declared.json -printf '%P %l\\n' | sort");
    let expected = " \n.venv \n.venv/bin \n.venv/bin/python python3\n.venv/bin/python3 /usr/bin/python3\n\
                    .venv/pyvenv.cfg \nlib \nlib/keep.log \nnode_modules \nnode_modules/.bin \nserver.py \nservice.toml \n";
    assert_eq!(stored, expected);
    assert_eq!(ask(m, "project")["arguments"], serde_json::json!([]));
    // Links to what the sandbox hides.
    for target in ["/home/me/.pyenv/bin/python3", "/tmp/x", "../../outside"] {
        m.run(&format!("cd /root/project; ln -sfn {target} lib/link"));
        let refused = m.try_run("conductor check /root/project 2>&1");
        assert!(refused.status == 3 && refused.stdout.contains("project/lib/link: links"), "{target}: {refused}");
        assert!(refused.stdout.contains(target), "{target}: {refused}");
    }
    m.run("conductor service rm project");
}

fn what_editors_leave(m: &mut Machine) {
    write(m, "edited", PLAIN);
    m.run("conductor service declare /root/edited");
    let stored = "/etc/conductor/services/edited";
    for left in [
        ".service.toml.swp",
        ".#server.py",
        "#server.py#",
        "server.py~",
        "server.py.dpkg-old",
        ".nfs00000000deadbeef",
        ".DS_Store",
        ".git",
    ] {
        m.run(&format!("head -c 4096 /dev/zero >'{stored}/{left}'"));
        let plan = m.run("conductor plan edited");
        assert!(!plan.contains("roll"), "{left}: {plan}");
    }
    // Beside the declarations, too: systemd's generator must not take them for services.
    m.run(&format!("cp -r {stored} {stored}~; cp -r {stored} {stored}.dpkg-old"));
    m.run("conductor daemon-reload && conductor check");
    let services = m.run("conductor service list --json | grep -c '\"name\"'");
    assert_eq!(services.trim(), "1", "{services}");
    m.run("conductor service rm edited");
}

fn names_that_were_typed(m: &mut Machine) {
    write(m, "release-1", PLAIN);
    m.run("mkdir -p /root/releases; cp -r /root/release-1 /root/releases/20261130; ln -s releases/20261130 /root/shop");
    for word in ["shop", "./shop", "shop/", "/root/shop/."] {
        let said = m.run(&format!("cd /root; conductor service declare {word}"));
        assert!(said.starts_with("shop: generation "), "{word}: {said}");
    }
    let said = m.run("cd /root/releases/20261130; conductor service declare . --no-start");
    assert!(said.starts_with("20261130: "), "{said}");
    m.run("conductor service rm 20261130; conductor service rm shop");
    // A link among the declarations: another release, another target.
    let shop = "/etc/conductor/services/shop";
    m.run("sed 's/dict(os.environ)/{\"release\": 2}/' /root/release-1/server.py >/root/2.py; cp -r /root/release-1 /root/release-2");
    m.run("install -m 755 /root/2.py /root/release-2/server.py; cp -r /root/release-1 /root/release-2 /srv");
    m.run(&format!("ln -s /srv/release-1 {shop}; conductor daemon-reload; systemctl start shop"));
    assert!(ask(m, "shop")["environment"]["CONDUCTOR_SERVICE"] == "shop");
    m.run(&format!("ln -sfn /srv/release-2 {shop}; conductor daemon-reload"));
    assert_eq!(ask(m, "shop")["environment"]["release"], 2);
    m.run(&format!("systemctl stop shop; rm {shop}; conductor daemon-reload"));
    // A value with slashes is a variable everywhere.
    write(m, "paths", "[exec]\ncommand = [\"./server.py\", \"{{ DATA }}\"]\n");
    for command in ["check", "render", "explain", "service declare"] {
        m.run(&format!("cd /root; conductor {command} paths DATA=/srv/data"));
    }
    assert_eq!(ask(m, "paths")["arguments"], serde_json::json!(["/srv/data"]));
    m.run("conductor service rm paths");
}

fn directories_that_generations_share(m: &mut Machine) {
    for user in ["", "user = \"root\"\nsandbox = \"none\"\n"] {
        let text = format!(
            "{PLAIN}{user}environment = {{ RELEASE = \"{{{{ RELEASE }}}}\" }}\n[hooks]\npre_start = [\"touch\", \"/run/shared/of-$${{RELEASE}}\"]\n\
             [systemd.service]\nRuntimeDirectory = \"shared\"\nStateDirectory = \"shared\"\n"
        );
        write(m, "shared", &text.replace("$${", "${"));
        let declare = |release: u32| m.run(&format!("conductor service declare /root/shared RELEASE={release}"));
        let there = || m.run("ls /run/shared/").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        declare(1);
        assert_eq!(there(), ["of-1"], "{user}");
        declare(2);
        assert_eq!(there(), ["of-1", "of-2"], "after an update: {user}");
        m.run("conductor service scale shared 3; conductor service scale shared 1; conductor service restart shared");
        assert_eq!(there(), ["of-1", "of-2"], "after scaling: {user}");
        m.run("systemctl kill --signal=KILL 'shared-*@*.service'; until curl -sf --unix-socket /run/conductor/slots/shared/1 http://x/ >/dev/null; do sleep 0.1; done");
        assert_eq!(there(), ["of-1", "of-2"], "after a crash: {user}");
        m.run("conductor service rm shared");
        assert_eq!(m.run("ls -d /run/shared /run/private/shared 2>/dev/null || true"), "", "{user}");
        m.run("rm -rf /var/lib/shared /var/lib/private/shared");
    }
}

/// What runtimes ask a machine when they start: processors, memory, load, interfaces, addresses, the limits of files; and
/// what servers do to a socket of their own.
const LOOK: &str = r#"#!/usr/bin/python3
import os, socket, resource
print("processors", os.cpu_count() == len(os.sched_getaffinity(0)) and open("/proc/cpuinfo").read().count("processor\t") > 0)
print("memory", int(open("/proc/meminfo").readline().split()[1]) > 0)
print("load", len(os.getloadavg()) == 3 and open("/proc/stat").readline().startswith("cpu "))
print("interfaces", [name for _, name in socket.if_nameindex() if name == "lo"] == ["lo"])
print("addresses", len(socket.getaddrinfo("localhost", 80)) > 0)
print("limits", int(open("/proc/sys/fs/file-max").read()) > 0 and resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 1024)
own = socket.socket(socket.AF_UNIX)
own.bind("/tmp/own")
os.chmod("/tmp/own", 0o660)
print("socket", oct(os.stat("/tmp/own").st_mode & 0o777) == "0o660")
"#;

fn machine_in_the_default_sandbox(m: &mut Machine) {
    write(m, "looks", &format!("{PLAIN}[commands.look]\nexec = [\"./look.py\"]\n"));
    m.write_executable("/root/looks/look.py", LOOK);
    m.run("conductor service declare /root/looks");
    let seen = m.run("conductor run looks look");
    let expected = ["processors", "memory", "load", "interfaces", "addresses", "limits", "socket"];
    assert_eq!(seen.lines().collect::<Vec<_>>(), expected.map(|what| format!("{what} True")), "{seen}");
    m.run("conductor service rm looks");
}
