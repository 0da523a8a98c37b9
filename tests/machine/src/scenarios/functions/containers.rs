//! Functions whose programs run in containers.

use std::time::Duration;

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, DIR, WORKER, count, curl, direct, get, ready};

scenarios!("functions":
    containers,
    isolated_containers,
    container_is_killed: "a function's container, or its first process, is killed with SIGKILL, five times"
        => "the next caller has another one; podman knows of no second",
    image_is_missing: "podman cannot pull the image of a newer function; that of a declared one is removed"
        => "nothing is declared, and the alias stays; callers get 502 until the image is there again",
);

/// A shell, Python, and nothing else of this machine.
const IMAGE: &str = "localhost/function:1";

fn make_image(m: &Machine) {
    m.run(&format!(
        r#"mkdir -p /root/root; cd /root/root; mkdir -p bin usr/bin usr/lib lib64 lib/x86_64-linux-gnu etc
        cp /bin/busybox bin/; for name in sh cat env id ls sleep sort setsid head wc; do ln -sf busybox bin/$name; done
        python=$(readlink -f /usr/bin/python3); cp $python usr/bin/python3; cp -r /usr/lib/${{python##*/}} usr/lib/
        for file in $python usr/lib/python3*/lib-dynload/*.so; do ldd $file; done | grep -o '/lib[^ ]*' | sort -u |
            while read -r lib; do cp -L "$lib" ".$lib"; done
        echo marked >etc/mark
        tar -c . | podman import --quiet --change 'ENV PATH=/bin:/usr/bin' --change 'ENV OF=image' --change 'CMD ["/act"]' - {IMAGE}"#
    ));
}

/// A function whose program is mounted into a container of that image.
fn declare_contained(m: &Machine, name: &str, program: &str, top: &str, section: &str) -> String {
    m.write_executable(&format!("{DIR}/{name}/act"), program);
    let manifest =
        format!("name = \"{name}\"\n{top}[container]\nimage = \"{IMAGE}\"\nvolume = [\"./act:/act:ro\"]\n{section}");
    m.write(&format!("{DIR}/{name}/function.toml"), &manifest);
    m.run(&format!("conductor cgi declare {DIR}/{name}")).trim().to_owned()
}

fn podmans(m: &Machine) -> usize {
    m.run("podman ps --all --quiet").lines().count()
}

/// A load of 1,000 requests.
fn thousand(path: String) -> Load {
    Load { clients: 4, path, post: false, requests: 1000, ..Load::default() }
}

fn containers(m: &mut Machine) {
    ready(m);
    make_image(m);
    let top = "aliases = [\"/act\"]\ntimeout = \"3s\"\nmax_body = \"10M\"\nresources = { memory_max = \"256M\" }\n";
    let id = declare_contained(m, "act", ACT, top, "user = \"1000:1000\"\nenvironment = { OWN = \"a b\" }\n");
    let unit = format!("conductor-cgi-{id}.service");
    assert_eq!(get(m, "/act/x"), (200, "here /x\n".into()));
    let (_, env) = get(m, "/act/env?q");
    for line in
        ["OF=image", "OWN=a b", "SCRIPT_NAME=/act", "QUERY_STRING=q", "PATH=/bin:/usr/bin", "SCRIPT_FILENAME=/act"]
    {
        assert!(env.lines().any(|it| it == line), "{line} is missing:\n{env}");
    }
    assert!(!env.contains("NOTIFY_SOCKET") && !env.contains("LISTEN_"), "{env}");

    assert_is_confined(m, &id, &unit);
    for (path, status) in [("nothing", 502), ("exits", 502), ("hangs", 504), ("leaves", 200), ("status", 418)] {
        assert_eq!(get(m, &format!("/act/{path}")).0, status, "{path}");
    }
    m.until("nothing is left of them", Duration::from_secs(5), || count(m, "sleep 600") == 0);
    m.run("head -c 10000000 /dev/urandom >/root/body");
    let options = "--data-binary @/root/body --output /root/answer";
    assert_eq!(direct(m, &id, "/cat", options).0, 200);
    m.run("cmp /root/body /root/answer");
    let log = m.run(&format!("journalctl --sync; journalctl CONDUCTOR_FUNCTION={id} --output=cat"));
    assert!(log.contains("about to exit") && log.contains("504: "), "{log}");
    let seen = m.load(thousand(format!("/cgi/{id}/x"))).wait();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("cgi {:.0}/s", seen.ok as f64 / seen.seconds));

    for listen in ["stdio", "socket"] {
        assert_worker_serves_and_rests(m, listen);
    }
    // What is in flight is finished.
    let slow = m.spawn("curl --silent http://localhost/act/slow");
    m.until("it runs", Duration::from_secs(5), || count(m, "sleep 0.5") > 0);
    m.run("conductor cgi rm /act");
    assert_eq!(slow.finish(), "slow\n");
    assert_eq!(podmans(m), 0);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

/// Whose processes, where, and what they have.
fn assert_is_confined(m: &Machine, id: &str, unit: &str) {
    let main = m.prop(unit, "MainPID");
    assert_eq!(m.read(&format!("/proc/{main}/comm")), "conmon\n");
    let group = m.prop(unit, "ControlGroup");
    let gateway = m.run(&format!("cat /sys/fs/cgroup{group}/libpod-payload-*/cgroup.procs"));
    let gateway = gateway.trim();
    let status = m.read(&format!("/proc/{gateway}/status"));
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
    assert_eq!(field("Uid:").split_whitespace().next(), Some("1000"), "{status}");
    assert_eq!(
        (field("CapEff:"), field("CapBnd:"), field("NoNewPrivs:")),
        ("0".repeat(16), "0".repeat(16), "1".into())
    );
    let devices =
        m.run(&format!("nsenter --net --target {gateway} ls /sys/class/net; tail -n +3 /proc/{gateway}/net/dev"));
    assert!(devices.lines().filter(|line| line.contains(':')).all(|line| line.trim().starts_with("lo:")), "{devices}");
    assert!(group.starts_with(&format!("/conductor.slice/conductor-cgi.slice/conductor-cgi-{id}.slice/")), "{group}");
}

fn assert_worker_serves_and_rests(m: &Machine, listen: &str) {
    let top =
        format!("interface = \"http\"\nlisten = \"{listen}\"\npreload = 2\nidle_timeout = \"2s\"\ntimeout = \"5s\"\n");
    let work = declare_contained(m, listen, WORKER, &top, "");
    let home = format!("/cgi/{work}");
    let (status, body) = curl(m, &format!("{home}/a"), "--data hello");
    assert!(status == 200 && body.ends_with(&format!("{home}/a hello\n")), "{status} {body}");
    assert_eq!((get(m, &format!("{home}/dies")).0, get(m, &format!("{home}/hangs")).0), (502, 504));
    let seen = m.load(thousand(format!("{home}/x"))).wait();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("http, {listen} {:.0}/s", seen.ok as f64 / seen.seconds));
    m.until("it rests", Duration::from_secs(10), || {
        m.prop(&format!("conductor-cgi-{work}.service"), "ActiveState") == "inactive" && podmans(m) == 1
    });
    let time = m.run(&format!(
            "curl --silent --output /dev/null --write-out '%{{time_total}}' --unix-socket /run/conductor/cgi/{work} http://x/"
        ));
    m.note(format!("first after rest {:.0} ms", time.trim().parse::<f64>().expect("seconds") * 1e3));
    m.run(&format!("conductor cgi rm {work}"));
}

fn isolated_containers(m: &mut Machine) {
    ready(m);
    make_image(m);
    let id = declare_contained(m, "act", ACT, "mode = \"isolated\"\ntimeout = \"3s\"\nmax_concurrency = 4\n", "");
    let home = format!("/cgi/{id}");
    assert_eq!(get(m, &format!("{home}/x")), (200, "here /x\n".into()));
    for (path, status) in [("nothing", 502), ("hangs", 504), ("leaves", 200), ("closes", 200)] {
        assert_eq!(get(m, &format!("{home}/{path}")).0, status, "{path}");
    }
    let top = "mode = \"isolated\"\ninterface = \"http\"\ntimeout = \"3s\"\n";
    let http = declare_contained(m, "work", WORKER, top, "exec = [\"/act\"]\nread_only = true\n");
    let (status, body) = curl(m, &format!("/cgi/{http}/a"), "--data hello");
    assert!(status == 200 && body == format!("1 /cgi/{http}/a hello\n"), "{status} {body}");
    assert_eq!(get(m, &format!("/cgi/{http}/hangs")).0, 504);
    // On a busy machine podman takes longer than the program may.
    let top = "mode = \"isolated\"\ntimeout = \"2min\"\nmax_concurrency = 4\n";
    let many = declare_contained(m, "many", ACT, top, "");
    let seen = m
        .load(Load {
            clients: 20,
            path: format!("/cgi/{many}/x"),
            post: false,
            requests: 40,
            timeout_ms: 240_000,
            ..Load::default()
        })
        .wait();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(format!("{:.1}/s with 20 callers", seen.ok as f64 / seen.seconds));
    m.until("nothing is left", Duration::from_secs(20), || {
        podmans(m) == 0
            && count(m, "sleep 600") == 0
            && m.run("systemctl list-units --all --no-legend 'conductor-cgi-*@*'").is_empty()
    });
    for id in [id, http, many] {
        m.run(&format!("conductor cgi rm {id}"));
    }
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn container_is_killed(m: &mut Machine) {
    ready(m);
    make_image(m);
    let id = declare_contained(m, "act", ACT, "", "");
    let unit = format!("conductor-cgi-{id}.service");
    for round in 0..5 {
        assert_eq!(get(m, &format!("/cgi/{id}/x")), (200, "here /x\n".into()));
        let hanging = m.spawn(&format!(
            "curl --silent --data x --output /dev/null --write-out '%{{http_code}}' http://localhost/cgi/{id}/hangs"
        ));
        m.until("its program runs", Duration::from_secs(5), || count(m, "sleep 6001") == 1);
        match round % 3 {
            0 => m.run(&format!("systemctl kill --kill-whom=main --signal=KILL {unit}")),
            1 => m.run(&format!("systemctl kill --kill-whom=all --signal=KILL {unit}")),
            _ => m.run(&format!("podman kill --signal=KILL conductor-cgi-{id}")),
        };
        assert_eq!(get(m, &format!("/cgi/{id}/x")), (200, "here /x\n".into()));
        assert_eq!(hanging.wait().stdout, "502");
        m.until("nothing is left of it", Duration::from_secs(5), || count(m, "sleep 6001") == 0 && podmans(m) == 1);
    }
    m.run(&format!("conductor cgi rm {id}"));
    assert_eq!(podmans(m), 0);
}

fn image_is_missing(m: &mut Machine) {
    ready(m);
    make_image(m);
    let id = declare_contained(m, "act", ACT, "aliases = [\"/act\"]\n", "");
    assert_eq!(get(m, "/act/x").0, 200);
    let manifest = format!("{DIR}/act/function.toml");
    m.run(&format!("sed -i 's|{IMAGE}|localhost/other:7|' {manifest}"));
    let refused = m.try_run(&format!("conductor cgi declare {manifest}"));
    assert!(
        !refused.success() && refused.stderr.contains("could not pull image localhost/other:7: podman pull: "),
        "{refused}"
    );
    m.run(&format!("sed -i 's|^image.*|&\\npull = \"never\"|' {manifest}"));
    let refused = m.try_run(&format!("conductor cgi declare {manifest}"));
    assert!(!refused.success() && refused.stderr.contains("is never to be pulled"), "{refused}");
    assert_eq!(get(m, "/act/x"), (200, "here /x\n".into()));
    assert_eq!(m.run("conductor cgi list --json | grep -c '\"id\"'").trim(), "1");

    for mode in ["pooled", "isolated"] {
        m.run(&format!(
            "systemctl stop conductor-cgi-{id}.service; podman tag {IMAGE} localhost/kept; podman untag {IMAGE} {IMAGE}"
        ));
        let id = if mode == "pooled" {
            id.clone()
        } else {
            m.run("podman tag localhost/kept localhost/function:1");
            let id = declare_contained(m, "alone", ACT, "mode = \"isolated\"\n", "");
            m.run(&format!("podman untag {IMAGE} {IMAGE}"));
            id
        };
        let (status, body) = get(m, &format!("/cgi/{id}/x"));
        assert!(status == 502 && body.contains(&format!("conductor cgi logs {}", &id[..12])), "{status} {body}");
        let log = m.run(&format!("journalctl --sync; journalctl CONDUCTOR_FUNCTION={id} --output=cat"));
        assert!(log.contains("502: podman image: "), "{log}");
        m.run(&format!("podman tag localhost/kept {IMAGE}"));
        m.until("it is there again", Duration::from_secs(10), || get(m, &format!("/cgi/{id}/x")).0 == 200);
    }
}
