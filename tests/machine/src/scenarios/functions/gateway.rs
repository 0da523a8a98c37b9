//! The gateway of a function: killed, hindered, and at rest.

use std::time::{Duration, Instant};

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, WORKER, count, declare, direct, get, ready};

scenarios!("functions":
    gateway_is_killed: "what spawns a function's processes is killed with SIGKILL, five times, under load"
        => "callers that wait are served by the next; programs of the old one are gone; other functions do not notice",
    gateway_cannot_start: "what spawns a function's processes cannot be started: a file of the function was changed in its place"
        => "callers get 502 at once, with where to look; it is tried again after three seconds, and serves as soon as the file is what it was",
    rests,
);

fn gateway_is_killed(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, EXEC);
    let other = declare(m, "other", ACT, &format!("path_info_strip = 1\n{EXEC}"));
    let untouched = m.load(Load { clients: 2, path: format!("/cgi/{other}/x"), post: false, ..Load::default() });
    let service = format!("conductor-cgi-{id}.service");
    for _ in 0..5 {
        assert_eq!(get(m, &format!("/cgi/{id}/x")).0, 200);
        // With a body: Caddy itself asks again for one without, of a connection that it has used before.
        let hanging = m.spawn(&format!(
            "curl --silent --data x --output /dev/null --write-out '%{{http_code}}' http://localhost/cgi/{id}/hangs"
        ));
        m.until("its program runs", Duration::from_secs(5), || count(m, "sleep 6001") == 1);
        m.run(&format!("systemctl kill --kill-whom=main --signal=KILL {service}"));
        assert_eq!(get(m, &format!("/cgi/{id}/x")), (200, "here /x\n".into()));
        assert_eq!(hanging.wait().stdout, "502");
        m.until("its program is gone", Duration::from_secs(5), || count(m, "sleep 6001") == 0);
    }
    let seen = untouched.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn gateway_cannot_start(m: &mut Machine) {
    ready(m);
    let refused = m.try_run("cd /root; mkdir later; printf 'name = \"later\"\n[exec]\ncommand = [\"/bin/true\"]\nuser = \"later\"\n' >later/function.toml; conductor cgi declare later");
    assert_eq!(refused.status, 3, "{refused}");
    assert!(refused.stderr.contains("function.toml:4:8: exec.user: there is no user later"), "{refused}");

    let id = declare(m, "act", ACT, EXEC);
    // What was changed in its place is not served.
    let program = format!("/etc/conductor/functions/{id}/act");
    m.run(&format!("cp {program} /root/act; echo >>{program}"));
    let began = Instant::now();
    for _ in 0..50 {
        let (status, body) = direct(m, &id, "/x", "");
        assert!(status == 502 && body.contains(&format!("conductor cgi logs {}", &id[..12])), "{status} {body}");
    }
    m.run("journalctl --sync");
    let starts = format!("journalctl --unit conductor-cgi-{id}.service | grep --count ' Starting ' || true");
    let starts: u64 = m.run(&starts).trim().parse().expect("a number");
    assert!(starts <= 2 + began.elapsed().as_secs() / 3, "{starts} starts in {:?}", began.elapsed());
    m.run(&format!("cp /root/act {program}"));
    let serves = || direct(m, &id, "/x", "") == (200, "here /x\n".into());
    m.until("it serves when it can start", Duration::from_secs(20), serves);
}

/// Processes of functions' slice.
fn processes(m: &Machine) -> Vec<String> {
    let list = m.run("systemd-cgls --no-pager --unit conductor-cgi.slice 2>/dev/null | grep -o '[0-9]* .*' || true");
    list.lines().filter(|line| !line.contains(".s")).map(str::to_owned).collect()
}

fn rests(m: &mut Machine) {
    ready(m);
    let id = declare(m, "act", ACT, &format!("idle_timeout = \"1s\"\n{EXEC}"));
    let work = declare(
        m,
        "work",
        WORKER,
        "interface = \"http\"\npreload = 2\nidle_timeout = \"1s\"\n[exec]\ncommand = [\"./work\"]\n",
    );
    assert_eq!(get(m, &format!("/cgi/{id}/x")).0, 200);
    assert_eq!(get(m, &format!("/cgi/{work}/x")).0, 200);
    m.until("no process is left", Duration::from_secs(8), || {
        [&id, &work].iter().all(|id| m.prop(&format!("conductor-cgi-{id}.service"), "ActiveState") == "inactive")
    });
    assert_eq!(processes(m), Vec::<String>::new());
    let time = |path: &str| -> f64 {
        let seconds = m.run(&format!("curl --silent --fail --output /dev/null --write-out '%{{time_total}}' --unix-socket /run/conductor/cgi/{id} http://x{path}"));
        seconds.trim().parse().expect("seconds")
    };
    let (first, second) = (time("/x"), time("/x"));
    m.note(format!("first request after rest {:.1} ms, then {:.1} ms", first * 1e3, second * 1e3));
}
