//! Variables from elsewhere, the reverse proxy's administration and failures, and the journal.

use std::time::Duration;

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;

use super::super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("attacks":
    variable_adds_no_key: "a variable's value has a quote and lines of TOML" => "it is one string; the declaration has no other keys",
    template_ends: "a template loops for ever, makes a text of gigabytes, or nests without end" => "`check` refuses it, with its place",
    administration_is_private: "a local user asks Caddy's admin endpoint for a route to a deployment's socket" => "nobody answers him",
    own_options_are_judged,
    failed_reload_is_told: "Caddy cannot bind a site, or its admin endpoint is off" => "`declare` says so and fails; the previous routes serve, and `daemon-reload` mends what can be",
    absent_proxy_is_told: "Caddy is stopped or masked" => "`declare` warns that nothing serves the routes",
    hanging_checker_is_left: "Caddy's checker never ends" => "`declare` fails after its limit",
    forged_entries: "a local user writes journal entries with a service's fields" => "`conductor service logs` does not show them",
    failures_are_marked,
    flooding_process: "a process floods its log and exits, again and again" => "`declare` fails, and says what it logged",
    flooded_journal: "a local user floods the journal" => "a failed rollout ends all the same",
);

const CADDYFILE: &str = "/etc/caddy/Caddyfile";
/// A second host for the shop.
const STORE: &str = "[[route]]\nhost = [\"store.localhost\"]\ntls = \"off\"";
/// A site of the administrator's at a port that somebody else has.
const TAKEN_SITE: &str = "http://localhost:8099 {\n\tbind 127.0.0.1\n\trespond x\n}\n";

fn mallory(m: &Machine, command: &str) -> Output {
    m.run("id mallory >/dev/null 2>&1 || useradd --create-home mallory");
    m.try_run(&format!("runuser -u mallory -- sh -c '{command}'"))
}

/// Returns whether the second host is served, by the application: Caddy answers for a host that it does not know as well.
fn is_store_served(m: &Machine) -> bool {
    let answer = m.try_run("curl --silent --max-time 5 --fail http://store.localhost/").stdout;
    answer.starts_with(|c: char| c.is_ascii_digit())
}

/// Waits: a server of Caddy's old configuration may take a connection just after a reload.
fn until_store(m: &Machine, is_served: bool) {
    m.until("the second host follows", Duration::from_secs(10), || is_store_served(m) == is_served);
}

fn doctor(m: &Machine) -> String {
    m.try_run("conductor doctor").stdout
}

fn variable_adds_no_key(m: &mut Machine) {
    let value = "1\" }\nuser = \"root\"\nsandbox = \"none\"\n[hooks]\npre_start = [\"sh\", \"-c\", \"id >/root/pwned\"]\n[condition]\nhost = \"!x\" #";
    m.write("/root/value", value);
    Shop::new(1).write(m);
    // A description has one line.
    m.run(&format!("sed -i '/^description/d' {}/service.toml", shop::DIR));
    m.run(&format!("conductor service declare {} VERSION=\"$(cat /root/value)\"", shop::DIR));
    m.run("test ! -e /root/pwned");
    let unit = m.run("systemctl cat 'shop-*@1.service'");
    assert!(!unit.contains("User=root") && !unit.contains("\nExecStartPre=sh"), "{unit}");
    // Each value of these arrives as it is: only the variables of a deployment are expanded.
    for value in ["1\\\"2", "{{ 7*7 }}", "%n ${TIME} $$ $HOME", "a\\\\"] {
        m.write("/root/value", &value.replace("\\\\", "\\").replace("\\\"", "\""));
        m.run(&format!("conductor service declare {} VERSION=\"$(cat /root/value)\"", shop::DIR));
        let shown = m.run("conductor service env shop --json");
        assert!(shown.contains(&format!("\"{value}\"")), "{value}: {shown}");
    }
    let unused = m.try_run(&format!("conductor check {} VERSION=1 VERSOIN=2", shop::DIR));
    assert_eq!(unused.status, 3, "{unused}");
    assert!(
        unused.stderr.contains("no template uses the variable VERSOIN") && unused.stderr.contains("VERSION"),
        "{unused}"
    );
    for word in ["=x", "VERSION", "'A B=1'"] {
        assert_ne!(m.try_run(&format!("conductor check {} {word}", shop::DIR)).status, 0, "{word}");
    }
}

fn template_ends(m: &mut Machine) {
    Shop::new(1).write(m);
    let chain = |begin: &str, link: &str, end: &str| format!("{{{{ {begin}{}{end} }}}}", link.repeat(100_000));
    let chains = [
        chain("", "-", "1"),
        chain("", "not ", "1"),
        chain("1", "+1", ""),
        chain("1", "|e", ""),
        chain("VERSION", ".a", ""),
        chain("VERSION", "[0]", ""),
        chain("", "(", ""),
        chain("", "[", ""),
        chain("1", " if 1 else 1", ""),
        chain("\"}}\" ~ ", "-", "1"),
        "{% if 1 %}".repeat(50_000),
    ];
    let templates = [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set x = \"a\" * 3000000000 %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x=\"aaaaaaaaaaaaaaaa\") %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% include \"/etc/shadow\" %}",
        "{{ \"%999999999d\" | format(1) }}",
    ];
    for template in templates.into_iter().chain(chains.iter().map(String::as_str)) {
        m.write(&format!("{}/x.j2", shop::DIR), template);
        let refused = m.try_run(&format!("ulimit -v 3000000; timeout 250 conductor check {} VERSION=1", shop::DIR));
        assert_eq!(refused.status, 3, "{}: {refused}", &template[..template.len().min(100)]);
        assert!(refused.stderr.contains("x.j2"), "{refused}");
    }
}

fn administration_is_private(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let slot = "/run/conductor/slots/shop/1";
    assert!(!mallory(m, &format!("curl --silent --unix-socket {slot} http://x/")).success());
    let server = format!(
        r#"{{"listen":["127.0.0.1:9998"],"routes":[{{"handle":[{{"handler":"reverse_proxy","upstreams":[{{"dial":"unix/{slot}"}}]}}]}}]}}"#
    );
    m.write("/root/server.json", &server);
    m.run("install -m 644 /root/server.json /tmp/server.json");
    let put = "curl --silent --max-time 5 -X PUT -H \"Content-Type: application/json\" -d @/tmp/server.json";
    let path = "config/apps/http/servers/m";
    for target in [
        format!("http://localhost:2019/{path}"),
        format!("--unix-socket /run/caddy/admin.sock http://localhost/{path}"),
    ] {
        let refused = mallory(m, &format!("{put} {target}"));
        assert!(!refused.success(), "{target}: {refused}");
    }
    assert!(!mallory(m, "curl --silent --max-time 3 http://127.0.0.1:9998/").success());
    assert!(!doctor(m).contains("BAD"), "{}", doctor(m));
    // Reloads and restarts keep working.
    m.run("systemctl reload caddy; systemctl restart caddy; systemctl reload caddy");
    Shop::new(1).extra(STORE).declare(m, "2");
    until_store(m, true);
}

/// An administrator's own options take the place of Conductor's, and the doctor says what they leave open.
fn own_options_are_judged(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    m.run(&format!(
        "cp {CADDYFILE} /root/; printf '{{\\n\\tgrace_period 1s\\n}}\\n' | cat - /root/Caddyfile >{CADDYFILE}"
    ));
    let refused = Shop::new(1).extra(STORE).try_declare(m, "1");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("systemctl restart caddy"), "{refused}");
    m.run("systemctl restart caddy");
    Shop::new(1).extra(STORE).declare(m, "1");
    until_store(m, true);
    let open = doctor(m);
    assert!(open.contains("BAD   every local user can reconfigure Caddy at 127.0.0.1:2019"), "{open}");
    m.run(&format!(
        "sed -i 's|grace_period 1s|admin unix//run/caddy/admin.sock|' {CADDYFILE}; systemctl restart caddy"
    ));
    assert!(!doctor(m).contains("BAD"), "{}", doctor(m));
    Shop::new(1).declare(m, "1");
    until_store(m, false);
}

fn failed_reload_is_told(m: &mut Machine) {
    let shop = Shop::new(1);
    shop.declare(m, "1");
    m.run(&format!("cp {CADDYFILE} /root/"));
    let taken = m.spawn("exec python3 -m http.server 8099 --bind 127.0.0.1 >/dev/null 2>&1");
    m.until("the port is taken", Duration::from_secs(10), || {
        m.try_run("curl --silent http://127.0.0.1:8099/").success()
    });
    m.write("/root/site", TAKEN_SITE);
    m.run(&format!("cat /root/site >>{CADDYFILE}"));
    let refused = shop.clone().extra(STORE).try_declare(m, "1");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("Caddy has not loaded the published routes"), "{refused}");
    assert!(refused.stderr.contains("address already in use"), "{refused}");
    assert!(shop::get(m).starts_with("1 "));

    // Written by hand, the route stays declared. It is served as soon as its cause is gone.
    let declared = format!("{}/service.toml", shop::DECLARED);
    m.write(&declared, &format!("{}\n{STORE}\n", m.read(&declared)));
    assert_eq!(m.try_run("conductor daemon-reload").status, 1);
    until_store(m, false);
    assert!(doctor(m).contains("BAD   Caddy has not loaded the published routes"), "{}", doctor(m));
    m.run(&format!("cp /root/Caddyfile {CADDYFILE}; conductor daemon-reload"));
    until_store(m, true);
    assert!(!doctor(m).contains("BAD"), "{}", doctor(m));
    m.run("pkill --full '[h]ttp.server 8099'");
    drop(taken.wait());

    // Without its admin endpoint Caddy cannot reload at all.
    m.run(&format!("printf '{{\\n\\tadmin off\\n}}\\n' | cat - /root/Caddyfile >{CADDYFILE}; systemctl restart caddy"));
    let refused = shop.try_declare(m, "1");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("take `admin off` out"), "{refused}");
    until_store(m, true);
    m.run(&format!("cp /root/Caddyfile {CADDYFILE}; systemctl restart caddy"));
    shop.declare(m, "1");
    until_store(m, false);
}

fn absent_proxy_is_told(m: &mut Machine) {
    let shop = Shop::new(1);
    for (breaks, word, mends) in [
        ("systemctl stop caddy", "inactive", "systemctl start caddy"),
        ("systemctl mask --now caddy", "masked", "systemctl unmask caddy; systemctl start caddy"),
    ] {
        m.run(breaks);
        let said = shop.try_declare(m, word);
        assert!(said.success(), "{said}");
        assert!(said.stderr.contains(&format!("shop: warning: caddy.service is {word}")), "{said}");
        assert!(doctor(m).contains("BAD"), "{}", doctor(m));
        m.run(mends);
        assert!(shop::get(m).starts_with(word));
        let said = shop.try_declare(m, "1");
        assert!(said.success() && !said.stderr.contains("warning"), "{said}");
    }
}

fn hanging_checker_is_left(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    m.run("mv /usr/bin/caddy /usr/bin/caddy.real");
    m.write_executable("/usr/bin/caddy", "#!/bin/sh\nexec sleep 1000\n");
    let refused = Shop::new(1).extra(STORE).try_declare(m, "1");
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.stderr.contains("`caddy` has not checked the configuration within 30 s"), "{refused}");
    m.run("mv /usr/bin/caddy.real /usr/bin/caddy; conductor daemon-reload");
    assert!(shop::get(m).starts_with("1 "));
    until_store(m, false);
}

fn forged_entries(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    let fields = "MESSAGE=FORGED\\nPRIORITY=3\\nCONDUCTOR_SERVICE=shop\\nSYSLOG_IDENTIFIER=app\\nUNIT=shop.service\\n";
    m.run("id mallory >/dev/null 2>&1 || useradd --create-home mallory");
    m.write("/tmp/entry", &fields.replace("\\n", "\n"));
    m.run("chmod 644 /tmp/entry; runuser -u mallory -- logger --journald=/tmp/entry; journalctl --sync");
    assert!(m.run("journalctl CONDUCTOR_SERVICE=shop").contains("FORGED"), "it is in the journal");
    let shown = m.run("conductor service logs shop");
    assert!(!shown.contains("FORGED"), "{shown}");
    assert!(shown.contains("Started shop-") || shown.contains("shop.service"), "{shown}");
    m.run("systemd-run --quiet --wait --property=Slice=conductor-shop.slice --property=LogExtraFields=CONDUCTOR_SERVICE=shop echo own");
    m.run("journalctl --sync");
    assert!(m.run("conductor service logs shop").contains("own"));
}

fn failures_are_marked(m: &mut Machine) {
    let shop = Shop::new(1);
    shop.declare(m, "1");
    let failed = shop.flags("--no-such-flag").try_declare(m, "2");
    assert_eq!(failed.status, 1, "{failed}");
    m.run("journalctl --sync");
    let marked =
        m.run("journalctl --output=cat --priority=err --unit=shop MESSAGE_ID=5d0c7e3a86cb4a7b9f4a1e2d7c60b8f1");
    assert!(marked.contains("did not start") || marked.contains("is not healthy"), "{marked}");
}

fn flooding_process(m: &mut Machine) {
    let shop = Shop::new(1);
    shop.write(m);
    m.write_executable(&format!("{}/flood", shop::DIR), "#!/bin/sh\nyes flood | head -n 200000\nexit 3\n");
    m.run(&format!("sed -i 's|\\[\"./app\"|[\"./flood\"|' {0}/service.toml; printf '[deploy]\\nhealth_timeout = \"6s\"\\n' >>{0}/service.toml", shop::DIR));
    let failed = m.try_run(&format!("timeout 120 {}", shop::command("1")));
    assert_eq!(failed.status, 1, "{failed}");
    assert_eq!(m.run("systemctl list-units --all --no-legend 'shop-*@*.service'"), "");
}

fn flooded_journal(m: &mut Machine) {
    let shop = Shop::new(1);
    shop.declare(m, "1");
    m.run("useradd --create-home mallory");
    let flood = m.spawn("exec runuser -u mallory -- timeout 100 sh -c 'yes flood | logger --tag flood'");
    let failed = shop.flags("--no-such-flag").try_declare(m, "2");
    assert_eq!(failed.status, 1, "{failed}");
    assert!(shop::get(m).starts_with("1 "));
    m.run("pkill --uid mallory");
    drop(flood.wait());
}
