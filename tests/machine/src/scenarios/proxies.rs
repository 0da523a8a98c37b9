//! The other reverse proxies, and none: Debian's packages of nginx and HAProxy as they are installed.

use std::path::Path;
use std::time::Duration;

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::function::{self, ACT, curl, get};
use super::routes::{self, Can};
use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("proxies" with Servers:
    nginx(|m| Proxy::NGINX.tried(m)): "nginx serves: updates under load, functions, what it refuses, a reboot"
        => "no request fails; what it refuses is not published",
    haproxy(|m| Proxy::HAPROXY.tried(m)): "HAProxy serves: updates under load, functions, what it refuses, a reboot"
        => "no request fails; what it refuses is not published",
    switched: "another proxy is chosen, one after the other, and none at last"
        => "only the chosen one has routes, and access to sockets",
    without_a_program,
    without_a_proxy,
    what_is_rendered_is_taken,
);

/// A second host for the same service.
const STORE: &str = "[[route]]\nhost = [\"store.localhost\"]\ntls = \"off\"";
/// How long a proxy may take to be asked again.
const SOON: Duration = Duration::from_secs(10);

struct Proxy {
    name: &'static str,
    /// The user of its workers.
    user: &'static str,
    /// Makes the administrator's configuration such that the proxy cannot have `STORE` as well.
    breaks: &'static str,
    /// What the proxy, or Conductor for it, says of that.
    words: &'static str,
    mends: &'static str,
    can: Can,
}

impl Proxy {
    const NGINX: Self = Self {
        name: "nginx",
        user: "www-data",
        breaks: "printf 'server {\\n\\tlisten 80;\\n\\tserver_name store.localhost;\\n\\treturn 204;\\n}\\n' >/etc/nginx/sites-enabled/mine",
        words: "conflicting server name \"store.localhost\"",
        mends: "rm /etc/nginx/sites-enabled/mine",
        can: Can::ALL,
    };
    const HAPROXY: Self = Self {
        name: "haproxy",
        user: "haproxy",
        breaks: "cp /etc/haproxy/haproxy.cfg /root/; printf 'frontend mine\\n\\tbind *:80\\n\\thttp-request deny\\n' >>/etc/haproxy/haproxy.cfg",
        words: "/etc/haproxy/haproxy.cfg has `bind *:80`",
        mends: "cp /root/haproxy.cfg /etc/haproxy/haproxy.cfg",
        can: Can::NONE,
    };

    fn tried(&self, m: &mut Machine) {
        self.choose(m);
        let shop = Shop::new(3);
        shop.declare(m, "1");
        assert!(shop::get(m).starts_with("1 "));
        functions(m);
        self.updates(m, &shop);
        let seen = routes::keep_connections(m);
        assert_eq!(seen.failed, 0, "{seen}");
        m.note(seen);
        routes::match_what_they_say(m);
        routes::hold_conditions(m, self.can);
        routes::certificates_of_files(m);
        m.run("conductor service rm web");
        routes::speak_other_protocols(m, self.can);
        m.run("conductor service rm grpc; conductor service rm php");
        shop.declare(m, "4");
        self.refuses(m, &shop);
        m.run(&format!("systemctl disable caddy; systemctl enable {}", self.name));
        m.reboot();
        m.until("it serves after the boot", SOON, || {
            m.try_run("curl --silent --fail http://shop.localhost/").success()
        });
        m.run("conductor doctor");
        m.run("systemctl stop shop");
        let answer = m.run("curl --silent --include --max-time 5 --data x http://shop.localhost/");
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 503") && answer.contains("\nretry-after: 1\r\n"), "{answer}");
        m.run("conductor service rm shop");
        assert_eq!(status(m, "shop.localhost", "/"), 404, "a host that nobody declares any more");
    }

    /// Takes the place of the proxy that runs.
    fn choose(&self, m: &Machine) {
        m.run(&format!("systemctl stop caddy nginx haproxy; systemctl start {}", self.name));
        m.write("/etc/conductor/conductor.toml", &format!("[proxy]\ndriver = \"{}\"\n", self.name));
        m.run("conductor daemon-reload");
    }

    /// The application dies at once on SIGTERM.
    fn updates(&self, m: &Machine, shop: &Shop) {
        let before = self.reloads(m);
        let load = m.load(Load { at_least: 20_000, ..shop::saturating_load() });
        for version in 2..=4 {
            shop.declare(m, &version.to_string());
        }
        Shop::new(2).declare(m, "4");
        shop.declare(m, "4");
        let seen = load.stop();
        assert_eq!(seen.failed, 0, "{seen}");
        assert_eq!(seen.versions.len(), 4, "{:?}", seen.versions);
        assert_eq!(self.reloads(m), before, "neither a new generation nor another scale changes a byte");
        m.note(seen);
    }

    fn reloads(&self, m: &Machine) -> String {
        let unit = self.name;
        m.run(&format!("journalctl --sync; journalctl --unit={unit} --output=cat | grep -c '^Reloaded {unit}' || true"))
    }

    fn refuses(&self, m: &Machine, shop: &Shop) {
        let published = self.published(m);
        m.run(self.breaks);
        let refused = shop.clone().extra(STORE).try_declare(m, "7");
        assert_eq!(refused.status, 1, "{refused}");
        assert!(refused.stderr.contains(self.words), "{refused}");
        assert_eq!(self.published(m), published);
        assert!(shop::get(m).starts_with("4 "), "the previous declaration stands");
        let found = m.try_run("conductor doctor");
        assert!(self.name == "nginx" || found.stdout.contains("bind *:80"), "{found}");
        m.run(self.mends);
        shop.clone().extra(STORE).declare(m, "7");
        assert!(m.run("curl --silent --fail http://store.localhost/").starts_with("7 "));
        assert_ne!(self.published(m), published);
    }

    fn published(&self, m: &Machine) -> String {
        m.run(&format!("cd /run/conductor/proxy/{}; find . -type f -exec sha256sum {{}} + | sort", self.name))
    }

    /// Whether a user, without any group of its own, may connect to the shop.
    fn is_let_in(&self, m: &Machine) -> bool {
        let connect = "curl --silent --unix-socket /run/conductor/slots/shop/1 http://shop/";
        m.try_run(&format!("setpriv --reuid={} --regid=nogroup --clear-groups {connect}", self.user)).success()
    }
}

fn status(m: &Machine, host: &str, path: &str) -> u32 {
    curl(m, path, &format!("--header 'Host: {host}'")).0
}

/// Functions are on every host, beside Debian's example where there is one.
fn functions(m: &Machine) {
    let id = function::declare(m, "act", ACT, &format!("aliases = [\"/act\"]\n{}", function::EXEC));
    assert_eq!(get(m, "/act/x"), (200, "here /x\n".into()));
    assert_eq!(get(m, &format!("/cgi/{id}/x?y")), (200, "here /x\n".into()));
    assert_eq!(curl(m, "/act/count", "--data 12345"), (200, "5 5\n".into()));
    let (_, environment) = curl(m, "/act/env", "--ipv4 --header 'Conductor-Mount: /forged'");
    for line in ["SCRIPT_NAME=/act", "REMOTE_ADDR=127.0.0.1", "SERVER_ADDR=127.0.0.1", "SERVER_NAME=localhost"] {
        assert!(environment.lines().any(|it| it == line), "{line}: {environment}");
    }
    let named = environment.lines().find_map(|line| line.strip_prefix("REMOTE_PORT=")).unwrap_or_default();
    assert!(named.parse::<u16>().is_ok_and(|port| port > 1024), "{environment}");
    assert_eq!(curl(m, "/act/x", "--header 'Conductor-Remote-User: root'").0, 403);
    assert_eq!(get(m, &format!("/cgi/{}/x", "0".repeat(64))).0, 404);
    assert_eq!(status(m, "nobody.localhost", "/"), 404);
    assert_eq!(curl(m, "/act/x", "--ipv4 --http1.0 --header Host:"), (200, "here /x\n".into()));
}

fn switched(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    assert!(m.run("conductor doctor").contains("the first that is installed of Caddy, nginx and HAProxy"));
    // Debian's example of a Caddyfile gives way, too.
    let id = function::declare(m, "act", ACT, &format!("aliases = [\"/act\"]\n{}", function::EXEC));
    assert_eq!(get(m, "/act/x"), (200, "here /x\n".into()));
    assert_eq!(status(m, "nobody.localhost", "/"), 404);
    m.run(&format!("systemctl reload caddy; conductor cgi rm {id}"));
    assert_eq!(status(m, "nobody.localhost", "/"), 404);
    for (chosen, other) in [(Proxy::NGINX, Proxy::HAPROXY), (Proxy::HAPROXY, Proxy::NGINX)] {
        chosen.choose(m);
        assert!(shop::get(m).starts_with("1 "), "{}", chosen.name);
        assert_eq!(m.run("ls /run/conductor/proxy/caddy"), "");
        assert_eq!(other.published(m), "");
        assert!(chosen.is_let_in(m) && !other.is_let_in(m));
        shop.declare(m, "2");
        assert!(chosen.is_let_in(m), "to a new generation's sockets, too");
        shop.declare(m, "1");
        let automatic = shop.clone().extra("[[route]]\nhost = [\"a.example.com\"]").try_declare(m, "3");
        assert!(automatic.status == 3 && automatic.stderr.contains("certificates are files"), "{automatic}");
    }
    m.write("/etc/conductor/conductor.toml", "[proxy]\ndriver = \"none\"\n");
    m.run("conductor daemon-reload");
    assert_eq!(
        m.run(
            "ls /run/conductor/proxy/caddy /run/conductor/proxy/nginx /run/conductor/proxy/haproxy | grep -v : || true"
        )
        .trim(),
        ""
    );
    assert!(!Proxy::NGINX.is_let_in(m));
    // An old worker may still accept while the new one starts.
    m.until("no proxy serves it", SOON, || !m.try_run("curl --silent --fail http://shop.localhost/").success());
    // A mistake does not give the routes to another one.
    m.run("rm /etc/conductor/conductor.toml; systemctl stop haproxy; systemctl start caddy; conductor daemon-reload");
    assert!(shop::get(m).starts_with("1 "));
    m.write("/etc/conductor/conductor.toml", "[proxy]\ndriver = \"apache\"\n");
    let mistake = m.try_run("conductor daemon-reload");
    assert!(!mistake.success() && mistake.stderr.contains("driver"), "{mistake}");
    assert!(shop::get(m).starts_with("1 "));
}

/// A service runs no program, under each of the other proxies.
fn without_a_program(m: &mut Machine) {
    for proxy in [Proxy::NGINX, Proxy::HAPROXY] {
        proxy.choose(m);
        routes::run_site(m, proxy.can);
        m.run("conductor service rm site");
    }
}

/// Neither a service without routes nor one with a port needs a proxy.
fn without_a_proxy(m: &mut Machine) {
    m.write("/etc/conductor/conductor.toml", "[proxy]\ndriver = \"none\"\n");
    m.run("systemctl disable --now caddy; cd /root; conductor new hello");
    m.run("cd /root; conductor service declare hello");
    assert!(m.run("curl --silent --fail http://127.0.0.1:8080/").contains("hello"));
    m.run("cd /root; conductor service declare hello VERSION=2; conductor doctor");
    let shop = Shop::new(1);
    shop.write(m);
    let said = m.try_run(&shop::command("1"));
    assert!(
        said.success() && said.stderr.contains("there is no proxy: conductor.toml has [proxy] driver = \"none\""),
        "{said}"
    );
    assert!(m.try_run("conductor doctor").stdout.contains("there is no proxy for routes"));
    m.reboot();
    assert!(m.run("curl --silent --fail http://127.0.0.1:8080/").contains("hello"));
}

/// The proxies read what the snapshots of tests/proxies.rs show.
fn what_is_rendered_is_taken(m: &mut Machine) {
    m.copy_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../cases/proxies"), "/root/cases");
    m.run("cd /etc/ssl; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=www.example.com \
               -keyout key.pem -out www.pem 2>/dev/null; cp www.pem plain.pem; cp key.pem plain.key; cat key.pem >>www.pem; chmod 644 www.pem; \
               for status in 404 502 503 504; do touch /srv/$status.html; done; printf '{\\n}\\n' >/etc/caddy/Caddyfile");
    // The users of /etc/conductor/htpasswd, as Caddy has them once they are published; the others look when they are asked.
    m.run(
        "mkdir -p /run/conductor/proxy/users; echo 'ann $2y$05$zkYQpwwoa0r.u6jWztVT5OXLW/lyyN6lboTjziVC..dfZ49xI4vAO' \
               >/run/conductor/proxy/users/9e5641c987b89c8e; cd /run/conductor/proxy/users; \
               (echo 'userlist conductor-9e5641c987b89c8e'; sed 's/^/user /; s/ [$]/ password $/' 9e5641c987b89c8e) >9e5641c987b89c8e.cfg",
    );
    m.write("/etc/conductor/conductor.toml", "[proxy]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::1\"]\n");
    let checks = [
        ("caddy", "CONDUCTOR_PROXY_DIR=$dir caddy adapt --adapter caddyfile --config /usr/lib/conductor/Caddyfile"),
        ("nginx", "cp $dir/* /run/conductor/proxy/nginx/; nginx -t"),
        (
            "haproxy",
            "cp $dir/* /run/conductor/proxy/haproxy/; test ! -e $dir/certificates || while read link chain key; do \
             ln -sf $chain $link; ln -sf $key $link.key; done <$dir/certificates; \
             haproxy -c -f /etc/haproxy/haproxy.cfg -f /run/conductor/proxy/haproxy -f /run/conductor/proxy/users",
        ),
    ];
    m.run("mkdir /root/out");
    let mut taken = 0;
    for case in m.run("cd /root/cases; ls").lines().map(|name| name.trim_end_matches(".toml")) {
        m.run(&format!(
            "mkdir /root/cases/{case}; cd /root/cases/{case}; mv ../{case}.toml service.toml; cp /bin/true server"
        ));
        for (driver, check) in checks {
            let out = format!("/root/out/{case}-{driver}");
            let rendered =
                m.try_run(&format!("conductor render --proxy {driver} --name web --output {out} /root/cases/{case}"));
            if rendered.success() {
                let dir = format!("dir={out}/conductor/proxy/{driver}");
                let checked =
                    m.try_run(&format!("rm -f /run/conductor/proxy/{driver}/*; {dir}; {check} >/root/said 2>&1"));
                assert!(checked.success(), "{driver}, {case}: {}", m.read("/root/said"));
                taken += 1;
            } else {
                assert_eq!(rendered.status, 3, "{driver}, {case}: {rendered}");
            }
        }
    }
    m.note(format!("{taken} configurations"));
}
