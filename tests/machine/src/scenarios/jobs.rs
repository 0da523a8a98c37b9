//! Jobs: commands that systemd starts by the clock.

use std::time::Duration;

use conductor_machine::command::Output;
use conductor_machine::image::{self, IMAGE};
use conductor_machine::machine::Machine;
use serde_json::Value;

use super::shop::{Engine, Listen, Shop};
use super::user::{begin, try_as_alice};
use crate::scenario::scenarios;

scenarios!("jobs":
    run_by_the_clock,
    run_as_deployments_do,
    run_in_the_sandbox_of_containers(|m| as_commands_do(m, Engine::Container(Listen::Tcp))),
    run_in_the_sandbox_of_pods(|m| as_commands_do(m, Engine::Pod(Listen::Tcp))),
    run_of_a_user_and_of_a_part,
    run_in_the_image,
    are_of_the_generation_that_serves,
    skip_what_was_due_meanwhile(|m| overlap(m, "skip", 1)),
    queue_what_was_due_meanwhile(|m| overlap(m, "queue", 2)),
    missed_while_the_machine_was_off: "a persistent job is due while the machine is switched off"
        => "it runs once after the boot; a job that is not persistent does not",
    failing_job: "a job fails, does not end in time, or is killed"
        => "`conductor status`, `service jobs` and `systemctl --failed` name it, what `on_failure` names starts, and nothing of \
            the job runs on",
    killed_hook: "the process that waits for a job's command is killed"
        => "systemd stops the command, and the job has failed; the next run is as any other",
    end_with_their_service,
);

const LIMIT: Duration = Duration::from_secs(60);

/// A service whose jobs can be held: they wait until `/var/work/go` is there.
const SERVICE: &str = "[exec]
command = [\"/usr/bin/sleep\", \"infinity\"]
environment = { VERSION = \"{{ VERSION }}\" }
[listen]
type = \"none\"
[health]
start = \"100ms\"
[systemd.service]
ReadWritePaths = \"/var/work\"
";

/// Logs that it begins and ends, with the version of its environment and that of its files.
const WORK: &str = r#"#!/bin/sh
echo "$VERSION begins" >>/var/work/log
echo "working on $VERSION"
until test -e /var/work/go; do sleep 0.1; done
echo "$VERSION ends with $(cat ./version)" >>/var/work/log
"#;

/// Declares a version of the service, with these commands.
fn declare(m: &Machine, version: &str, commands: &str) -> String {
    m.run("mkdir -p /var/work; chmod 777 /var/work; touch /var/work/log; chmod 666 /var/work/log");
    m.write_executable("/root/shop/work", WORK);
    m.write("/root/shop/version", version);
    m.write("/root/shop/service.toml", &format!("{SERVICE}{commands}"));
    m.run(&format!("conductor service declare /root/shop VERSION={version} 2>&1"))
}

/// A job that is never due.
fn work(more: &str) -> String {
    format!("[commands.work]\nexec = [\"./work\"]\nschedule = \"2199-01-01\"\n{more}")
}

fn log(m: &Machine) -> String {
    m.read("/var/work/log")
}

/// Starts the job and returns when it works.
fn start(m: &Machine) {
    let begun = log(m).matches("begins").count();
    m.run("rm -f /var/work/go; systemctl start --no-block shop-job@work");
    m.until("it works", LIMIT, || log(m).matches("begins").count() > begun);
}

fn ended(m: &Machine) {
    m.until("it has ended", LIMIT, || {
        ["inactive", "failed"].contains(&m.prop("shop-job@work.service", "ActiveState").as_str())
    });
}

fn jobs(m: &Machine) -> Vec<Value> {
    let text = m.run("conductor service jobs --json");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn nothing_left(m: &Machine) {
    let units = m.run("systemctl list-units --all --plain --no-legend 'shop-run@*'");
    let files = m.run("ls -d /run/systemd/system/shop-run* /run/systemd/transient/shop-run* 2>/dev/null || true");
    assert_eq!((units.as_str(), files.as_str()), ("", ""));
}

fn run_by_the_clock(m: &mut Machine) {
    let tick = "[commands.tick]\nexec = [\"sh\", \"-c\", \"echo $VERSION ticks >>/var/work/log\"]\nschedule = [\"*:*:0/4\", \"yearly\"]\n";
    declare(m, "1", tick);
    let ticks = |version: &str| log(m).matches(&format!("{version} ticks")).count();
    m.until("it has run three times", LIMIT, || ticks("1") >= 3);
    declare(m, "2", tick);
    m.until("the new generation runs", LIMIT, || ticks("2") >= 2);
    m.until("the table has it", LIMIT, || {
        let table = m.run("conductor service jobs shop");
        table.starts_with("SERVICE  JOB   LAST") && table.contains(", ok") && table.contains("in ")
    });
    assert!(m.run("conductor status").contains("\nshop     tick  "));
    let tick_of = |m: &Machine| jobs(m)[0].clone();
    m.until("it has run and is scheduled", LIMIT, || {
        let tick = tick_of(m);
        tick["result"] == "success" && tick["status"] == 0 && tick["ended_at"].is_u64() && tick["next_at"].is_u64()
    });

    // The timer is there exactly while the service is.
    let is_active = |m: &Machine| m.prop("shop-job@tick.timer", "ActiveState") == "active";
    m.run("systemctl stop shop");
    assert!(!is_active(m));
    assert_eq!(tick_of(m)["state"], "stopped");
    assert!(m.run("conductor service jobs").contains("service stopped"));
    m.run("systemctl start shop");
    assert!(is_active(m));
    m.run("systemctl restart shop; conductor service restart shop");
    assert!(is_active(m));
    m.run("systemctl stop shop-job@tick.timer");
    m.until("nothing starts it", LIMIT, || tick_of(m)["state"] == "unscheduled");
    let status = m.run("conductor status");
    assert!(status.contains("shop: the job tick has no timer"), "{status}");
    m.run("conductor service reload shop");
    assert!(is_active(m));
    // A changed schedule is in force after daemon-reload, and what is no longer declared goes.
    m.run("sed -i 's|^schedule.*|schedule = \"2199-01-01\"|' /etc/conductor/services/shop/service.toml");
    m.run("conductor daemon-reload 2>&1");
    assert_eq!(tick_of(m)["schedule"], serde_json::json!(["2199-01-01"]));
    m.run("conductor service disable shop");
    m.reboot();
    assert!(!is_active(m));
    m.run("conductor service enable shop");
    m.reboot();
    m.until("it is scheduled after a boot", LIMIT, || is_active(m));
    declare(m, "2", "");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'shop-job@*'"), "");
    assert!(jobs(m).is_empty());
}

/// Prints its sandbox, environment and directory, and fails.
const WHERE: &str = r#"#!/bin/sh
id --user --name
pwd
grep --only-matching '/conductor.slice/[^/]*' /proc/self/cgroup
env | grep -E '^(CONDUCTOR_|VERSION|HOME|STATE)' | sort
grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status
echo "$(ls /tmp | wc -l) files in /tmp"
touch /etc/not-mine 2>/dev/null || echo "read only"
exit 7
"#;
const BOTH: &str = "[commands.job]
exec = [\"./where\"]
schedule = \"2199-01-01\"
[commands.plain]
exec = [\"./where\"]
[commands.alone]
exec = [\"./where\"]
scope = \"service\"
schedule = \"2199-01-01\"
[commands.alone-plain]
exec = [\"./where\"]
scope = \"service\"
";

/// A job runs as a command without a schedule does.
#[track_caller]
fn same(job: &Output, plain: &Output) {
    assert_eq!((job.status, &job.stdout), (7, &plain.stdout), "{job}\n{plain}");
    assert!(job.stdout.contains("read only") && job.stdout.contains("CONDUCTOR_SERVICE="), "{job}");
}

fn as_commands_do(m: &mut Machine, engine: Engine) {
    m.write_executable("/root/shop/where", WHERE);
    Shop::new(1).engine(engine).extra(BOTH).declare(m, "1");
    for (job, plain) in [("job", "plain"), ("alone", "alone-plain")] {
        same(
            &m.try_run(&format!("conductor run shop {job}")),
            &m.try_run(&format!("conductor run shop {plain} </dev/null")),
        );
    }
    assert_eq!(m.try_run("conductor run shop alone").stdout.lines().next(), Some("conductor-shop"));
    nothing_left(m);
}

/// A container whose jobs run in containers of their own; one of them waits until it may go on.
const IN_IMAGE: &str = r#"[container]
image = "IMAGE"
port = 8080
exec = ["/bin/app", "--stop-delay", "0s", "--address", "0.0.0.0"]
environment = { VERSION = "{{ VERSION }}", PRICE = "$5 100% ${PORT}" }
volume = ["/srv/work:/work", "./config:/config:ro"]
user = "1000:1000"
credentials = { key = "/root/shop-key" }
[health]
http = "/healthz"
[commands.tell]
exec = ["/bin/sh", "-c", 'cat /etc/mark /config/name; cat $CREDENTIALS_DIRECTORY/key; busybox id -u; echo "$PRICE" "$1" "$@" ${VERSION}', "tell", "a $b"]
inside = true
[commands.work]
exec = ["/bin/sh", "-c", "echo begins $VERSION >>/work/log; until [ -e /work/go ]; do sleep 0.1; done; cat /config/name >>/work/log; exit 3"]
inside = true
schedule = "2199-01-01"
"#;

fn run_in_the_image(m: &mut Machine) {
    image::make(m, IMAGE, "7");
    m.run("mkdir -p /srv/work; chmod 777 /srv/work; printf secret >/root/shop-key");
    let declare = |version: &str| {
        m.write("/root/shop/config/name", &format!("config of {version}\n"));
        m.write("/root/shop/service.toml", &IN_IMAGE.replace("IMAGE", IMAGE));
        m.run(&format!("conductor service declare /root/shop VERSION={version}"));
    };
    declare("1");
    let told = m.run("echo in | conductor run shop tell 'it $HOME' --more");
    assert_eq!(told, "7\nconfig of 1\nsecret1000\n$5 100% 8080 a $b a $b it $HOME --more 1\n");
    assert!(m.run("conductor run shop").contains("container"), "how it runs is listed");
    // No rollout waits for it, and it keeps the files of its generation.
    let mut by_hand = m.spawn("conductor run shop work || echo status $?");
    m.until("it works", LIMIT, || m.try_run("grep -q begins /srv/work/log").success());
    declare("2");
    assert!(by_hand.is_running());
    m.run("touch /srv/work/go");
    assert!(by_hand.finish().contains("status 3"));
    assert_eq!(m.run("cat /srv/work/log"), "begins 1\nconfig of 1\n");
    // One that is stopped leaves no container.
    m.run("rm /srv/work/go; systemctl start --no-block shop-job@work");
    m.until("it works", LIMIT, || m.try_run("grep -q 'begins 2' /srv/work/log").success());
    assert_eq!(m.run("podman ps --format '{{.Names}}' | grep -c job").trim(), "1");
    m.run("conductor service rm shop");
    assert_eq!(m.run("podman ps --all --quiet"), "");
    nothing_left(m);
}

fn run_as_deployments_do(m: &mut Machine) {
    as_commands_do(m, Engine::Exec(Listen::Activation));
    // By the clock it is the same, and its output is in the journal of its unit, with the service's fields.
    let by_hand = m.try_run("conductor run shop job").stdout;
    assert!(!m.try_run("systemctl start shop-job@job").success());
    let last = "_SYSTEMD_INVOCATION_ID=$(systemctl show --value --property=InvocationID shop-job@job)";
    m.until("it is in the journal", LIMIT, || {
        m.run(&format!("journalctl --sync; journalctl --output=cat _SYSTEMD_UNIT=shop-job@job.service {last}"))
            == by_hand
    });
    let logged = m.run("journalctl --output=cat CONDUCTOR_SERVICE=shop _SYSTEMD_UNIT=shop-job@job.service");
    assert!(logged.contains(&by_hand), "{logged}");
    assert!(m.run("conductor service logs shop -- --output=cat").contains(&by_hand));
    let refused = m.try_run("conductor run shop job --verbose");
    assert!(refused.status == 2 && refused.stderr.contains("takes no arguments"), "{refused}");
    let list = m.run("conductor run shop");
    assert!(list.contains("COMMAND      SCOPE       SCHEDULE") && list.contains("2199-01-01"), "{list}");
    // One beside a deployment needs one.
    m.run("systemctl stop shop");
    let refused = m.try_run("conductor run shop job");
    assert!(refused.status == 1 && refused.stdout.contains("no deployment of shop is running"), "{refused}");
    assert_eq!(m.try_run("conductor run shop alone").status, 7);
}

fn run_of_a_user_and_of_a_part(m: &mut Machine) {
    m.write(
        "/root/team/service.toml",
        &format!(
            "[[part]]\nname = \"web\"\n{}",
            SERVICE
                .replace("[exec]", "[part.exec]")
                .replace("[listen]", "[part.listen]")
                .replace("[health]", "[part.health]")
                .replace("[systemd.service]", "[part.systemd.service]")
                + "[part.commands.say]\nexec = [\"echo\", \"part ${VERSION}\"]\nschedule = \"daily\"\n"
        ),
    );
    m.run("mkdir -p /var/work; conductor service declare /root/team VERSION=1 2>&1");
    assert_eq!(m.run("conductor run team.web say"), "part 1\n");
    assert_eq!(jobs(m)[0]["state"], "scheduled");
    m.run("conductor service stop team");
    assert_eq!(jobs(m)[0]["state"], "stopped");

    begin(m);
    let as_alice = |command: &str| {
        let output = try_as_alice(m, command);
        assert!(output.success(), "{command}: {output}");
        output.stdout
    };
    let text = format!(
        "{}[commands.say]\nexec = [\"echo\", \"user ${{VERSION}}\"]\nschedule = \"daily\"\n",
        SERVICE.replace("[systemd.service]\nReadWritePaths = \"/var/work\"\n", "")
    );
    as_alice(&format!(
        "mkdir shop; cat >shop/service.toml <<'X'\n{text}X\nconductor --user service declare shop VERSION=1"
    ));
    // It waits for its time. To run it needs a bus of the user's, which is not on the machine: systemd-run(1).
    let listed: Value = serde_json::from_str(&as_alice("conductor --user service jobs --json")).expect("JSON");
    assert_eq!(listed[0]["state"], "scheduled", "{listed}");
    assert!(listed[0]["next_at"].as_u64().is_some_and(|next| next > 1_700_000_000), "{listed}");
    as_alice("conductor --user service rm shop");
}

fn are_of_the_generation_that_serves(m: &mut Machine) {
    let generation = || {
        let status: Value = serde_json::from_str(&m.run("conductor service status shop --json")).expect("JSON");
        status["generation"].as_str().expect("a generation").to_owned()
    };
    declare(m, "1", &work(""));
    m.run("touch /var/work/go; conductor run shop work");
    declare(m, "2", &work(""));
    let held = generation();
    start(m);
    assert_eq!(jobs(m)[0]["state"], "running");
    let refused = m.try_run("conductor run shop work");
    assert!(refused.status == 1 && refused.stderr.contains("runs already"), "{refused}");
    // More rollouts than the history has; none waits.
    for version in 3..=9 {
        declare(m, &version.to_string(), &work(""));
    }
    let exists = |path: String| m.try_run(&format!("test -e {path}")).success();
    let (snapshot, files) =
        (format!("/run/conductor/generations/shop/{held}"), format!("/var/lib/conductor/generations/shop/{held}"));
    assert!(exists(format!("{snapshot}/units.json")) && exists(format!("{files}/files/version")));
    assert_eq!(m.prop("shop-job@work.service", "ActiveState"), "activating");
    m.run("touch /var/work/go");
    ended(m);
    assert_eq!(log(m), "1 begins\n1 ends with 1\n2 begins\n2 ends with 2\n");
    assert!(!exists(snapshot) && !exists(files));
    assert_eq!(m.run("conductor run shop work"), "working on 9\n");
    assert_eq!(m.run("ls /run/conductor/generations/shop | grep -v json"), format!("{}\n", generation()));
    nothing_left(m);
}

/// A job is due twice, the second time while it runs.
fn overlap(m: &mut Machine, how: &str, runs: usize) {
    declare(m, "1", &work("persistent = true\n"));
    let now: u64 = m.run("date +%s").trim().parse().expect("seconds");
    let (first, second) = (now + 20, now + 25);
    let text = format!(
        "[commands.work]\nexec = [\"./work\"]\nschedule = [\"@{first}\", \"@{second}\"]\npersistent = true\noverlap = \"{how}\"\n"
    );
    declare(m, "1", &text);
    m.until("it works", LIMIT, || log(m).contains("begins"));
    m.until("it is due again", LIMIT, || m.run("date +%s").trim().parse::<u64>().expect("seconds") > second + 1);
    assert_eq!(log(m).matches("begins").count(), 1);
    m.run("touch /var/work/go");
    m.until("it has run", LIMIT, || log(m).matches("ends").count() == runs);
    ended(m);
    // No time is left.
    m.until("the timer has elapsed", LIMIT, || m.prop("shop-job@work.timer", "SubState") == "elapsed");
    ended(m);
    assert_eq!(log(m).matches("begins").count(), runs);
    m.run("systemctl restart shop");
    assert_eq!(log(m).matches("begins").count(), runs);
}

fn missed_while_the_machine_was_off(m: &mut Machine) {
    let say = |name: &str, more: &str| {
        format!(
            "[commands.{name}]\nexec = [\"sh\", \"-c\", \"echo {name} >>/var/work/log\"]\nschedule = \"*-01-01\"\n{more}"
        )
    };
    declare(m, "1", &(say("kept", "persistent = true\n") + &say("lost", "")));
    // Both were last due before last New Year's Day.
    m.run("touch --date='2 years ago' /var/lib/systemd/timers/stamp-shop-job@kept.timer");
    m.kill_power();
    m.power_on();
    m.until("the missed job runs", LIMIT, || log(m).contains("kept"));
    m.run("systemctl restart shop");
    assert_eq!(log(m), "kept\n");
    m.run("conductor service rm shop");
    assert_eq!(m.run("ls /var/lib/systemd/timers | grep shop || true"), "");
}

fn failing_job(m: &mut Machine) {
    m.write(
        "/etc/systemd/system/alert@.service",
        "[Service]\nType=oneshot\nExecStart=sh -c 'echo %i $MONITOR_SERVICE_RESULT >>/var/work/alerts'\n",
    );
    m.run("systemctl daemon-reload");
    let job = |name: &str, exec: &str, more: &str| {
        format!(
            "[commands.{name}]\nexec = {exec}\nschedule = \"2199-01-01\"\non_failure = [\"alert@{name}.service\"]\n{more}"
        )
    };
    declare(
        m,
        "1",
        &(job("exits", "[\"sh\", \"-c\", \"echo out of order; exit 3\"]", "")
            + &job("late", "[\"sleep\", \"6107\"]", "timeout = \"1s\"\n")
            + &job("dies", "[\"sh\", \"-c\", \"kill -KILL $$$$\"]", "")),
    );
    let run = |job: &str| m.try_run(&format!("conductor run shop {job}"));
    let (exits, late, dies) = (run("exits"), run("late"), run("dies"));
    assert_eq!((exits.status, exits.stdout.as_str()), (3, "out of order\n"), "{exits}");
    assert!(late.status == 1 && late.stderr.contains("did not end in time"), "{late}");
    assert!(dies.status == 137 && dies.stdout.contains("was killed by signal 9"), "{dies}");
    assert!(!m.try_run("pgrep --full --exact 'sleep 6107'").success());
    assert_eq!(m.prop("shop-job@late.service", "Result"), "timeout");
    let failed = ["dies", "exits", "late"].map(|job| format!("shop-job@{job}.service"));
    assert_eq!(m.failed_units(), failed);
    m.until("the alerts are there", LIMIT, || m.read("/var/work/alerts").lines().count() == 3);
    let status = m.run("conductor status");
    for told in
        ["the job exits failed: exit 3", "the job late failed: timeout", "journalctl --unit=shop-job@dies.service"]
    {
        assert!(status.contains(told), "{told}: {status}");
    }
    let list = jobs(m);
    assert_eq!((&list[1]["result"], &list[1]["status"]), (&"exit-code".into(), &3.into()));
    nothing_left(m);
    // What is no longer declared has not failed.
    declare(m, "1", "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn killed_hook(m: &mut Machine) {
    declare(m, "1", &work(""));
    start(m);
    m.run("systemctl kill --kill-who=main --signal=KILL shop-job@work");
    m.until("the command ends", LIMIT, || !m.try_run("pgrep --full '[f]iles/work'").success());
    ended(m);
    assert_eq!(m.prop("shop-job@work.service", "Result"), "signal");
    m.run("touch /var/work/go");
    assert_eq!(m.run("conductor run shop work"), "working on 1\n");
    nothing_left(m);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn end_with_their_service(m: &mut Machine) {
    let has_ended = |m: &Machine| !m.try_run("pgrep --full '[f]iles/work'").success();
    declare(m, "1", &work("persistent = true\n"));
    start(m);
    m.run("systemctl stop shop-job@work");
    assert!(has_ended(m));
    assert_eq!(m.prop("shop-job@work.service", "ActiveState"), "inactive");
    start(m);
    m.run("systemctl stop shop");
    assert!(has_ended(m));
    assert_eq!(m.prop("shop-job@work.service", "ActiveState"), "inactive");
    m.run("systemctl start shop");
    // An interrupted command stops the job.
    let running = m.spawn("rm -f /var/work/go; exec conductor run shop work");
    m.until("it works", LIMIT, || !has_ended(m));
    m.run("pkill -TERM --full --exact 'conductor run shop work'");
    let output = running.wait();
    assert!(output.status == 1 && output.stderr.contains("interrupted; stopped shop-job@work.service"), "{output}");
    assert!(has_ended(m));
    // One that is no longer declared ends, and so does one whose service is removed.
    start(m);
    declare(m, "1", "");
    assert!(has_ended(m));
    declare(m, "1", &work("persistent = true\n"));
    start(m);
    m.run("conductor service rm shop");
    assert!(has_ended(m));
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'shop*'"), "");
    let left = "ls -d /run/conductor/*/shop* /run/systemd/*/*shop-* /var/lib/conductor/*/shop* /var/lib/systemd/timers/*shop* 2>/dev/null || true";
    assert_eq!(m.run(left), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}
