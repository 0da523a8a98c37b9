//! Commands that only read: list, status, show, env, logs.

use std::collections::BTreeMap;
use std::time::Duration;

use conductor_machine::machine::Machine;
use serde_json::Value;

use super::service::{OVER, service, status, toml, write_declaration};
use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("queries":
    show_names_the_file_of_each_value,
    env_is_what_processes_get,
    deployments_are_listed,
    logs_are_the_journal,
    listings,
    exit_codes,
    works_below_another_root,
    generations_are_compared,
    metrics_tell_what_runs,
);

fn generations_are_compared(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.declare(m, "1");
    let first = shop::generation(m);
    let same = m.run("conductor diff shop");
    assert!(same.starts_with("shop: no difference between"), "{same}");
    shop.declare(m, "2");
    let second = shop::generation(m);
    let said = service(m, "history shop");
    let lines: Vec<_> = said.lines().skip(1).collect();
    assert!(lines[0].starts_with(&second) && lines[0].contains("serves"), "{said}");
    assert!(lines[1].starts_with(&first) && lines[1].contains("VERSION"), "{said}");
    let rows: Value = serde_json::from_str(&service(m, "history shop --json")).expect("JSON");
    assert_eq!((&rows[0]["generation"], &rows[0]["serves"]), (&second.clone().into(), &true.into()), "{rows}");

    // Between generations, by the beginning of their names, and from the one that serves to the declaration.
    let between = m.run(&format!("conductor diff shop {} {}", &first[..6], &second[..6]));
    let has =
        |text: &str, sign: char, word: &str| text.lines().any(|line| line.starts_with(sign) && line.contains(word));
    assert!(has(&between, '-', "VERSION=1") && has(&between, '+', "VERSION=2"), "{between}");
    m.run("sed -i 's/^concurrency = 2/concurrency = 3/' /etc/conductor/services/shop/service.toml");
    m.run("sed -i 's/shop.localhost/till.localhost/' /etc/conductor/services/shop/service.toml");
    let declared = m.run("conductor diff shop");
    assert!(has(&declared, '+', "till.localhost") && !has(&declared, '+', "VERSION"), "{declared}");
    let unknown = m.try_run("conductor diff shop ffffffffffff");
    assert!(unknown.status == 1 && unknown.stderr.contains("conductor service history shop"), "{unknown}");
}

fn metrics_tell_what_runs(m: &mut Machine) {
    let shop = Shop::new(2).extra("[commands.tidy]\nexec = [\"/bin/true\"]\nschedule = \"*-*-* 03:00\"\n");
    shop.declare(m, "1");
    shop.declare(m, "2");
    m.run("conductor run shop tidy");
    let slow = m.spawn("curl --silent --max-time 60 'http://shop.localhost/slow?ms=20000'");
    let value = |name: &str| {
        let text = m.run("conductor metrics");
        let line =
            text.lines().find(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name}: {text}"));
        line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number")
    };
    m.until("the request is in flight", Duration::from_secs(15), || {
        value("conductor_service_requests_in_flight") == 1.0
    });
    assert_eq!(value("conductor_service_deployments_ready"), 2.0);
    assert_eq!((value("conductor_service_slots_held"), value("conductor_proxy_published")), (12.0, 1.0));
    assert_eq!((value("conductor_rollouts_failed_total"), value("conductor_last_rollout_success")), (0.0, 1.0));
    assert!(value("conductor_rollouts_total") >= 2.0 && value("conductor_last_rollout_duration_seconds") > 0.0);
    assert_eq!(value("conductor_job_last_success"), 1.0);
    let text = m.run("conductor metrics");
    let generation = shop::generation(m);
    assert!(
        text.contains(&format!("conductor_service_generation{{service=\"shop\",generation=\"{generation}\"}} 1")),
        "{text}"
    );
    // Each metric says once what it is, and each line is one of the text format.
    let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let names: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.split(' ').next()).collect();
    assert_eq!(names.len(), kinds.len(), "{text}");
    drop(slow);
}

fn show_names_the_file_of_each_value(m: &mut Machine) {
    let vendor = "/usr/lib/conductor/services";
    m.copy_app("/usr/local/bin/app");
    m.write(&format!("{vendor}/shop/service.toml"), "concurrency = 1\n[exec]\ncommand = [\"/usr/local/bin/app\"]\n");
    m.write(&format!("{vendor}/shop.d/30-site.toml"), "concurrency = 2\nconfig = { A = \"vendor\", B = \"vendor\" }\n");
    m.write(&format!("{vendor}/shop.d/40-masked.toml"), "concurrency = 9\n");
    m.write("/run/conductor/services/shop.d/35-run.toml", "config.B = \"run\"\n");
    m.run(&format!("mkdir -p {OVER}; ln -s /dev/null {OVER}/40-masked.toml"));
    m.write(&format!("{OVER}/30-site.toml"), "# hides the vendor's\nconfig = { A = \"etc\" }\n");
    m.run("conductor daemon-reload");
    service(m, "scale shop 3");
    let said = service(m, "show shop --sources");
    let lines = [
        ("concurrency = 3", format!("{OVER}/50-scale.toml:2")),
        ("A = \"etc\"", format!("{OVER}/30-site.toml:2")),
        ("B = \"run\"", "/run/conductor/services/shop.d/35-run.toml:1".to_owned()),
        ("command = [\"/usr/local/bin/app\"]", format!("{vendor}/shop/service.toml:3")),
        ("# declared in:", format!("{vendor}/shop/service.toml")),
    ];
    for (text, source) in lines {
        assert!(said.lines().any(|line| line.starts_with(text) && line.ends_with(&source)), "{text} {source}: {said}");
    }
    assert!(!said.contains("masked"), "{said}");

    m.run(&format!("mkdir -p {}; cp {vendor}/shop/service.toml {}/", shop::DECLARED, shop::DECLARED));
    let said = service(m, "show shop --sources");
    assert!(said.starts_with(&format!("# shadowed:     {vendor}/shop/service.toml\n")), "{said}");

    // What is shown is a declaration of the same.
    m.run("mkdir /root/again; conductor service show shop >/root/again/service.toml");
    let units = |what: &str| m.run(&format!("conductor render {what} | grep -v 'service.toml'"));
    assert_eq!(units("/root/again --name shop"), units("shop"));
}

/// Variables by name, of `NAME=value` lines or what environ(7) has.
fn variables(text: &str, separator: char) -> BTreeMap<String, String> {
    let pairs = text.split(separator).filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What systemd sets of itself, systemd.exec(5).
const SYSTEMD: &[&str] = &[
    "PATH",
    "LANG",
    "USER",
    "LOGNAME",
    "SHELL",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "LISTEN_PIDFDID",
];

fn env_is_what_processes_get(m: &mut Machine) {
    let extra = "[config]\nODD = \"50 % of \\\"x\\\" $HOME \\\\ end\"\nLINES = \"one\\ntwo\"\n";
    let drop_in =
        "[Service]\nEnvironment=\"UNIT=%p/%i\" 'QUOTED=a \\x41 \"b\"' PLAIN=1\\\n  TWO=2\nEnvironment=PERCENT=%%\n";
    m.write(&format!("{OVER}/50-more.conf"), drop_in);
    Shop::new(2).extra(extra).declare(m, "1");
    let generation = shop::generation(m);
    for instance in [1, 2] {
        let unit = format!("shop-{generation}@{instance}.service");
        let pid = m.prop(&unit, "MainPID");
        let mut there = variables(&m.read(&format!("/proc/{pid}/environ")), '\0');
        there.retain(|name, _| !SYSTEMD.contains(&name.as_str()));
        let json = m.run(&format!("conductor deployment env {unit} --json"));
        let said: BTreeMap<String, String> = serde_json::from_str(&json).expect("variables");
        assert_eq!(said, there);
        assert_eq!(said["UNIT"], format!("shop-{generation}/{instance}"));
        let by_name = m.run(&format!("conductor deployment env shop-{generation}-{instance} --json"));
        assert_eq!(by_name, json);
    }
    let common: BTreeMap<String, String> = serde_json::from_str(&service(m, "env shop --json")).expect("variables");
    let own = ["CONDUCTOR_DEPLOYMENT", "CONDUCTOR_DEPLOYMENT_DIR", "CONDUCTOR_INSTANCE", "CONDUCTOR_SOCKET", "UNIT"];
    assert!(own.iter().all(|name| !common.contains_key(*name)), "{common:?}");
    assert_eq!((common["VERSION"].as_str(), common["LINES"].as_str()), ("1", "one\ntwo"));
    let text = service(m, "env shop");
    assert!(text.lines().any(|line| line == "CONDUCTOR_SERVICE=shop"), "{text}");

    // An old deployment's is that of its generation, not of what is declared since.
    m.run(&format!("sed -i 's/VERSION = .*/VERSION = \"2\" }}/' {}/service.toml", shop::DECLARED));
    assert!(service(m, "env shop").contains("VERSION=1\n"));
    service(m, "stop shop");
    assert!(service(m, "env shop").contains("VERSION=2\n"), "what would serve");
    let gone = m.try_run(&format!("conductor deployment env shop-{generation}@1"));
    assert_eq!(gone.status, 1, "{gone}");
    assert!(gone.stderr.contains("does not run; `conductor deployment list` shows what does"), "{gone}");
}

fn deployments_are_listed(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let generation = shop::generation(m);
    let unit = format!("shop-{generation}@2.service");
    let pid = m.prop(&unit, "MainPID");
    let rows: Value = serde_json::from_str(&m.run("conductor deployment list --json")).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
    assert_eq!((&rows[1]["unit"], &rows[1]["state"]), (&unit.as_str().into(), &"active".into()));
    assert_eq!((rows[1]["main_pid"].to_string(), &rows[1]["service"]), (pid.clone(), &"shop".into()));
    assert_eq!(rows[1]["slots"], serde_json::json!([2, 4, 6, 8, 10, 12]));
    let text = m.run("conductor deployment list shop");
    let line = text.lines().find(|line| line.starts_with(&unit)).expect("its line");
    assert!(line.contains(" active ") && line.contains(&format!(" {pid} ")) && line.contains("Z "), "{text}");
    let shown = m.run(&format!("conductor deployment show {}", unit.trim_end_matches(".service")));
    for part in
        [format!("pid: {pid}"), format!("socket: /run/conductor/sockets/shop-{generation}/2"), "slots: 2 4 6".into()]
    {
        assert!(shown.contains(&part), "no {part}: {shown}");
    }
    for (code, words) in [(1, "list nosuch"), (2, "show nosuch"), (1, "show nosuch-0123456789ab@1"), (2, "env ../x")] {
        let output = m.try_run(&format!("conductor deployment {words}"));
        assert_eq!(output.status, code, "{words}: {output}");
    }
    service(m, "stop shop");
    assert_eq!(m.run("conductor deployment list"), "no deployment runs\n");
}

fn logs_are_the_journal(m: &mut Machine) {
    m.write_executable("/root/shop/hello", "#!/bin/sh\necho \"hello from $CONDUCTOR_INSTANCE\"\n");
    Shop::new(2).extra("[hooks]\npost_start = [\"./hello\"]\n").declare(m, "1");
    m.run("journalctl --sync; systemd-run --quiet --wait --unit=shop-other echo hello from another");
    let logs = service(m, "logs shop -- --no-pager");
    for part in ["hello from 1", "hello from 2"] {
        assert!(logs.contains(part), "no {part}: {logs}");
    }
    assert!(logs.contains("shop.service - Shop 1"), "what systemd says of it: {logs}");
    assert!(!logs.contains("another"), "{logs}");
    let last = service(m, "logs shop -n 1 -- --output=cat");
    assert_eq!(last.lines().count(), 1, "{last}");
    let one = m.run(&format!("conductor deployment logs shop-{}@2 -- --output=cat", shop::generation(m)));
    assert!(one.contains("hello from 2") && !one.contains("hello from 1"), "{one}");

    let mut follow = m.spawn("timeout 3 conductor service logs shop -f -n 0 -- --output=cat || true");
    std::thread::sleep(Duration::from_millis(500));
    assert!(follow.is_running());
    service(m, "scale shop 3");
    let seen = follow.finish();
    assert!(seen.contains("hello from 3") && !seen.contains("hello from 1"), "{seen}");
}

fn listings(m: &mut Machine) {
    let shop = Shop::new(2);
    shop.write(m);
    let declare = shop::command("1");
    let output = m.run(&format!("{declare} --no-start"));
    assert!(output.starts_with("shop: generation "), "{output}");
    assert_eq!(m.prop("shop.service", "ActiveState"), "inactive");
    assert_eq!(m.prop("shop.service", "LoadState"), "loaded");
    let generation = status(m, "shop")["declared"].as_str().expect("a generation").to_owned();
    let again = m.run(&format!("{declare} --no-start"));
    let (before, after) = (format!("shop: generation {generation}, 1 file of "), " MiB, already declared\n");
    assert!(again.starts_with(&before) && again.ends_with(after), "{again}");
    m.run(&declare);
    assert_eq!(shop::generation(m), generation);

    let list: Value = serde_json::from_str(&m.run("conductor service list --json")).expect("JSON");
    let row = serde_json::json!({
        "name": "shop", "state": "active", "generation": generation, "ready": 2, "concurrency": 2,
        "routes": ["shop.localhost/"], "description": "Shop 1", "error": null, "display": {},
    });
    assert_eq!(list, serde_json::json!([row]));
    let found = status(m, "shop");
    assert_eq!(
        (&found["state"], &found["generation"], &found["declared"]),
        (&"active".into(), &generation.as_str().into(), &generation.as_str().into())
    );
    assert_eq!(found["source"], toml("shop"));
    assert_eq!(found["failure"], Value::Null);
    let deployments = found["deployments"].as_array().expect("a list");
    assert_eq!(deployments.len(), 2);
    let unit = format!("shop-{generation}@2.service");
    assert_eq!(deployments[1]["unit"], unit.as_str());
    assert_eq!(deployments[1]["main_pid"].to_string(), m.prop(&unit, "MainPID"));
    assert_eq!(deployments[1]["slots"], serde_json::json!([2, 4, 6, 8, 10, 12]));
    let text = m.run("conductor service list; conductor service status shop");
    assert!(text.contains(&unit) && !text.contains('\x1b'), "{text}");
}

fn exit_codes(m: &mut Machine) {
    let shop = Shop::new(1);
    shop.declare(m, "1");
    m.write("/root/broken/service.toml", "[exec]\ncommand = [\"/bin/true\"]\nconcurency = 1\n");
    for (code, command) in [
        (0, "conductor --help"),
        (0, "conductor check shop"),
        (0, "conductor render shop"),
        (0, "conductor service list"),
        (1, "conductor service status nosuch"),
        (1, "conductor service reload nosuch"),
        (1, "conductor service rm nosuch"),
        (1, "conductor render nosuch"),
        (0, "conductor render shop --output /root/rendered"),
        (1, "conductor render shop --output /root/rendered"),
        (2, "conductor"),
        (2, "conductor service frobnicate"),
        (2, "conductor service status 'No Name'"),
        (2, "conductor service declare /root/shop VERSION"),
        (2, "conductor service declare /root/shop VERSION=1 --name 'No Name'"),
        (2, "conductor render shop VERSION=1"),
        (3, "conductor service declare /root/shop"),
        (3, "conductor service declare /root/nosuch"),
        (3, "conductor service declare /root/broken"),
        (3, "conductor check /root/broken"),
        (3, "conductor render /root/broken"),
    ] {
        let output = m.try_run(command);
        assert_eq!(output.status, code, "{command}: {output}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{command}: {output}");
    }
    assert_eq!(m.run("ls /etc/conductor/services"), "shop\n", "nothing of what was refused is there");
    let taken = m.try_run("conductor service declare /root/shop VERSION=1 --name other --no-start");
    assert_eq!(taken.status, 3, "{taken}");
    assert!(taken.stderr.contains("shop.localhost, path /, is already routed to the service shop"), "{taken}");
    m.run("sed -i s/shop.localhost/other.localhost/ /root/shop/service.toml");
    m.run("conductor service declare /root/shop VERSION=1 --name other --no-start");
    assert_eq!(m.run("ls /etc/conductor/services"), "other\nshop\n");
}

fn works_below_another_root(m: &mut Machine) {
    m.copy_app("/usr/local/bin/app");
    write_declaration(m, "web", "1", "");
    m.run("mkdir -p /srv/root/usr/local/bin; mv /etc/conductor /srv/root/etc-conductor; mkdir /srv/root/etc; mv /srv/root/etc-conductor /srv/root/etc/conductor; mkdir -p /etc/conductor/services");
    let list: Value = serde_json::from_str(&m.run("conductor --root /srv/root service list --json")).expect("JSON");
    assert_eq!((&list[0]["name"], &list[0]["state"]), (&"web".into(), &"unknown".into()), "{list}");
    assert!(m.run("conductor --root /srv/root render web").contains("/usr/local/bin/app --version 1"));
    m.run("conductor --root /srv/root render --output /srv/out");
    let files = m.run("cd /srv/out; find . -type f -o -type l | sort");
    assert!(files.contains("./web.service\n") && files.contains("./multi-user.target.wants/web.service\n"), "{files}");
    assert_eq!(
        m.run("conductor service list"),
        "no service is declared; `conductor service declare DIR` declares one\n"
    );
    assert_eq!(
        m.run("ls /srv/root/etc /srv/root"),
        "/srv/root:\netc\nusr\n\n/srv/root/etc:\nconductor\n",
        "nothing is written"
    );
}
