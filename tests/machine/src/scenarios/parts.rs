//! Several engines in one service: each rolls by its own inputs, and a failed declaration restores all of them.

use std::time::Duration;

use conductor_machine::image::{self, IMAGE};
use conductor_machine::load::Load;
use conductor_machine::machine::Machine;
use serde_json::Value;

use crate::scenario::scenarios;

scenarios!("parts":
    a_change_rolls_the_parts_whose_input_it_is,
    one_that_fails_takes_all_back,
    verbs_of_the_whole_and_of_a_part,
    what_is_not_declared_any_more_stops,
    a_part_follows_those_that_it_is_after:
        "a part needs another one that takes its time, at a start, a reload and a boot" => "it starts once that one is ready",
);

const DIR: &str = "/root/mall";
const DECLARED: &str = "/etc/conductor/services/mall";

/// A web server by systemd's socket, one that binds its own, and a container.
fn mall(web: &str, api: &str, flags: &str) -> String {
    format!(
        r#"description = "Mall"
config = {{ SHARED = "1" }}

[health]
http = "/healthz"

[resources]
tasks_max = 900

[[part]]
name = "web"
concurrency = 2
exec = {{ command = ["./app"], environment = {{ VERSION = "{web}" }} }}
resources = {{ tasks_max = 300 }}
route = [{{ host = ["web.localhost"], tls = "off" }}]

[[part]]
name = "api"
listen = {{ type = "unix" }}
exec = {{ command = ["./app", "--unix", "${{CONDUCTOR_SOCKET}}"{flags}], environment = {{ VERSION = "{api}" }} }}
route = [{{ host = ["api.localhost"], tls = "off" }}]

[[part]]
name = "image"
[part.container]
image = "{IMAGE}"
port = 8080
exec = ["/bin/app", "--stop-delay", "0s", "--address", "0.0.0.0", "--tcp", "${{PORT}}"]
[[part.route]]
host = ["image.localhost"]
tls = "off"
"#
    )
}

fn write(m: &Machine, text: &str) {
    m.write(&format!("{DIR}/service.toml"), text);
    if !m.try_run(&format!("test -e {DIR}/app")).success() {
        m.copy_app(&format!("{DIR}/app"));
        m.write(&format!("{DIR}/web/page"), "one");
        m.write(&format!("{DIR}/api/rules"), "one");
        image::make(m, IMAGE, "1");
    }
}

#[track_caller]
fn declare(m: &Machine) -> String {
    m.run(&format!("conductor service declare {DIR}"))
}

/// The generations of web, api and image.
fn generations(m: &Machine) -> [String; 3] {
    ["web", "api", "image"].map(|part| {
        let target = m.read(&format!("/run/conductor/generations/mall.{part}/target.json"));
        let target: Value = serde_json::from_str(&target).expect("JSON");
        target["generation"].as_str().expect("a generation").to_owned()
    })
}

/// Which of two sets of generations are others.
fn rolled(before: &[String; 3], after: &[String; 3]) -> [bool; 3] {
    std::array::from_fn(|part| before[part] != after[part])
}

/// Each service's name and state.
fn list(m: &Machine) -> Vec<String> {
    let rows: Value = serde_json::from_str(&m.run("conductor service list --json")).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let rows = rows.as_array().expect("rows").iter();
    rows.map(|row| format!("{} {}", text(&row["name"]), text(&row["state"]))).collect()
}

fn all(states: [&str; 3]) -> Vec<String> {
    let parts = [("api", states[1]), ("image", states[2]), ("web", states[0])];
    parts.iter().map(|(part, state)| format!("mall.{part} {state}")).collect()
}

const ACTIVE: [&str; 3] = ["active"; 3];

#[track_caller]
fn get(m: &Machine, part: &str) -> String {
    let answer = m.run(&format!("curl --silent --show-error --fail --max-time 5 http://{part}.localhost/"));
    answer.split(' ').next().unwrap_or_default().to_owned()
}

fn a_change_rolls_the_parts_whose_input_it_is(m: &mut Machine) {
    write(m, &mall("1", "1", ""));
    declare(m);
    assert_eq!(list(m), all(ACTIVE));
    assert_eq!([get(m, "web"), get(m, "api")], ["1", "1"]);
    let first = generations(m);
    let loads = ["web", "api", "image"]
        .map(|part| m.load(Load { host: format!("{part}.localhost"), clients: 4, ..Load::default() }));

    write(m, &mall("2", "1", ""));
    let said = declare(m);
    let second = generations(m);
    assert_eq!(rolled(&first, &second), [true, false, false], "{said}");
    m.write(&format!("{DIR}/api/rules"), "two");
    assert!(m.run(&format!("conductor service declare {DIR} --no-start")).contains("mall.web: generation"));
    let plan = m.run("conductor plan mall");
    assert!(plan.contains("mall.api: roll") && plan.contains("mall.web: no changes"), "{plan}");
    assert!(plan.contains("file api/rules: changed"), "{plan}");
    m.run("conductor daemon-reload");
    let third = generations(m);
    assert_eq!(rolled(&second, &third), [false, true, false]);
    m.run(&format!("sed -i 's/SHARED = .1./SHARED = \"2\"/' {DECLARED}/service.toml; systemctl daemon-reload"));
    m.run("systemctl reload mall.service");
    let fourth = generations(m);
    assert_eq!(rolled(&third, &fourth), [true, true, true]);
    m.run("conductor service set mall.image config.SHARED=3");
    let fifth = generations(m);
    assert_eq!(rolled(&fourth, &fifth), [false, false, true]);
    m.run("conductor service set mall resources.tasks_max=800");
    assert_eq!(rolled(&fifth, &generations(m)), [false; 3], "a limit of the group rolls nothing");
    assert_eq!(m.prop("conductor-mall.slice", "TasksMax"), "800");
    assert_eq!(m.prop("conductor-mall-web.slice", "TasksMax"), "300");
    assert_eq!(m.prop("conductor-mall-web.slice", "Slice"), "conductor-mall.slice");

    for (part, load) in ["web", "api", "image"].iter().zip(loads) {
        let seen = load.stop();
        assert_eq!(seen.failed, 0, "{part}: {seen}");
        m.note(format!("{part}: {seen}"));
    }
    // Nothing of the generations before is left.
    for (part, id) in ["web", "api", "image"].iter().zip(&first) {
        assert_eq!(m.run(&format!("find /run/conductor /run/systemd/system -name 'mall.{part}-{id}*'")), "");
    }
}

fn one_that_fails_takes_all_back(m: &mut Machine) {
    write(m, &mall("1", "1", ""));
    declare(m);
    let before = generations(m);
    write(m, &mall("2", "2", ", \"--fail\""));
    let output = m.try_run(&format!("conductor service declare {DIR}"));
    assert!(!output.success() && output.stderr.contains("mall.api: "), "{output}");
    assert!(output.stderr.contains("mall: restored the previous declaration"), "{output}");
    assert_eq!(rolled(&before, &generations(m)), [false; 3]);
    assert_eq!([get(m, "web"), get(m, "api")], ["1", "1"]);
    assert_eq!(m.failed_units(), Vec::<String>::new());
    // A declaration with an error in any part changes nothing, whichever command reads it.
    m.run(&format!("sed -i 's/name = .api./name = 3/' {DECLARED}/service.toml"));
    let output = m.try_run("conductor daemon-reload");
    assert!(output.stderr.contains("part[1].name: `name` is required"), "{output}");
    m.run("systemctl daemon-reload");
    assert_eq!([get(m, "web"), get(m, "api")], ["1", "1"]);
    let output = m.try_run("systemctl reload mall.service");
    assert!(!output.success(), "{output}");
    assert_eq!([get(m, "web"), get(m, "api")], ["1", "1"]);
    m.run(&format!("sed -i 's/name = 3/name = \"api\"/' {DECLARED}/service.toml; conductor daemon-reload"));
    assert_eq!(rolled(&before, &generations(m)), [false; 3]);

    // The first declaration of a service leaves nothing.
    m.run("conductor service rm mall");
    assert_eq!(list(m), Vec::<String>::new());
    let output = m.try_run(&format!("conductor service declare {DIR}"));
    assert!(!output.success() && output.stderr.contains("no deployment runs"), "{output}");
    assert_eq!(m.run("find /run/conductor /etc/conductor /var/lib/conductor -name 'mall*'"), "");
    assert_eq!(m.run("systemctl list-units --all --plain --no-legend 'mall*' 'conductor-mall*'"), "");
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn verbs_of_the_whole_and_of_a_part(m: &mut Machine) {
    write(m, &mall("1", "1", ""));
    declare(m);
    let pids = || m.run("pgrep --exact app | sort");
    m.run("systemctl stop mall.service");
    assert_eq!((list(m), pids().as_str()), (all(["inactive"; 3]), ""));
    assert!(m.run("conductor daemon-reload").contains("every service is as declared"), "what is stopped stays so");
    m.run("systemctl start mall.service");
    assert_eq!(list(m), all(ACTIVE));
    let before = pids();
    m.run("systemctl restart mall.service");
    assert_eq!(list(m), all(ACTIVE));
    assert!(before.lines().all(|pid| !pids().contains(pid)), "{before}");
    m.run("systemctl stop mall.api.service; systemctl reload mall.service; conductor daemon-reload");
    assert_eq!(list(m), all(["active", "inactive", "active"]), "its administrator stopped that part");
    m.run("conductor service start mall");
    assert_eq!(list(m), all(ACTIVE));
    let generations_before = generations(m);
    m.run("conductor service restart mall.web");
    assert_eq!(rolled(&generations_before, &generations(m)), [true, false, false]);
    m.run("conductor service restart mall");
    let rolled_all = rolled(&generations_before, &generations(m));
    assert_eq!(rolled_all, [true; 3]);
    m.run("conductor service scale mall.api 2");
    assert_eq!(m.run("conductor deployment list mall --json").matches("\"unit\"").count(), 5);
    for (verb, words) in [
        ("scale mall 2", "name one of them: mall.api, mall.image, mall.web"),
        ("rollback mall", "declare the previous version"),
        ("rollback mall.web", "declare the previous version"),
        ("rm mall.web", "`conductor service rm mall` applies to all parts"),
        ("disable mall.web", "`conductor service disable mall` applies to all parts"),
        ("env mall", "name one of them: mall.web, mall.api, mall.image"),
    ] {
        let output = m.try_run(&format!("conductor service {verb}"));
        assert!(!output.success() && output.stderr.contains(words), "{verb}: {output}");
    }
    assert!(m.run("conductor service status mall").contains("mall: in 3 parts\n   state: active"));
    assert!(m.run("conductor service logs mall").contains("Finished mall.web.service"), "systemd's own words too");
    assert_eq!(m.run("conductor service env mall.web | grep SHARED"), "SHARED=1\n");
    assert_eq!(
        m.run("systemctl show mall.web-*@1.service mall.api-*@1.service --property=User --value | sort -u"),
        "\nconductor-mall\n"
    );
    m.run("conductor service disable mall");
    assert_eq!(m.run("ls /run/systemd/generator/multi-user.target.wants | grep mall || true"), "");
    m.run("conductor service enable mall");
    m.reboot();
    m.run("systemctl is-system-running --wait || true");
    assert_eq!(list(m), all(ACTIVE));
    assert_eq!([get(m, "web"), get(m, "api")], ["1", "1"]);
}

fn what_is_not_declared_any_more_stops(m: &mut Machine) {
    write(m, &mall("1", "1", ""));
    declare(m);
    // One part less, and one part more.
    let fewer =
        mall("1", "1", "").replace("name = \"api\"", "name = \"other\"").replace("api.localhost", "other.localhost");
    write(m, &fewer);
    declare(m);
    assert_eq!(list(m), ["mall.image active", "mall.other active", "mall.web active"]);
    assert_eq!(get(m, "other"), "1");
    m.run("conductor daemon-reload");
    assert_eq!(m.run("find /run/conductor /var/lib/conductor -name 'mall.api*'"), "");
    // While it runs it does not become a service without parts.
    m.write(&format!("{DIR}/service.toml"), "[exec]\ncommand = [\"./app\"]\n");
    let output = m.try_run(&format!("conductor service declare {DIR}"));
    assert!(output.stderr.contains("mall runs in parts, and is declared otherwise"), "{output}");
    assert_eq!(list(m), ["mall.image active", "mall.other active", "mall.web active"]);
    m.run("systemctl stop mall");
    declare(m);
    assert_eq!(list(m), ["mall active"]);
    write(m, &mall("1", "1", ""));
    let output = m.try_run(&format!("conductor service declare {DIR}"));
    assert!(output.stderr.contains("mall runs without parts"), "{output}");
    m.run("systemctl stop mall");
    declare(m);
    assert_eq!(list(m), all(ACTIVE));
    m.run(&format!("rm -r {DECLARED}; conductor daemon-reload"));
    assert_eq!(list(m), Vec::<String>::new());
    assert_eq!(m.prop("mall.service", "ActiveState"), "inactive");
    assert_eq!(m.run("pgrep --exact app || true"), "");
    assert_eq!(m.run("find /run/conductor /var/lib/conductor -name 'mall*'"), "");
}

/// A web server that is declared before the database that it needs; both write down when they are there.
const ORDERED: &str = r#"config = { SHARED = "1" }
[health]
http = "/healthz"
[systemd.service]
StateDirectory = "mall"

[[part]]
name = "web"
after = ["db"]
exec = { command = ["./app"] }
hooks = { pre_start = ["sh", "-c", "echo web starts >>$STATE_DIRECTORY/order"] }

[[part]]
name = "db"
exec = { command = ["./app", "--start-delay", "1s"] }
hooks = { post_start = ["sh", "-c", "echo db is ready >>$STATE_DIRECTORY/order"] }
"#;

fn a_part_follows_those_that_it_is_after(m: &mut Machine) {
    m.write(&format!("{DIR}/service.toml"), ORDERED);
    m.copy_app(&format!("{DIR}/app"));
    let order = |m: &Machine| m.run("cat /var/lib/private/mall/order; rm /var/lib/private/mall/order");
    let expected = "db is ready\nweb starts\n";
    declare(m);
    assert_eq!(order(m), expected);
    m.write(&format!("{DIR}/service.toml"), &ORDERED.replace("SHARED = \"1\"", "SHARED = \"2\""));
    declare(m);
    assert_eq!(order(m), expected, "when both roll");
    for verbs in ["systemctl restart mall", "systemctl stop mall; systemctl start mall"] {
        m.run(verbs);
        assert_eq!(order(m), expected, "{verbs}");
    }
    m.poweroff(Duration::from_secs(20));
    m.power_on();
    assert_eq!(order(m), expected, "at boot");
    let plan = m.run(&format!("sed -i '/^after/d' {DECLARED}/service.toml; conductor plan mall"));
    assert!(plan.contains("part.after"), "{plan}");
}
