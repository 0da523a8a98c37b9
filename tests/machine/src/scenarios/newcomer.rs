//! The first steps after the tutorial, and the search for a fault with the doctor.

use conductor_machine::machine::{Machine, PACKAGE};
use serde_json::Value;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("newcomer":
    from_package_to_rolling_update,
    an_imported_file_serves,
    doctor_finds_what_is_wrong,
    status_is_one_page,
);

/// No other step, and no other reading.
fn from_package_to_rolling_update(m: &mut Machine) {
    m.run("apt-get purge --yes --quiet conductor");
    m.run(&format!("cd /root; cp {PACKAGE} conductor.deb; apt-get install --yes --quiet ./conductor.deb"));
    let said = m.run("cd /root; conductor new hello --exec");
    assert!(said.ends_with("conductor service declare hello\ncurl http://hello.localhost/\n"), "{said}");
    let curl = || m.run("curl --silent --show-error --fail http://hello.localhost/");
    m.run("cd /root; conductor check hello; conductor service declare hello");
    assert!(curl().starts_with("hello, version 1, deployment hello-"));
    m.run("cd /root; sed -i 's/hello, version/good morning, version/' hello/server.py");
    let said = m.run("cd /root; conductor service declare hello VERSION=2");
    assert!(said.contains("serves with 2 of 2 deployments"), "{said}");
    assert!(curl().starts_with("good morning, version 2, deployment hello-"));
    let output = m.try_run("conductor doctor");
    assert!(output.success(), "{output}");
    let said = m.run("conductor explain hello");
    let became = "health.http = \"/healthz\"  (/etc/conductor/services/hello/service.toml:23)\n    no unit line";
    assert!(said.contains(became), "{said}");
    assert!(said.contains("    hello-GENERATION@.service\n        Environment=VERSION=2\n"), "{said}");
    m.run("conductor service rm hello");

    for kind in ["container", "pod"] {
        m.run(&format!("cd /root; conductor new {kind} --{kind}; conductor check {kind}"));
    }
    let output = m.try_run("cd /root; conductor new pod --pod");
    assert!(!output.success() && output.stderr.contains("pod already exists"), "{output}");
}

/// A unit with a fixed port is imported, checked and declared, and callers reach it at that port.
fn an_imported_file_serves(m: &mut Machine) {
    let server = "import http.server, sys\nhandler = http.server.SimpleHTTPRequestHandler\n\
                  http.server.test(handler, port=int(sys.argv[2]), bind=\"127.0.0.1\")\n";
    m.install("/srv/report/server.py", "644", server.as_bytes());
    m.install("/srv/report/index.html", "644", b"the report\n");
    let unit = "[Unit]\nDescription=Report\n[Service]\nExecStart=/usr/bin/python3 server.py --port 8123\n\
                User=www-data\nWorkingDirectory=/srv/report\nNice=5\n[Install]\nWantedBy=multi-user.target\n";
    m.install("/root/report.service", "644", unit.as_bytes());
    let said = m.run("cd /root; conductor import report.service");
    assert!(said.contains("conductor service declare ./report"), "{said}");
    let output = m.try_run("cd /root; conductor import report.service");
    assert!(!output.success() && output.stderr.contains("report already exists"), "{output}");
    m.run("cd /root; conductor check ./report; conductor service declare ./report");
    let got = m.run("curl --silent --show-error --fail http://127.0.0.1:8123/index.html");
    assert_eq!(got, "the report\n");
    m.run("systemctl show --property=Nice 'report-*@1.service' | grep -x Nice=5; conductor service rm report");
}

/// What the doctor says is bad.
fn complaints(m: &Machine) -> Vec<String> {
    let output = m.try_run("conductor doctor --json");
    let findings: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
    let bad = findings.as_array().expect("findings").iter().filter(|finding| finding["verdict"] == "bad");
    let bad: Vec<_> = bad.map(|finding| finding["what"].as_str().expect("words").to_owned()).collect();
    assert_eq!(output.success(), bad.is_empty(), "{output}");
    bad
}

fn doctor_finds_what_is_wrong(m: &mut Machine) {
    assert_eq!(complaints(m), Vec::<String>::new(), "of a fresh machine");
    Shop::new(2).declare(m, "1");
    assert_eq!(complaints(m), Vec::<String>::new());
    m.note(m.run("conductor doctor | head -n 2 | tail -n 1").trim());

    let one = |m: &Machine, breaks: &str, complaint: &str, mends: &str| {
        m.run(breaks);
        let found = complaints(m);
        assert!(found.iter().any(|found| found.contains(complaint)), "{complaint}: {found:?}");
        m.run(mends);
        assert_eq!(complaints(m), Vec::<String>::new(), "after {mends}");
    };
    one(m, "systemctl stop caddy", "Caddy is inactive", "systemctl start caddy");
    // Caddy restarts without its drop-in.
    let drop_in = "/run/systemd/system/caddy.service.d";
    one(
        m,
        &format!(
            "mkdir -p {drop_in}; printf '[Service]\\nSupplementaryGroups=\\n' >{drop_in}/zz.conf; systemctl daemon-reload; systemctl restart caddy"
        ),
        "Caddy may not connect to /run/conductor/slots/shop/1",
        &format!("rm -r {drop_in}; systemctl daemon-reload; systemctl restart caddy"),
    );
    let generator = "/etc/systemd/system-generators/conductor-generator";
    one(
        m,
        &format!("mkdir -p /etc/systemd/system-generators; ln -s /dev/null {generator}"),
        "the generator is masked",
        &format!("rm {generator}"),
    );
    one(
        m,
        &format!("cp {0}/service.toml /root/; echo 'x =' >>{0}/service.toml", shop::DECLARED),
        "declarations do not compile: shop",
        &format!("cp /root/service.toml {}/", shop::DECLARED),
    );
    one(
        m,
        &format!("mv {} /root/away; systemctl daemon-reload", shop::DECLARED),
        "leftovers of services that are not declared: shop",
        &format!("mv /root/away {}; systemctl daemon-reload", shop::DECLARED),
    );
    one(
        m,
        "systemctl stop shop-$(basename $(dirname $(readlink /run/conductor/slots/shop/1)) | cut -d - -f 2)@1",
        "shop: 1 of 2 deployments are ready",
        "conductor daemon-reload",
    );
}

fn status_is_one_page(m: &mut Machine) {
    let said = m.run("conductor status");
    assert!(said.contains("Caddy active, routes published\nno service is declared; `conductor new NAME`"), "{said}");
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let first = shop::generation(m);
    shop.declare(m, "2");
    m.run("conductor service scale shop 3");
    let said = m.run("conductor status");
    let row = said.lines().find(|line| line.starts_with("shop ")).expect("a row");
    for cell in [" active ", " 3/3 ", " 12/12 ", " GET /healthz ", ": concurrency"] {
        assert!(row.contains(cell), "{cell}: {said}");
    }
    shop.declare(m, "3");
    let json: Value = serde_json::from_str(&m.run("conductor status shop --json")).expect("JSON");
    let row = &json["services"][0];
    assert_eq!((row["ready"].as_u64(), row["held"].as_u64()), (Some(3), Some(12)), "{json}");
    let last = &row["last"];
    assert_eq!(last["why"], serde_json::json!(["description", "exec.environment.VERSION"]), "{json}");
    assert_eq!(last["to"].as_str().map(str::to_owned), Some(shop::generation(m)), "{json}");
    assert!(last["failure"].is_null(), "{json}");

    // One that fails is said to, with the reason and where to look further.
    let output = shop.clone().flags("--unheard-of").try_declare(m, "4");
    assert!(!output.success());
    let said = m.run("conductor status shop");
    assert!(said.contains(" active "), "{said}");
    let logs = m.run(&format!("conductor service logs shop --generation {first}"));
    assert!(logs.contains(&first) && !logs.contains(&shop::generation(m)), "{logs}");
    m.note(row["memory"].is_null());
}
