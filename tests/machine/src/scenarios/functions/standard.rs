//! RFC 3875: the paths of requests, the header that a program writes, and what it learns of a request.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, curl, declare, direct, get, ready};

scenarios!("functions":
    paths: "a request's path is encoded, has more slashes, `.` or `..`, and the proxy finds a function by it"
        => "SCRIPT_NAME is the alias that the proxy found, or the answer is 404",
    answers,
    requests,
);

/// Answers by its path with headers that programs write.
const HEADERS: &str = r#"#!/bin/sh
case "$PATH_INFO" in
/fragment) printf 'Location: /elsewhere/page#part\n\n' ;;
/own-fragment) printf 'Location: %s/page#part\n\n' "$SCRIPT_NAME" ;;
/doubled) printf 'Content-Type: text/html\nContent-Type: text/plain\nServer: mine\nETag: "1"\nETag: "2"\n\nbody\n' ;;
/folded) printf 'Content-Type : text/plain\nX-Long: one\n two\n\nbody\n' ;;
/untyped) printf 'X-Own: yes\n\n<html>\n' ;;
/bare) printf '\nbody\n' ;;
/reason) printf 'Status:\t404  Nobody home\nContent-Type: text/plain\n\nbody\n' ;;
/unchanged) printf 'Status: 304 Same\nETag: "2"\n\n' ;;
/part) printf 'Status: 206\nContent-Range: bytes 0-3/9\nContent-Type: text/plain\n\n%s' "$HTTP_RANGE" ;;
*) printf 'Content-Type: text/plain\n\n%s\n' "$PATH_INFO" ;;
esac
"#;

fn paths(m: &mut Machine) {
    ready(m);
    let manifest = format!("aliases = [\"/t/env\", \"/~me\", \"h.localhost\"]\ntls = \"off\"\n{EXEC}");
    let id = declare(m, "act", ACT, &manifest);
    declare(m, "other", ACT, &format!("aliases = [\"/t\"]\n{EXEC}"));
    let seen = |path: &str| {
        let (status, env) = curl(m, path, "--path-as-is");
        let value = |name: &str| env.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("none").to_owned();
        (status, value("SCRIPT_NAME="), value("PATH_INFO="))
    };
    let pair = |one: &str, other: &str| (200, one.to_owned(), other.to_owned());
    for path in [
        "/t/env/env",
        "/t/%65nv/env",
        "//t/env/env",
        "/t//env/env",
        "/t/./env/env",
        "/t/env%2Fenv",
        "/t%2fenv/env",
        "/t/x/../env/env",
        "/t/env/%2e/x/../env",
    ] {
        assert_eq!(seen(path), pair("/t/env", "/env"), "{path}");
    }
    assert_eq!(seen("/%7Eme/env"), pair("/~me", "/env"));
    assert_eq!(curl(m, "/t/env%2F../x", "--path-as-is"), (200, "here /x\n".into()), "the other function's");
    for path in [format!("//cgi/{id}/env"), format!("/cgi/{id}%2Fenv"), format!("/./cgi/{id}/./env")] {
        assert_eq!(seen(&path), pair(&format!("/cgi/{id}"), "/env"), "{path}");
    }
    // Caddy 2.6 ignores dots and spaces at the end of a path. A request that it passes on for them is not the function's.
    for path in ["/t/env.", "/t/env%20", "/~me/.."] {
        assert_eq!(seen(path).0, 404, "{path}");
    }
    // An alias that is a host has every path of it, also one that looks like an ID's; and no client names its own mount.
    let of_host = curl(m, &format!("/cgi/{id}/x"), "--header 'Host: h.localhost'");
    assert_eq!(of_host, (200, format!("here /cgi/{id}/x\n")));
    let forged = curl(m, "/t/env/env", "--header 'Conductor-Mount: /t' --header 'Conductor-Remote-Port: 1'").1;
    assert!(forged.contains("SCRIPT_NAME=/t/env\n") && !forged.contains("REMOTE_PORT=1\n"), "{forged}");
    // Slashes after the alias are the program's.
    assert_eq!(curl(m, "/t/env//a///b/", "--path-as-is"), (200, "here //a///b/\n".into()));
}

/// The fields of an answer by their names in lower case, and its first line.
fn headers(answer: &str) -> (String, Vec<(String, String)>) {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap_or("").to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    (first, fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect())
}

fn answers(m: &mut Machine) {
    ready(m);
    for mode in ["pooled", "isolated"] {
        let id = declare(m, "headers", HEADERS, &format!("mode = \"{mode}\"\naliases = [\"/h\"]\n{EXEC}"));
        let own = |path: &str, options: &str| direct(m, &id, &format!("/h{path}"), &format!("--include {options}")).1;
        let proxy = |path: &str| curl(m, &format!("/h{path}"), "--include").1;
        for answer in [own("/fragment", ""), proxy("/fragment")] {
            let (first, fields) = headers(&answer);
            assert!(first.contains(" 302"), "{mode}: {answer}");
            assert!(fields.contains(&("location".into(), "/elsewhere/page#part".into())), "{mode}: {answer}");
        }
        assert!(proxy("/own-fragment").contains(": /h/page#part\r\n"));
        for (answer, servers) in [(own("/doubled", ""), vec![]), (proxy("/doubled"), vec!["Caddy"])] {
            let (_, fields) = headers(&answer);
            let all = |name: &str| fields.iter().filter(|it| it.0 == name).map(|it| &*it.1).collect::<Vec<_>>();
            assert_eq!((all("content-type"), all("etag")), (vec!["text/plain"], vec!["\"2\""]), "{mode}: {answer}");
            assert_eq!(all("server"), servers, "{mode}: {answer}");
        }
        let (first, fields) = headers(&proxy("/folded"));
        assert!(first.contains(" 200") && fields.contains(&("x-long".into(), "one two".into())), "{mode}: {fields:?}");
        assert!(fields.contains(&("content-type".into(), "text/plain".into())), "{mode}: {fields:?}");
        for path in ["/untyped", "/bare"] {
            let (first, fields) = headers(&proxy(path));
            let kind = fields.iter().find(|it| it.0 == "content-type").map_or("", |it| &*it.1);
            assert!(first.contains(" 200") && kind.is_empty(), "{mode} {path}: nobody guesses a type: {fields:?}");
        }
        assert!(own("/reason", "").starts_with("HTTP/1.1 404 Nobody home\r\n"), "{mode}");
        assert_eq!(get(m, "/h/reason"), (404, "body\n".into()));
        // Conditions and ranges are the program's.
        assert!(own("/unchanged", "").starts_with("HTTP/1.1 304 Same\r\n"), "{mode}");
        assert_eq!(curl(m, "/h/part", "--header 'Range: bytes=0-3'"), (206, "bytes=0-3".into()), "{mode}");
        assert_eq!(curl(m, "/h/x", "--header 'Range: bytes=0-0'"), (200, "/x\n".into()), "{mode}");
    }
    let chunked = "#!/bin/sh\nprintf 'HTTP/1.1 200 Fine\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\nhel\\r\\n'; sleep 0.1\nprintf '3\\r\\nlo\\n\\r\\n0\\r\\n\\r\\n'\n";
    let id = declare(m, "nph", chunked, "aliases = [\"/nph\"]\n[exec]\ncommand = [\"./nph-chunked\"]\n");
    assert_eq!(get(m, "/nph"), (200, "hello\n".into()));
    assert_eq!(direct(m, &id, "/", ""), (200, "hello\n".into()));
    assert_eq!(curl(m, "/nph", "--head").0, 200);
}

/// Sends bytes, a Python expression, to port 80, and returns what comes back.
fn raw(m: &Machine, bytes: &str) -> String {
    m.write("/root/raw.py", &format!(
        "import socket\ns = socket.create_connection(('127.0.0.1', 80)); s.settimeout(20)\ns.sendall({bytes})\nout = b''\nwhile part := s.recv(65536): out += part\nprint(out.decode('latin1'))\n"));
    m.run("python3 /root/raw.py")
}

fn requests(m: &mut Machine) {
    ready(m);
    let manifest = format!(
        "aliases = [\"/act\"]\n{EXEC}environment = {{ SCRIPT_FILENAME = \"/srv/own\", DOCUMENT_ROOT = \"/srv/root\" }}\n"
    );
    let id = declare(m, "act", ACT, &manifest);
    let has = |env: &str, lines: &[&str]| {
        for line in lines {
            assert!(env.lines().any(|it| it == *line), "{line} is missing:\n{env}");
        }
    };
    let (_, env) = get(m, "/act/env");
    has(&env, &["SCRIPT_FILENAME=/srv/own", "DOCUMENT_ROOT=/srv/root", "PATH_TRANSLATED=/srv/root/env"]);
    has(&env, &["REQUEST_SCHEME=http", "CONTENT_LENGTH="]);
    assert!(env.contains("SERVER_ADDR=127.0.0.1\n") || env.contains("SERVER_ADDR=::1\n"), "{env}");
    let port = env.lines().find_map(|line| line.strip_prefix("REMOTE_PORT=")).expect("a port");
    assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{env}");
    assert!(!env.contains("HTTP_ACCEPT_ENCODING=") && !env.contains("HTTP_CONDUCTOR"), "{env}");
    has(&get(m, &format!("/cgi/{id}/env")).1, &["REQUEST_SCHEME=http", "PATH_TRANSLATED=/srv/root/env"]);
    assert!(!get(m, &format!("/cgi/{id}/env")).1.contains("HTTP_ACCEPT_ENCODING="));
    has(&curl(m, "/act/env", "--header 'Accept-Encoding: br'").1, &["HTTP_ACCEPT_ENCODING=br"]);
    has(&curl(m, "/act/env", "--request POST --header 'Content-Length: 0'").1, &["CONTENT_LENGTH=0"]);
    has(&curl(m, "/act/env", "--data ''").1, &["CONTENT_LENGTH=0"]);
    for request in [r"b'GET /act/env HTTP/1.0\r\n\r\n'", r"b'GET /act/env HTTP/1.0\r\nHost:\r\n\r\n'"] {
        has(&raw(m, request), &["SERVER_NAME=localhost", "SERVER_PORT=80"]);
    }
    let isolated = declare(m, "alone", ACT, &format!("mode = \"isolated\"\naliases = [\"/alone\"]\n{EXEC}"));
    has(&raw(m, r"b'GET /alone/env HTTP/1.0\r\n\r\n'"), &["SERVER_NAME=localhost", "SCRIPT_NAME=/alone"]);
    assert_eq!(direct(m, &isolated, "/x", "--header 'Host;'").0, 200, "an empty host");
    assert_eq!(direct(m, &isolated, "/x", "--header 'Host:'").0, 400, "no host, RFC 9112 section 3.2");

    // What hyper refuses is in the journal.
    assert_eq!(curl(m, "/act/env?a=%3Cb%3E|{c}^`", "--globoff").0, 200);
    assert_eq!(curl(m, "/act/x?a=<b>", "--globoff").0, 400);
    m.until("the journal has it", Duration::from_secs(5), || {
        m.run(&format!("journalctl --sync; journalctl CONDUCTOR_FUNCTION={id} --output=cat"))
            .contains("400: invalid URI; in a URL")
    });

    let refused = m.try_run("mkdir -p /root/meta; printf 'name = \"meta\"\\n[exec]\\ncommand = [\"/bin/true\"]\\nenvironment = { REMOTE_USER = \"admin\" }\\n' >/root/meta/function.toml; conductor cgi declare /root/meta");
    assert!(refused.status == 3 && refused.stderr.contains("REMOTE_USER: a meta-variable"), "{refused}");
}
