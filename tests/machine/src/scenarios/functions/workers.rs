//! Programs that serve many requests, and those that have a unit of their own for each.

use std::time::Duration;

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, WORKER, count, curl, declare, get, ready};

scenarios!("functions":
    workers,
    isolated,
);

fn workers(m: &mut Machine) {
    ready(m);
    let manifest = "interface = \"http\"\npreload = 2\nmax_requests = 50\nmax_concurrency = 8\ntimeout = \"2s\"\n[exec]\ncommand = [\"./work\"]\n";
    let id = declare(m, "work", WORKER, manifest);
    let home = format!("/cgi/{id}");
    let (status, first) = curl(m, &format!("{home}/a"), "--data hello");
    assert_eq!(
        (status, first.split_once(' ').expect("words").1),
        (200, &*format!("{home}/a b'hello'\n").replace("b'hello'", "hello"))
    );
    m.until("two are warm", Duration::from_secs(5), || count(m, "functions/.*/work") == 2);
    let pids = |count: u32| {
        m.run(&format!(
            "for i in $(seq {count}); do curl --silent http://localhost{home}/x; done | cut -d' ' -f1 | sort -u | wc -l"
        ))
    };
    assert_eq!(pids(20).trim(), "1", "one after the other, one worker is enough");
    let many: u32 = pids(120).trim().parse().expect("a number");
    assert!((2..=4).contains(&many), "replaced after 50 requests: {many}");
    assert_eq!(get(m, &format!("{home}/dies")).0, 502);
    assert_eq!(get(m, &format!("{home}/hangs")).0, 504);
    assert_eq!(get(m, &format!("{home}/x")).0, 200);
    let seen = m.load(Load { clients: 8, path: format!("{home}/x"), requests: 1000, ..Load::default() }).wait();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("stdio {:.0}/s", seen.ok as f64 / seen.seconds));

    let manifest = "interface = \"http\"\nlisten = \"socket\"\ntimeout = \"2s\"\n[exec]\ncommand = [\"./work\"]\n";
    let id = declare(m, "listens", WORKER, manifest);
    let home = format!("/cgi/{id}");
    assert_eq!(get(m, &format!("{home}/a")).0, 200);
    let seen = m.load(Load { clients: 8, path: format!("{home}/x"), requests: 3000, ..Load::default() }).wait();
    assert_eq!((seen.failed, seen.versions.len()), (0, seen.versions.len()), "{seen}");
    m.note(format!("socket {:.0}/s", seen.ok as f64 / seen.seconds));
    assert_eq!(get(m, &format!("{home}/dies")).0, 502);
    assert_eq!(get(m, &format!("{home}/a")).0, 200);
    assert_eq!(get(m, &format!("{home}/hangs")).0, 504);
}

fn isolated(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, &format!("mode = \"isolated\"\ntimeout = \"2s\"\n{EXEC}"));
    let home = format!("/cgi/{id}");
    assert_eq!(get(m, &format!("{home}/x")), (200, "here /x\n".into()));
    for (path, status) in [("nothing", 502), ("hangs", 504), ("exits", 502), ("leaves", 200), ("closes", 200)] {
        assert_eq!(get(m, &format!("{home}/{path}")).0, status, "{path}");
    }
    let (_, env) = get(m, &format!("{home}/env"));
    assert!(env.contains("GATEWAY_INTERFACE=CGI/1.1\n"), "{env}");
    let units = |m: &Machine| m.run("systemctl list-units --all --plain --no-legend 'conductor-cgi-*@*'");
    m.until("nothing is left but who stands by", Duration::from_secs(5), || {
        count(m, "sleep 600") == 0 && units(m).lines().count() == 1
    });
    // Who stands by is given the next request, and another stands by.
    let standing = units(m);
    assert_eq!(get(m, &format!("{home}/x")), (200, "here /x\n".into()));
    m.until("another stands by", Duration::from_secs(5), || {
        let now = units(m);
        now.lines().count() == 1 && now.split_whitespace().next() != standing.split_whitespace().next()
    });
    m.run(&format!("systemctl stop conductor-cgi-{id}.service"));
    m.until("nobody stands by", Duration::from_secs(5), || units(m).is_empty());
    let alone = declare(m, "act", ACT, &format!("mode = \"isolated\"\npreload = 0\n{EXEC}"));
    assert_eq!(get(m, &format!("/cgi/{alone}/x")), (200, "here /x\n".into()));
    m.until("nobody stands by where nobody should", Duration::from_secs(5), || units(m).is_empty());
    // Few units at a time: other machines are tested beside this one.
    let many =
        declare(m, "many", ACT, &format!("mode = \"isolated\"\ntimeout = \"5min\"\nmax_concurrency = 8\n{EXEC}"));
    // Ten times as many callers at once as are served in a second.
    let seen = m
        .load(Load {
            clients: 400,
            path: "/x".into(),
            post: false,
            requests: 600,
            connect: format!("/run/conductor/cgi/{many}"),
            timeout_ms: 240_000,
            ..Load::default()
        })
        .wait();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("{:.0}/s with 400 callers", seen.ok as f64 / seen.seconds));

    let http =
        declare(m, "work", WORKER, "mode = \"isolated\"\ninterface = \"http\"\n[exec]\ncommand = [\"./work\"]\n");
    assert_eq!(curl(m, &format!("/cgi/{http}/a"), "--data hello").0, 200);
    for id in [&id, &http] {
        let unit = m.run(&format!("ls /run/systemd/generator/conductor-cgi-{id}-request@.service")).trim().to_owned();
        let exposure = exposure(m, &unit, "x@1.service");
        assert!(exposure <= 0.8, "{exposure}");
        m.note(format!("exposure {exposure}"));
    }
    let pooled = declare(m, "pooled", ACT, EXEC);
    let exposure = exposure(m, &format!("/run/systemd/generator/conductor-cgi-{pooled}.service"), "x.service");
    assert!(exposure <= 0.4, "{exposure}");
    m.note(format!("pooled {exposure}"));
    m.run(&format!("conductor cgi rm {id}"));
    assert_eq!(get(m, &home).0, 404);
}

fn exposure(m: &Machine, unit: &str, name: &str) -> f64 {
    let text = m.run(&format!(
        "cp {unit} /tmp/{name}; systemd-analyze security --offline=true --no-pager /tmp/{name} | tail -n 1"
    ));
    text.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}
