//! Workers: services that listen nowhere.

use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;

use crate::scenario::scenarios;

scenarios!("workers":
    rolls_and_ends_its_work,
    ready_by_each_check,
    in_a_container_and_a_pod,
    of_the_readme,
    broken_worker: "a new generation of a worker exits soon after its start" =>
        "`declare` names its end and restores the previous declaration; the old worker has worked all the time",
);

/// Works on one piece after the other, 0.2 s each, and ends the one in hand on SIGTERM.
const WORKER: &str = r#"#!/usr/bin/python3
import os, signal, time
ended = False
def end(*_):
    global ended
    ended = True
signal.signal(signal.SIGTERM, end)
log = open("/var/work/log", "a", buffering=1)
piece = 0
while not ended:
    piece += 1
    log.write(f"{os.environ['MARK']} begins {piece}\n")
    time.sleep(0.2)
    log.write(f"{os.environ['MARK']} ends {piece}\n")
log.write(f"{os.environ['MARK']} is done\n")
"#;

/// Writes /root/queue with a worker and what else is declared.
fn write(m: &Machine, mark: &str, more: &str) {
    m.run("mkdir -p /var/work; chmod 777 /var/work; touch /var/work/log; chmod 666 /var/work/log");
    m.write_executable("/root/queue/worker.py", WORKER);
    let text = format!(
        "[exec]\ncommand = [\"./worker.py\"]\nenvironment = {{ MARK = \"{mark}\" }}\n[listen]\ntype = \"none\"\n\
         [systemd.service]\nReadWritePaths = \"/var/work\"\n{more}"
    );
    m.write("/root/queue/service.toml", &text);
}

fn declare(m: &Machine) -> String {
    m.run("conductor service declare /root/queue 2>&1")
}

/// The lines of the work's log that hold a text.
fn count(m: &Machine, text: &str) -> usize {
    m.read("/var/work/log").lines().filter(|line| line.contains(text)).count()
}

/// Every piece that a worker has begun has ended, and it was told to stop.
#[track_caller]
fn ended_in_order(m: &Machine, mark: &str) {
    assert_eq!(count(m, &format!("{mark} begins")), count(m, &format!("{mark} ends")), "{}", m.read("/var/work/log"));
    assert!(count(m, &format!("{mark} is done")) > 0, "{}", m.read("/var/work/log"));
}

/// The new one worked before the old one ended.
#[track_caller]
fn in_turn(m: &Machine, new: &str, old: &str) {
    let log = m.read("/var/work/log");
    let at = |text| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
    assert!(at(new) < at(old), "{log}");
}

#[track_caller]
fn nothing_listens(m: &Machine) {
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'queue-*.socket' 'queue*_bridge*'"), "");
    assert_eq!(m.run("ls /run/conductor/slots/queue 2>/dev/null || true"), "");
    let environment = m.run(
        "tr '\\0' '\\n' <\"/proc/$(systemctl show --value --property=MainPID 'queue-*@1.service' | head -n1)/environ\"",
    );
    assert!(environment.contains("CONDUCTOR_INSTANCE=1"), "{environment}");
    for name in ["CONDUCTOR_SOCKET=", "PORT=", "LISTEN_FDS="] {
        assert!(!environment.contains(name), "{environment}");
    }
}

fn rolls_and_ends_its_work(m: &mut Machine) {
    write(m, "one", "");
    declare(m);
    nothing_listens(m);
    let status = m.run("conductor status queue");
    assert!(status.contains("1/1") && status.contains("runs"), "{status}");
    write(m, "two", "");
    declare(m);
    ended_in_order(m, "one");
    in_turn(m, "two begins", "one is done");
    m.run("conductor service scale queue 3");
    assert_eq!(m.run("systemctl list-units --plain --no-legend 'queue-*@*.service' | wc -l").trim(), "3");
    m.run("conductor service restart queue; conductor service rollback queue");
    m.run("systemctl kill --signal=KILL 'queue-*@2.service'");
    m.until("it is restarted", std::time::Duration::from_secs(20), || m.run("conductor status queue").contains("3/3"));
    m.reboot();
    m.until("it works again", std::time::Duration::from_secs(60), || m.run("conductor status queue").contains("3/3"));
    m.run("conductor service stop queue; conductor service start queue");
    nothing_listens(m);
    m.run("conductor service rm queue");
    assert_eq!(
        m.run("systemctl list-units --all --plain --no-legend 'queue*'; ls -d /run/conductor/*/queue* || true"),
        ""
    );
    for (more, told) in [
        ("[[route]]\nhost = [\"a.localhost\"]\n", "the service listens nowhere"),
        ("[[port]]\nlisten = \"5555\"\n", "the service listens nowhere"),
        ("[health]\nhttp = \"/\"\n", "notify = true or start = \"1s\""),
        ("[health]\nstart = \"2min\"\n", "a longer health_timeout"),
    ] {
        write(m, "one", more);
        let refused = m.try_run("conductor check /root/queue");
        assert!(refused.status == 3 && refused.stderr.contains(told), "{refused}");
    }
}

fn ready_by_each_check(m: &mut Machine) {
    write(m, "exec", "[health]\nexec = [\"sh\", \"-c\", \"grep -q 'exec ends 3' /var/work/log\"]\n");
    declare(m);
    assert!(count(m, "exec ends") >= 3);
    write(m, "start", "[health]\nstart = \"2s\"\n");
    declare(m);
    assert!(count(m, "start ends") >= 8, "{}", m.read("/var/work/log"));
    ended_in_order(m, "exec");
    write(m, "notify", "[health]\nnotify = true\n[deploy]\nhealth_timeout = \"10s\"\n");
    m.run("sed -i 's/^piece = 0/piece = 0; time.sleep(1.5); os.system(\"systemd-notify --ready\")/' /root/queue/worker.py");
    m.run("sed -i 's/ReadWritePaths.*/&\\nNotifyAccess = \"all\"/' /root/queue/service.toml");
    declare(m);
    ended_in_order(m, "start");
}

fn broken_worker(m: &mut Machine) {
    write(m, "good", "");
    declare(m);
    write(m, "bad", "");
    m.run("sed -i 's/^piece = 0/piece = 0; time.sleep(0.5); raise SystemExit(\"no broker\")/' /root/queue/worker.py");
    let before = count(m, "good");
    let refused = m.try_run("conductor service declare /root/queue");
    assert_eq!(refused.status, 1, "{refused}");
    for told in ["no broker", "exited with status 1", "restored the previous declaration"] {
        assert!(format!("{}{}", refused.stdout, refused.stderr).contains(told), "{told}: {refused}");
    }
    assert!(count(m, "good") > before && count(m, "good is done") == 0);
    // The error of a service that does not say that it listens nowhere names the key.
    m.write(
        "/root/silent/service.toml",
        "[exec]\ncommand = [\"sleep\", \"6106\"]\n[deploy]\nhealth_timeout = \"2s\"\n",
    );
    let silent = m.try_run("conductor service declare /root/silent");
    assert!(silent.status == 1 && silent.stderr.contains("type = \"none\""), "{silent}");
}

fn in_a_container_and_a_pod(m: &mut Machine) {
    image::make(m, IMAGE, "1");
    let worker =
        "trap 'echo $MARK is done >>/work/log; exit' TERM; while :; do echo $MARK works >>/work/log; sleep 0.2; done";
    m.run("mkdir -p /var/work; chmod 777 /var/work");
    let container = |mark: &str| {
        let text = format!(
            "[container]\nimage = \"{IMAGE}\"\nvolume = [\"/var/work:/work\"]\nenvironment = {{ MARK = \"{mark}\" }}\n\
             exec = [\"/bin/sh\", \"-c\", \"\"\"{worker}\"\"\"]\n[listen]\ntype = \"none\"\n"
        );
        m.write("/root/boxed/service.toml", &text);
        m.run("conductor service declare /root/boxed 2>&1");
    };
    container("one");
    container("two");
    in_turn(m, "two works", "one is done");
    m.run("conductor service rm boxed");
    let pod = |mark: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: podded\nspec:\n  containers:\n  - name: worker\n    image: {IMAGE}\n    \
             command: [/bin/sh, -c, \"{worker}\"]\n    env:\n    - name: MARK\n      value: {mark}\n    \
             volumeMounts:\n    - name: work\n      mountPath: /work\n  volumes:\n  - name: work\n    hostPath:\n      path: /var/work\n"
        );
        m.write("/root/podded/pod.yaml", &text);
        m.write("/root/podded/service.toml", "[pod]\ntemplate = \"pod.yaml\"\n[listen]\ntype = \"none\"\n");
        m.run("conductor service declare /root/podded 2>&1");
    };
    pod("three");
    pod("four");
    in_turn(m, "four works", "three is done");
    m.run("conductor service rm podded");
}

/// The part of the README.
fn of_the_readme(m: &mut Machine) {
    let readme = include_str!("../../../../README.md");
    let text = readme.split("```toml\n").find(|block| block.starts_with("[[part]]")).expect("an example of parts");
    let text = text.split("```").next().expect("its end");
    m.write("/root/shop/service.toml", text);
    m.copy_app("/root/shop/web/server");
    m.write_executable("/root/shop/worker/run", "#!/bin/sh\nwhile :; do echo works; sleep 1; done\n");
    m.run("conductor service declare /root/shop 2>&1");
    let status = m.run("conductor status");
    assert!(status.contains("shop.web") && status.contains("shop.worker"), "{status}");
}
