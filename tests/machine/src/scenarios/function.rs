//! Functions that scenarios declare: a program that acts by its path and one that speaks HTTP, and what asks them
//! through the proxy or at their socket.

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;

/// Acts by its path.
pub(super) const ACT: &str = r#"#!/bin/sh
begin() { printf 'Content-Type: text/plain\r\n\r\n'; }
case "$PATH_INFO" in
/nothing) exit 0 ;;
/half) printf 'Content-Type: text/pl' ;;
/garbage) echo 'this is no header'; echo; echo body ;;
/exits) echo 'about to exit' >&2; exit 3 ;;
/hangs) exec sleep 6001 ;;
/killed) begin; echo begun; sleep 0.2; kill -KILL $$ ;;
/killed-at-once) begin; kill -KILL $$ ;;
/fails-late) begin; echo whole; exit 4 ;;
/closes) begin; echo closed; exec >&-; sleep 1; echo ran-on >&2 ;;
/leaves) begin; echo left; sleep 6002 & setsid -f sleep 6003 ;;
/gib) begin; head -c 1073741824 /dev/zero ;;
/unread) begin; echo unread ;;
/env) begin; env | sort ;;
/cat) begin; cat ;;
/count) begin; echo "$CONTENT_LENGTH $(wc -c)" ;;
/slow) begin; sleep 0.5; echo slow ;;
/short) printf 'Content-Type: text/plain\r\nContent-Length: 100\r\n\r\nshort' ;;
/short-late) printf 'Content-Type: text/plain\r\nContent-Length: 100\r\n\r\nshort'; sleep 0.2 ;;
/status) printf 'Status: 418 Short and stout\r\nX-Kind: teapot\r\nContent-Type: text/plain\r\n\r\ntea\n' ;;
/local) printf 'Location: %s/env?from=local\r\n\r\n' "$SCRIPT_NAME" ;;
/circle) printf 'Location: %s/circle\r\n\r\n' "$SCRIPT_NAME" ;;
/client) printf 'Location: http://elsewhere.example/\r\n\r\n' ;;
*) begin; echo "here $PATH_INFO" ;;
esac
"#;

/// Speaks HTTP/1.1 on stdin and stdout, or on connections to file descriptor 3.
pub(super) const WORKER: &str = r#"#!/usr/bin/python3 -u
import os, socket, socketserver, sys
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_POST(self): self.do_GET()
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/dies"): os._exit(3)
        if self.path.endswith("/hangs"): import time; time.sleep(6004)
        text = b"%d %s %s\n" % (os.getpid(), self.path.encode(), body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

class Stdio:
    def makefile(self, mode, *_): return os.fdopen(0 if "r" in mode else 1, mode, closefd=False, **({"buffering": 0} if "w" in mode else {}))
    def sendall(self, data): os.write(1, data)

if os.environ.get("LISTEN_PID") == str(os.getpid()):
    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        def get_request(self): return self.socket.accept()[0], ("", 0)
    server = Server("", Handler, bind_and_activate=False)
    server.socket = socket.socket(fileno=3)
    server.serve_forever()
else:
    Handler(Stdio(), ("", 0), None)
"#;

/// Where functions of scenarios are written.
pub(super) const DIR: &str = "/root/functions";

pub(super) const EXEC: &str = "[exec]\ncommand = [\"./act\"]\n";

/// Writes a function and declares it; its ID is returned.
pub(super) fn declare(m: &Machine, name: &str, program: &str, manifest: &str) -> String {
    let output = try_declare(m, name, program, manifest);
    assert!(output.success(), "{output}");
    output.stdout.trim().to_owned()
}

pub(super) fn try_declare(m: &Machine, name: &str, program: &str, manifest: &str) -> Output {
    let file = manifest.split("\"./").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("act");
    m.write_executable(&format!("{DIR}/{name}/{file}"), program);
    let own = if manifest.contains("name =") { String::new() } else { format!("name = \"{name}\"\n") };
    m.write(&format!("{DIR}/{name}/function.toml"), &format!("{own}{manifest}"));
    m.try_run(&format!("conductor cgi declare {DIR}/{name}"))
}

/// A machine whose proxy has no site of its own on port 80.
pub(super) fn ready(m: &Machine) {
    m.write("/etc/caddy/Caddyfile", "# No site of its own.\n{\n}\n");
    m.run("systemctl reload caddy");
}

/// Asks through the proxy: status, body.
pub(super) fn get(m: &Machine, path: &str) -> (u32, String) {
    curl(m, path, "")
}

pub(super) fn curl(m: &Machine, path: &str, options: &str) -> (u32, String) {
    let url = format!("http://localhost{path}");
    let text = m.run(&format!("curl --silent --max-time 20 --write-out '\\n%{{http_code}}' {options} '{url}' || true"));
    let (body, code) = text.rsplit_once('\n').expect("a status");
    (code.trim().parse().expect("a number"), body.to_owned())
}

/// Asks the function's socket itself.
pub(super) fn direct(m: &Machine, id: &str, path: &str, options: &str) -> (u32, String) {
    curl(m, path, &format!("--unix-socket /run/conductor/cgi/{id} {options}"))
}

/// Processes by their command lines; the pattern is written so that it does not match its own.
pub(super) fn count(m: &Machine, pattern: &str) -> usize {
    let (first, rest) = pattern.split_at(1);
    let pattern = format!("[{first}]{rest}");
    m.run(&format!("pgrep --full '{pattern}' | wc -l")).trim().parse().expect("a number")
}
