//! Routes: what they match, what answers, and what is done with requests and answers on their way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::Machine;

use super::shop::{self, Shop};

use crate::scenario::scenarios;

scenarios!("routes" with Programs:
    match_what_they_say(|m| match_what_they_say(m)): "routes of a host differ in paths, methods and fields"
        => "each request comes to the most particular one, and what nobody declares is not found",
    change_requests_and_answers,
    hold_conditions(|m| hold_conditions(m, Can::ALL)): "routes have ends of paths, methods, clients, pages, logins and files"
        => "each proxy that has a key does with it what the others do",
    serve_files_of_the_generation: "a route serves a directory of the declaration, which is updated and rolled back"
        => "the files are those of the generation that serves, and nothing else is served",
    serve_without_a_program: "a declaration has files, texts and redirects alone; it is updated under load, rolled back, stopped, and the machine reboots"
        => "no request fails; the proxy serves the files of the generation that is declared, and answers 503 once the service is stopped",
    speak_other_protocols(|m| speak_other_protocols(m, Can::ALL)): "listeners speak HTTP/2 and FastCGI"
        => "requests reach them, and files beside programs are served",
    keep_connections(|m| reload_for_kept_connections(m)): "Caddy keeps connections to deployments, and these are replaced"
        => "requests are lost only on connections of callers that Caddy's reload closes, and no update waits for the drain timeout",
    certificates_of_files(|m| certificates_of_files(m)): "a host has certificate and key in files, and asks clients for theirs"
        => "callers by plain HTTP are redirected, clients without a certificate get nothing, and a file that is missing changes nothing",
);

const ECHO: &str = include_str!("routes/echo.py");
/// `pw`, as `htpasswd -B` writes it.
const HASH: &str = "$2y$05$zkYQpwwoa0r.u6jWztVT5OXLW/lyyN6lboTjziVC..dfZ49xI4vAO";
const SECOND: Duration = Duration::from_secs(1);

/// Declares a service `web` whose process answers with what it was asked.
fn declare(m: &Machine, routes: &str) {
    m.run("mkdir -p /root/web/public");
    m.write_executable("/root/web/echo.py", ECHO);
    m.write("/root/web/service.toml", &format!("exec.command = [\"./echo.py\"]\nconcurrency = 2\n{routes}"));
    m.run("conductor service declare /root/web");
}

/// Asks Caddy, and returns the status, the redirect's address and the body.
fn ask(m: &Machine, host: &str, path: &str, options: &str) -> String {
    m.run(&format!(
        "curl --silent --max-time 20 --path-as-is --resolve '{host}:80:127.0.0.1' {options} \
         --write-out '\\n%{{http_code}} %{{redirect_url}}' 'http://{host}{path}'"
    ))
}

/// Returns a value of what the process was asked, by a path of jq in Python.
fn echoed(m: &Machine, host: &str, path: &str, options: &str, value: &str) -> String {
    let answer = ask(m, host, path, options);
    let (body, status) = answer.rsplit_once('\n').expect("a status");
    assert!(status.starts_with("200"), "{answer}");
    let script = format!("import json, sys; it = json.load(sys.stdin); print({value})");
    m.write("/root/answer", body);
    m.run(&format!("python3 -c '{script}' </root/answer")).trim().to_owned()
}

pub(super) fn match_what_they_say(m: &Machine) {
    declare(
        m,
        r#"
[[route]]
host = ["a.test", "*.wild.test"]
tls = "off"

[[route]]
host = ["a.test"]
tls = "off"
path = "/api"
strip_prefix = true

[[route]]
host = ["a.test"]
tls = "off"
path = "/api"
exact = true
respond = "index of {host} by {method}"

[[route]]
host = ["a.test"]
tls = "off"
path = "/api"
methods = ["PUT", "DELETE"]
respond = "read-only"
status = 405

[[route]]
host = ["a.test"]
tls = "off"
path = "/api"
headers = { X-Beta = "1" }
respond = '{"beta": "{query}"}'

[[route]]
host = ["old.test"]
tls = "off"
redirect = "http://a.test{uri}"

[[route]]
host = ["old.test"]
tls = "off"
path = "/gone"
redirect = "/elsewhere"
status = 302
"#,
    );
    assert_eq!(echoed(m, "a.test", "/x?y=1", "", "it[\"uri\"]"), "/x?y=1");
    assert_eq!(echoed(m, "a.test", "/api/users?id=1", "", "it[\"uri\"]"), "/users?id=1");
    assert_eq!(echoed(m, "a.test", "/apis", "", "it[\"uri\"]"), "/apis");
    assert_eq!(
        echoed(m, "b.wild.test", "/x", "", "it[\"headers\"][\"host\"]"),
        "[b.wild.test]".replace('[', "['").replace(']', "']")
    );
    for (host, path, options, answer) in [
        ("a.test", "/api", "", "index of a.test by GET\n200 "),
        ("a.test", "/api/x", "--request PUT --data x", "read-only\n405 "),
        ("a.test", "/api/x?q", "--header 'X-Beta: 1'", "{\"beta\": \"q\"}\n200 "),
        ("a.test", "/api/x?q", "--header 'X-Beta: 1' --request DELETE", "read-only\n405 "),
        ("old.test", "/a/b?c=d", "", "\n308 http://a.test/a/b?c=d"),
        ("old.test", "/gone/x", "", "\n302 http://old.test/elsewhere"),
        ("nobody.test", "/", "", "\n404 "),
    ] {
        let seen = ask(m, host, path, options);
        let has_any_body = answer.starts_with('\n');
        assert!(seen.ends_with(answer) && (seen == answer || has_any_body), "{host}{path} {options}: {seen}");
    }
    // A change of routes rolls nothing; one that the declaration does not allow changes nothing.
    let before = m.run("conductor service list");
    let declared = m.read("/root/web/service.toml");
    m.write("/root/web/service.toml", &declared.replace("read-only", "nothing is written"));
    m.run("conductor service declare /root/web");
    assert_eq!(ask(m, "a.test", "/api/x", "--request PUT"), "nothing is written\n405 ");
    assert_eq!(m.run("conductor service list"), before);
    m.write("/root/web/service.toml", &declared.replace("strip_prefix = true", "strip_prefix = true\nredirect = 1"));
    let refused = m.try_run("conductor service declare /root/web");
    assert!(refused.status == 3 && refused.stderr.contains("redirect"), "{refused}");
    assert_eq!(ask(m, "a.test", "/api/x", "--request PUT"), "nothing is written\n405 ");
}

/// What a proxy has that not all have.
#[derive(Clone, Copy)]
pub(super) struct Can {
    pub(super) files: bool,
    pub(super) forward_auth: bool,
}

impl Can {
    pub(super) const ALL: Self = Self { files: true, forward_auth: true };
    pub(super) const NONE: Self = Self { files: false, forward_auth: false };
}

/// Asks for what each key of a route does.
pub(super) fn hold_conditions(m: &Machine, can: Can) {
    for status in [404, 502, 503, 504] {
        m.write(&format!("/srv/{status}.html"), &format!("page {status}\n"));
    }
    m.run("mkdir -p /srv/app");
    m.write("/srv/app/index.html", "app\n");
    m.write("/srv/app/a.css", "css\n");
    m.write("/srv/app/.git", "secret\n");
    m.run(&format!("umask 077; echo 'ann:{HASH}' >/etc/conductor/htpasswd"));
    let mut routes = String::from(include_str!("routes/conditions.toml"));
    if can.forward_auth {
        verifier(m);
        routes.push_str(include_str!("routes/forward_auth.toml"));
    }
    if can.files {
        routes.push_str(include_str!("routes/single_page.toml"));
    }
    declare(m, &routes);
    for (host, path, options, answer) in [
        ("a.test", "/x/dump.sql", "", "none\n404 "),
        ("a.test", "/one", "", "both\n200 "),
        ("a.test", "/two", "", "both\n200 "),
        ("here.test", "/", "", "here\n200 "),
        ("pages.test", "/?status=404", "", "page 404\n\n404 "),
        ("pages.test", "/?status=502", "", "page 502\n\n502 "),
        ("pages.test", "/?status=503", "", "page 503\n\n503 "),
        ("pages.test", "/?sleep=3", "", "page 504\n\n504 "),
    ] {
        assert_eq!(ask(m, host, path, options), answer, "{host}{path} {options}");
    }
    for (host, path, options, status) in [
        ("only.test", "/", "", 404),
        ("only.test", "/", "--data 12345678901", 413),
        ("office.test", "/", "", 403),
        ("pages.test", "/?status=500", "", 500),
        ("login.test", "/moved", "", 401),
        ("login.test", "/moved", "--user ann:pw", 308),
    ] {
        let seen = ask(m, host, path, options);
        assert!(seen.contains(&format!("\n{status} ")), "{host}{path} {options}: {seen}");
    }
    assert_eq!(echoed(m, "a.test", "/x%2Fdump.sql/y?z", "", "it[\"uri\"]"), "/x%2Fdump.sql/y?z");
    assert_eq!(echoed(m, "a.test", "/two/x", "", "it[\"uri\"]"), "/two/x");
    assert_eq!(echoed(m, "only.test", "/x%2fy", "--data 12345", "it[\"uri\"], it[\"length\"]"), "/x%2fy 5");
    let told = "it[\"headers\"][\"x-a\"], it[\"headers\"][\"x-forwarded-for\"]";
    assert_eq!(echoed(m, "only.test", "/", "--data 1", told), "['b'] ['127.0.0.1']");
    let pids = |options: &str| {
        let pids: BTreeSet<_> = (0..12).map(|_| echoed(m, "cookie.test", "/", options, "it[\"pid\"]")).collect();
        pids.len()
    };
    m.run("rm -f /root/jar");
    assert_eq!(pids("--cookie /root/jar --cookie-jar /root/jar"), 1);
    assert_eq!(pids(""), 2, "without a cookie requests go round");
    if can.forward_auth {
        forward_auth(m);
    }
    if can.files {
        single_page(m);
    }
    logins(m);
    m.run("systemctl stop web");
    let stopped = ask(m, "pages.test", "/", "--include");
    assert!(stopped.contains("page 503") && stopped.ends_with("503 "), "{stopped}");
    assert!(stopped.to_ascii_lowercase().contains("retry-after: 1"), "{stopped}");
    m.run("systemctl start web");
    assert_eq!(echoed(m, "pages.test", "/", "", "it[\"uri\"]"), "/");
}

/// Who is not let in gets the answer of the server that was asked.
fn forward_auth(m: &Machine) {
    for path in ["/x?a=b", "/text", "/files/a.css", "/files/.git"] {
        let refused = ask(m, "auth.test", path, "--header 'Remote-User: root'");
        assert!(refused.ends_with(&format!("\n302 http://auth.test/login?from={path}")), "{path}: {refused}");
    }
    let known = "--cookie session=ann --header 'Remote-User: root'";
    let user = "it[\"headers\"].get(\"remote-user\"), it[\"length\"], it[\"uri\"]";
    assert_eq!(echoed(m, "auth.test", "/x%2f?a", &format!("{known} --data 12345"), user), "['ann'] 5 /x%2f?a");
    assert_eq!(ask(m, "auth.test", "/text", known), "for users\n200 ");
    assert_eq!(ask(m, "auth.test", "/files/a.css", known), "css\n\n200 ");
    assert_eq!(echoed(m, "auth.test", "/files/.git", known, "it[\"uri\"]"), "/files/.git");
    let own = ask(m, "auth.test", "/?status=401", known);
    assert!(own.contains("\"method\"") && own.ends_with("401 "), "the service itself refuses: {own}");
}

/// What is no file is answered by one.
fn single_page(m: &Machine) {
    for path in ["/", "/users/1", "/in/", "/in/users/1"] {
        assert_eq!(ask(m, "app.test", path, ""), "app\n\n200 ", "{path}");
    }
    let kind = m.run("curl --silent --head --resolve app.test:80:127.0.0.1 http://app.test/users/1").to_lowercase();
    assert!(kind.contains("content-type: text/html"), "{kind}");
    for path in ["/a.css", "/in/a.css"] {
        assert_eq!(ask(m, "app.test", path, ""), "css\n\n200 ");
        assert_eq!(echoed(m, "app.test", path, "--data x", "it[\"uri\"]"), path);
    }
    assert_eq!(echoed(m, "app.test", "/in/.git", "", "it[\"uri\"]"), "/in/.git");
}

/// Runs a server that knows who calls.
fn verifier(m: &Machine) {
    m.write_executable(
        "/root/verify.py",
        r#"#!/usr/bin/python3
import http.server

class Verify(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers.get("Cookie") == "session=ann"
        self.send_response(200 if known else 302)
        self.send_header("Remote-User", "ann") if known else self.send_header("Location", "/login?from=" + self.headers["X-Forwarded-Uri"])
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", 9091), Verify).serve_forever()
"#,
    );
    m.run("systemd-run --quiet --unit=verify /root/verify.py");
}

fn change_requests_and_answers(m: &mut Machine) {
    m.write("/srv/404.html", "<h1>lost</h1>\n");
    m.run(&format!("umask 077; echo 'ann:{HASH}' >/etc/conductor/htpasswd"));
    declare(
        m,
        r#"
[[route]]
host = ["a.test"]
tls = "off"
set_request_headers = { X-Real-IP = "{client}", X-Brace = '{"a": 1}' }
add_request_headers = { X-Two = "2" }
remove_request_headers = ["Cookie"]
set_response_headers = { X-Own = "of the proxy" }
add_response_headers = { Vary = "Accept" }
remove_response_headers = ["Server"]
max_body = "1M"
read_timeout = "1s"
compress = true
error_pages = { 404 = "/srv/404.html" }
access_log = true

[[route]]
host = ["source.test"]
tls = "off"
affinity = "source"

[[route]]
host = ["login.test"]
tls = "off"
basic_auth = "/etc/conductor/htpasswd"

[[route]]
host = ["kept.test"]
tls = "off"
keepalive = true
"#,
    );
    let headers = |options: &str| echoed(m, "a.test", "/", options, "sorted(it[\"headers\"].items())");
    let seen = headers("--header 'Cookie: a=b' --header 'X-Two: 1' --header 'X-Real-IP: 6.6.6.6'");
    for part in [
        "('x-real-ip', ['127.0.0.1'])",
        "('x-brace', ['{\"a\": 1}'])",
        "('x-two', ['1', '2'])",
        "('x-forwarded-proto', ['http'])",
    ] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(!seen.contains("cookie"), "{seen}");
    let head = ask(m, "a.test", "/?x-own=mine&server=mine", "--include --output /dev/stdout");
    let lower = head.to_ascii_lowercase();
    assert!(
        lower.contains("x-own: of the proxy") && lower.contains("vary: accept") && !lower.contains("server:"),
        "{head}"
    );
    assert_eq!(lower.matches("x-own:").count(), 1, "{head}");

    m.run("head -c 1048577 /dev/zero >/root/large; head -c 1048576 /dev/zero >/root/fits");
    assert!(ask(m, "a.test", "/", "--data-binary @/root/large --output /dev/null").ends_with("\n413 "));
    assert_eq!(echoed(m, "a.test", "/", "--data-binary @/root/fits", "it[\"length\"]"), "1048576");
    let late = ask(m, "a.test", "/?sleep=3", "");
    assert!(late.ends_with("\n504 "), "{late}");
    let packed =
        ask(m, "a.test", "/?pad=100000", "--header 'Accept-Encoding: gzip' --dump-header - --output /dev/null");
    assert!(packed.to_ascii_lowercase().contains("content-encoding: gzip"), "{packed}");
    assert_eq!(ask(m, "a.test", "/?status=404", ""), "<h1>lost</h1>\n\n404 ");
    assert!(ask(m, "a.test", "/?status=500", "").ends_with("\n500 "));
    m.until("the log has a line with the service", 10 * SECOND, || {
        m.run("journalctl --sync; journalctl --unit=caddy --output=cat | grep -c '\"Conductor-Service\":\\[\"web\"\\]' || true").trim() != "0"
    });

    let pids = |host: &str, options: &str| {
        let mut pids: Vec<_> = (0..12).map(|_| echoed(m, host, "/", options, "it[\"pid\"]")).collect();
        pids.sort();
        pids.dedup();
        pids.len()
    };
    assert_eq!(pids("a.test", ""), 2, "requests go round");
    assert_eq!(pids("source.test", ""), 1);

    assert_eq!(echoed(m, "kept.test", "/", "", "it[\"uri\"]"), "/");
    logins(m);
    trusted(m);
}

/// Only users of the file may call, whoever they say they are.
fn logins(m: &Machine) {
    assert!(ask(m, "login.test", "/", "").ends_with("\n401 "));
    assert!(ask(m, "login.test", "/", "--user ann:other").ends_with("\n401 "));
    let user = "it[\"headers\"].get(\"x-remote-user\")";
    assert_eq!(echoed(m, "login.test", "/", "--user ann:pw --header 'X-Remote-User: root'", user), "['ann']");
    let readable =
        m.run("find /run/conductor/proxy/users -type f -perm /007; grep -r -l '[$]2y' /run/systemd/generator || true");
    assert_eq!(readable, "", "nobody else reads hashes");
    m.run("sed -i s/^ann/bob/ /etc/conductor/htpasswd; systemctl reload conductor-proxy");
    m.until("the new user may log in", 10 * SECOND, || ask(m, "login.test", "/", "--user bob:pw").ends_with("\n200 "));
    assert!(ask(m, "login.test", "/", "--user ann:pw").ends_with("\n401 "));
    m.run("echo 'eve:plain' >>/etc/conductor/htpasswd");
    let refused = m.try_run("systemctl reload conductor-proxy");
    assert_eq!(refused.status, 1, "{refused}");
    let words = m.run("journalctl --sync; journalctl --unit=conductor-proxy --output=cat --lines=20");
    assert!(words.contains("/etc/conductor/htpasswd: line 2: not a user with a hash by bcrypt"), "{words}");
    assert!(ask(m, "login.test", "/", "--user bob:pw").ends_with("\n200 "), "what served serves");
    m.run("sed -i /eve/d /etc/conductor/htpasswd");
}

/// Who is not trusted is not believed, and who is, is.
fn trusted(m: &Machine) {
    let told = "it[\"headers\"][\"x-forwarded-proto\"], it[\"headers\"][\"x-forwarded-for\"]";
    let from_before = "--header 'X-Forwarded-Proto: https' --header 'X-Forwarded-For: 203.0.113.9'";
    assert_eq!(echoed(m, "kept.test", "/", from_before, told), "['http'] ['127.0.0.1']");
    m.write("/etc/conductor/conductor.toml", "[proxy]\ntrusted_proxies = [\"127.0.0.0/8\"]\n");
    m.run("conductor daemon-reload");
    let seen = echoed(m, "kept.test", "/", from_before, told);
    assert!(seen.starts_with("['https'] ['203.0.113.9"), "{seen}");
}

fn serve_files_of_the_generation(m: &mut Machine) {
    m.run("mkdir -p /root/web/public/.git /root/web/public/sub; ln -s /etc/shadow /root/web/public/shadow");
    m.write("/root/web/public/.git/config", "secret");
    m.write("/root/web/public/index.html", "one\n");
    m.write("/root/web/public/sub/a.css", "css\n");
    let routes = "[[route]]\nhost = [\"a.test\"]\ntls = \"off\"\nstatic = \"./public\"\n";
    declare(m, routes);
    let is_echoed = |path: &str| ask(m, "a.test", path, "").contains("\"method\"");
    assert_eq!(ask(m, "a.test", "/", ""), "one\n\n200 ");
    assert_eq!(ask(m, "a.test", "/sub/a.css", ""), "css\n\n200 ");
    for path in ["/.git/config", "/shadow", "/../echo.py", "/%2e%2e/echo.py", "/api", "/sub/none"] {
        assert!(is_echoed(path) || ask(m, "a.test", path, "").ends_with("400 "), "{path}");
    }
    assert_eq!(echoed(m, "a.test", "/index.html", "--request POST --data x", "it[\"method\"]"), "POST");

    m.write("/root/web/public/index.html", "two\n");
    m.run("conductor service declare /root/web");
    assert_eq!(ask(m, "a.test", "/", ""), "two\n\n200 ");
    m.run("conductor service rollback web");
    assert_eq!(ask(m, "a.test", "/", ""), "one\n\n200 ");
    // A rollout that fails leaves the files that serve.
    m.write("/root/web/public/index.html", "three\n");
    m.write_executable("/root/web/echo.py", "#!/bin/sh\nexit 1\n");
    assert_eq!(m.try_run("conductor service declare /root/web").status, 1);
    assert_eq!(ask(m, "a.test", "/", ""), "one\n\n200 ");
    m.reboot();
    assert_eq!(ask(m, "a.test", "/", ""), "one\n\n200 ");
    m.run("conductor service rm web");
    assert_eq!(m.run("ls /var/lib/conductor/public"), "");
}

/// Declares a service `site` that runs no program, and does with it what is done with other services. It stays.
pub(super) fn run_site(m: &Machine, can: Can) {
    m.run("mkdir -p /root/site/public");
    let page = |text: &str| m.write("/root/site/public/index.html", &format!("{text}\n"));
    page("one");
    let files = "[[route]]\nhost = [\"site.test\"]\ntls = \"off\"\nstatic = \"./public\"\nfallback = \"/index.html\"\n";
    let others = r#"
[[route]]
host = ["site.test"]
tls = "off"
path = "/closed"
respond = "back at noon"
status = 410

[[route]]
host = ["www.site.test"]
tls = "off"
redirect = "http://site.test{uri}"
"#;
    let routes = if can.files { format!("{files}{others}") } else { others.to_owned() };
    let declare = |text: &str| {
        m.write("/root/site/service.toml", text);
        m.try_run("conductor service declare /root/site")
    };
    let told = declare(&routes);
    assert!(told.success() && told.stdout.contains("site: the proxy serves generation "), "{told}");
    assert_site(m, can, "one");
    assert_eq!(m.prop("site.service", "ActiveState"), "active");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'site-*@*'"), "");
    assert!(m.run("conductor plan --exit-code").contains("no changes"));
    m.run("conductor doctor");

    if can.files {
        assert_eq!(ask(m, "site.test", "/users/1", ""), "one\n\n200 ");
        assert_eq!(ask(m, "site.test", "/", "--data x --output /dev/null"), "\n404 ");
        let load = m.load(Load { host: "site.test".into(), post: false, at_least: 5_000, ..shop::load() });
        for text in ["two", "three"] {
            page(text);
            assert!(declare(&routes).success());
            assert_site(m, can, text);
        }
        m.run("conductor service rollback site");
        assert_site(m, can, "two");
        page("one");
        assert!(declare(&routes).success());
        let seen = load.stop();
        assert_eq!((seen.failed, seen.versions.len()), (0, 3), "{seen}");
        m.note(seen);
    }
    let refused = declare(&format!("concurrency = 2\n{routes}"));
    assert!(refused.status == 3 && refused.stderr.contains("the service runs no program"), "{refused}");
    assert_site(m, can, "one");

    m.run("systemctl stop site");
    let status = |host: &str, path: &str| ask(m, host, path, "--output /dev/null");
    m.until("its routes are closed", 10 * SECOND, || status("www.site.test", "/") == "\n503 ");
    assert_eq!(status("site.test", "/closed"), "\n503 ");
    assert!(!can.files || status("site.test", "/") == "\n503 ");
    assert!(m.run("conductor plan").contains("`systemctl start site` starts it"));
    m.run("conductor daemon-reload");
    assert_eq!(status("site.test", "/closed"), "\n503 ");
    m.run("systemctl start site");
    assert_site(m, can, "one");
    m.run("systemctl restart site");
    assert_site(m, can, "one");

    // A program takes its place, and is taken away again.
    m.write_executable("/root/site/echo.py", ECHO);
    let api = "[[route]]\nhost = [\"site.test\"]\ntls = \"off\"\npath = \"/api\"\n";
    assert!(declare(&format!("exec.command = [\"./echo.py\"]\n{routes}{api}")).success());
    assert_eq!(echoed(m, "site.test", "/api/x", "", "it[\"uri\"]"), "/api/x");
    assert!(declare(&routes).success());
    assert_eq!(status("site.test", "/api/x"), if can.files { "\n200 " } else { "\n404 " });
    assert_site(m, can, "one");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'site-*@*'"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// Asks each route of the service `site`, whose page has this text.
fn assert_site(m: &Machine, can: Can, text: &str) {
    if can.files {
        assert_eq!(ask(m, "site.test", "/", ""), format!("{text}\n\n200 "));
    }
    assert_eq!(ask(m, "site.test", "/closed", ""), "back at noon\n410 ");
    assert_eq!(ask(m, "www.site.test", "/x", "--output /dev/null"), "\n308 http://site.test/x");
}

fn serve_without_a_program(m: &mut Machine) {
    run_site(m, Can::ALL);
    m.reboot();
    assert_site(m, Can::ALL, "one");
    m.until("it is up", 10 * SECOND, || m.prop("site.service", "ActiveState") == "active");
    assert_site(m, Can::ALL, "one");
    m.run("conductor service rm site");
    assert!(!ask(m, "site.test", "/", "").starts_with("one"), "Debian's example is back");
    assert_eq!(m.run("ls /var/lib/conductor/public"), "");
}

/// Updates a service whose proxy uses connections for many requests.
pub(super) fn keep_connections(m: &Machine) -> Seen {
    let shop = Shop::new(2).extra("[[route]]\nhost = [\"kept.localhost\"]\ntls = \"off\"\nkeepalive = true\n");
    shop.declare(m, "1");
    let load = m.load(Load { host: "kept.localhost".into(), at_least: 10_000, ..shop::load() });
    for version in ["2", "3"] {
        let began = Instant::now();
        shop.declare(m, version);
        assert!(began.elapsed() < 30 * SECOND, "the drain timeout is over: {:?}", began.elapsed());
    }
    load.stop()
}

/// A reload closes idle connections of callers, who may just send on one.
fn reload_for_kept_connections(m: &Machine) {
    let seen = keep_connections(m);
    assert!(seen.kinds.keys().all(|kind| kind == "closed") && seen.failed * 100 < seen.ok, "{seen}");
    m.note(seen);
}

pub(super) fn speak_other_protocols(m: &Machine, can: Can) {
    m.run("mkdir -p /root/grpc /root/php /srv/php/sub");
    m.write_executable("/root/grpc/h2.py", include_str!("routes/h2.py"));
    m.write(
        "/root/grpc/service.toml",
        "exec.command = [\"./h2.py\"]\nlisten.protocol = \"h2c\"\ndeploy.drain_timeout = \"2s\"\n[[route]]\nhost = [\"h2.test\"]\ntls = \"off\"\n",
    );
    m.run("conductor service declare /root/grpc");
    assert_eq!(ask(m, "h2.test", "/", ""), "h2 ok\n200 ");
    // An update drains connections that carry many requests, too.
    m.write("/root/grpc/version", "2");
    m.run("conductor service declare /root/grpc");
    assert_eq!(ask(m, "h2.test", "/", ""), "h2 ok\n200 ");

    m.write("/srv/php/index.php", "index of <?= $_SERVER['REQUEST_URI'] ?>");
    m.write(
        "/srv/php/sub/page.php",
        "page <?= $_GET['a'] ?? '' ?> <?= $_SERVER['PATH_INFO'] ?? '' ?> <?= file_get_contents('php://input') ?>",
    );
    m.write("/srv/php/style.css", "css");
    m.write("/srv/php/.secret", "hidden");
    m.write(
        "/root/php/service.toml",
        r#"exec.command = ["/bin/sh", "-c", "exec php-cgi -b $CONDUCTOR_SOCKET"]
exec.environment = { PHP_FCGI_CHILDREN = 2 }

[listen]
type = "unix"
protocol = "fastcgi"
root = "/srv/php"

[[route]]
host = ["php.test"]
tls = "off"
"#,
    );
    m.run("conductor service declare /root/php");
    for (path, options, answer) in [
        ("/", "", "index of /\n200 "),
        ("/wiki/page?x=1", "", "index of /wiki/page?x=1\n200 "),
        ("/sub/page.php?a=b", "--data posted", "page b  posted\n200 "),
        ("/sub/page.php/more?a=b", "", "page b /more \n200 "),
        ("/style.css", "", "css\n200 "),
    ] {
        // Where the proxy serves no files, the programs get such paths.
        let answer = if can.files || path != "/style.css" { answer } else { "index of /style.css\n200 " };
        assert_eq!(ask(m, "php.test", path, options), answer, "{path}");
    }
    assert!(!ask(m, "php.test", "/.secret", "").contains("hidden"));
}

pub(super) fn certificates_of_files(m: &Machine) {
    m.run(
        "mkdir -p /etc/tls; cd /etc/tls
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem 2>/dev/null
        for name in a.test ann; do
            openssl req -newkey rsa:2048 -nodes -subj /CN=$name -addext subjectAltName=DNS:$name -keyout $name.key -out $name.csr 2>/dev/null
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out $name.pem 2>/dev/null
        done
        chgrp caddy a.test.key; chmod 640 a.test.key",
    );
    let tls = "certificate = \"/etc/tls/a.test.pem\"\ncertificate_key = \"/etc/tls/a.test.key\"\n";
    declare(m, &format!("[[route]]\nhost = [\"a.test\"]\n{tls}"));
    let https = |options: &str| {
        m.run(&format!(
            "curl --silent --max-time 20 --cacert /etc/tls/ca.pem --resolve a.test:443:127.0.0.1 {options} \
             --output /dev/null --write-out '%{{http_code}}' https://a.test/ || true"
        ))
    };
    assert_eq!(https(""), "200");
    assert_eq!(ask(m, "a.test", "/x", "--output /dev/null"), "\n308 https://a.test/x");
    declare(m, &format!("[[route]]\nhost = [\"a.test\"]\nclient_ca = \"/etc/tls/ca.pem\"\n{tls}"));
    // nginx says why.
    assert!(["000", "400"].contains(&https("").as_str()));
    assert_eq!(https("--cert /etc/tls/ann.pem --key /etc/tls/ann.key"), "200");
    // A certificate that cannot be read changes nothing that serves.
    m.write(
        "/root/web/service.toml",
        &m.read("/root/web/service.toml").replace("/etc/tls/a.test.pem", "/etc/tls/none.pem"),
    );
    let refused = m.try_run("conductor service declare /root/web");
    assert!(refused.status == 1 && refused.stderr.contains("/etc/tls/none.pem"), "{refused}");
    assert_eq!(https("--cert /etc/tls/ann.pem --key /etc/tls/ann.key"), "200");
}
