//! `conductor plan` shows what `conductor daemon-reload` does, and why.

use conductor_machine::machine::Machine;
use serde_json::{Value, json};

use super::shop::{self, DECLARED, Shop};
use crate::scenario::scenarios;

scenarios!("plan":
    names_the_inputs,
    touches_nothing,
    is_what_daemon_reload_does,
    expects_the_gap,
);

#[track_caller]
fn plan(m: &Machine) -> Value {
    let text = m.run("conductor plan --json");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The lines about one service.
#[track_caller]
fn of<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let services = plan["services"].as_array().expect("a list");
    services.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {plan}"))
}

/// The changes of the shop, each as `ACTIONS INPUT NAME OLD NEW`.
#[track_caller]
fn changes(m: &Machine) -> Vec<String> {
    let plan = plan(m);
    let changes = of(&plan, "shop")["changes"].as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().map_or("-".to_owned(), |text| text.chars().take(30).collect());
    let actions = |change: &Value| change["actions"].to_string().replace('"', "");
    let one = |change: &Value| {
        let [input, name, old, new] = ["input", "name", "old", "new"].map(|key| text(&change[key]));
        format!("{} {input} {name} {old} {new}", actions(change))
    };
    changes.iter().map(one).collect()
}

fn edit(m: &Machine, sed: &str) {
    m.run(&format!("sed -i '{sed}' {DECLARED}/service.toml"));
}

fn names_the_inputs(m: &mut Machine) {
    let shop = Shop::new(2).extra("[resources]\nmemory_max = \"1G\"\n");
    shop.declare(m, "1");
    assert_eq!(m.run("conductor plan"), "no changes (1 service)\n");
    assert_eq!(m.run("conductor plan shop --exit-code"), "shop: no changes\n");

    m.run(&format!("{} --no-start", shop::command("2")));
    let actions = || of(&plan(m), "shop")["actions"].clone();
    assert_eq!(actions(), json!(["roll", "refresh"]));
    let version = [
        r#"[roll,refresh] variable VERSION "1" "2""#,
        r#"[refresh] key description "Shop 1" "Shop 2""#,
        r#"[roll] key exec.environment.VERSION "1" "2""#,
    ];
    assert_eq!(changes(m), version);
    let text = m.run("conductor plan");
    let place = m.run(&format!("grep -n ^environment {DECLARED}/service.toml | cut -d: -f1"));
    let line = format!("  exec.environment.VERSION: \"1\" -> \"2\"  ({DECLARED}/service.toml:{})\n", place.trim());
    assert!(text.contains(&line), "{line}{text}");
    assert!(text.contains("  variable VERSION: \"1\" -> \"2\"\n"), "{text}");
    m.run("conductor daemon-reload");
    assert_eq!(actions(), json!([]));

    edit(m, "s/^concurrency.*/concurrency = 3/; s/memory_max.*/memory_max = \"2G\"/");
    assert_eq!(actions(), json!(["rescale", "refresh"]));
    assert_eq!(changes(m), ["[rescale] key concurrency 2 3", r#"[refresh] key resources.memory_max "1G" "2G""#]);
    assert_eq!(of(&plan(m), "shop")["start"].as_array().map(Vec::len), Some(1));
    m.run("conductor daemon-reload");

    m.write(&format!("{DECLARED}.d/50-more.toml"), "config.LEVEL = \"info\"\n[[route]]\nhost = [\"www.localhost\"]\n");
    m.write(&format!("{DECLARED}.d/50-nice.conf"), "[Service]\nNice=5\n");
    m.write(&format!("{DECLARED}/new"), "x");
    m.run(&format!("echo >> {DECLARED}/app"));
    assert_eq!(actions(), json!(["roll", "republish"]));
    let found = changes(m);
    assert_eq!(found[0], r#"[roll] key config.LEVEL - "info""#);
    assert_eq!(found[1], r#"[republish] key route ["shop.localhost/ (tls off)"] ["www.localhost/"]"#);
    assert!(found[2].starts_with("[roll] file app ") && found[3].starts_with("[roll] file new - "), "{found:?}");
    assert!(found[4].starts_with("[roll] drop-in 50-nice.conf - "), "{found:?}");
    let text = m.run("conductor plan");
    assert!(text.contains(&format!("({DECLARED}.d/50-more.toml:1)")), "{text}");
    assert!(text.contains("  file app: changed\n  file new: added\n  drop-in 50-nice.conf: added\n"), "{text}");
    assert!(text.ends_with("the proxy's configuration will be published\n"), "{text}");
    m.run(&format!("conductor daemon-reload; rm -r {DECLARED}.d {DECLARED}/new"));
    assert!(changes(m).contains(&"[roll] key exec.environment.LEVEL \"info\" -".to_owned()), "{:?}", changes(m));
    m.run("conductor daemon-reload");

    // As a conductor whose units have another form would have left it.
    let target = "/run/conductor/generations/shop/target.json";
    m.run(&format!("sed -i 's/\"format\":[0-9]*/\"format\":0/; s/\"generation\":\"[0-9a-f]*/\"generation\":\"000000000000/g' {target}"));
    let found = changes(m);
    assert!(found.len() == 1 && found[0].starts_with("[roll] renderer format 0 "), "{found:?}");
}

/// Files and their content, units and their state, what conductor and systemd have in /run.
fn everything(m: &Machine) -> String {
    m.run(
        "find /etc/conductor /run /var/lib/conductor -xdev ! -path '/run/log/*' ! -path '/run/systemd/journal*' \
             -printf '%p %y %m %i %s %T@ %C@ %l\n' | sort
        find /etc/conductor /run/conductor /run/systemd/generator /var/lib/conductor -type f | sort | xargs sha256sum
        systemctl list-units --all --plain --no-legend --full; systemctl list-jobs --no-legend
        systemctl show --property=NRestarts,InvocationID,MainPID 'shop*' conductor-proxy caddy",
    )
}

/// A host where everything is to be done.
fn all_kinds(m: &Machine) {
    m.copy_app("/usr/local/bin/app");
    Shop::new(3).declare(m, "1");
    let small = |version: &str| format!("[exec]\ncommand = [\"/usr/local/bin/app\", \"--version\", \"{version}\"]\n");
    let toml = |name: &str| format!("/etc/conductor/services/{name}/service.toml");
    for name in ["gone", "halted", "broken", "same"] {
        m.write(&toml(name), &small("1"));
    }
    m.run("conductor daemon-reload; systemctl stop halted; rm -r /etc/conductor/services/gone");
    m.run(&format!("{} --no-start", shop::command("2")));
    m.write(&toml("fresh"), &small("1"));
    m.write(&toml("halted"), &small("2"));
    m.write(&toml("broken"), "slots = \n");
    m.write(&toml("unwanted"), &format!("{}[install]\nwanted_by = []\n", small("1")));
}

fn touches_nothing(m: &mut Machine) {
    all_kinds(m);
    let before = everything(m);
    for (code, command) in [
        (3, "conductor plan"),
        (3, "conductor plan --json --exit-code"),
        (4, "conductor plan shop --exit-code"),
        (0, "conductor plan shop"),
        (0, "conductor plan same halted --exit-code"),
        (3, "conductor plan broken"),
        (1, "conductor plan nosuch"),
        (2, "conductor plan No/Such"),
    ] {
        let output = m.try_run(command);
        assert_eq!(output.status, code, "{command}: {output}");
    }
    let broken = m.try_run("conductor plan");
    assert!(broken.stderr.contains("/etc/conductor/services/broken/service.toml:1:9"), "{broken}");
    let (before, after) = (before.lines().collect::<Vec<_>>(), everything(m));
    let new: Vec<_> = after.lines().filter(|line| !before.contains(line)).collect();
    assert_eq!(new, Vec::<&str>::new());
    assert_eq!(after.lines().count(), before.len());
}

/// Units of deployments that run.
fn running(m: &Machine) -> Vec<String> {
    let list = m.run("systemctl list-units --plain --no-legend --full --state=active '*-*@*.service'");
    let ours = |unit: &&str| unit.split('@').next().is_some_and(|stem| stem.len() > 12 && !stem.contains("getty"));
    list.lines().filter_map(|line| line.split_whitespace().next()).filter(ours).map(str::to_owned).collect()
}

fn is_what_daemon_reload_does(m: &mut Machine) {
    all_kinds(m);
    let text = m.try_run("conductor plan --json");
    let plan: Value = serde_json::from_str(&text.stdout).expect("JSON");
    let actions = |name: &str| of(&plan, name)["actions"].to_string();
    assert_eq!(actions("shop"), r#"["roll","refresh"]"#);
    assert_eq!(actions("gone"), r#"["stop","forget"]"#);
    assert_eq!(actions("fresh"), r#"["start"]"#);
    for name in ["halted", "same", "unwanted"] {
        assert_eq!(actions(name), "[]", "{name}");
    }
    let note = of(&plan, "halted")["note"].as_str().expect("a note");
    assert!(note.contains("its administrator stopped it"), "{note}");
    assert!(plan["services"].as_array().expect("a list").iter().all(|row| row["name"] != "broken"));
    assert_eq!(plan["errors"].as_array().map(Vec::len), Some(1));
    assert_eq!(plan["proxy"], json!({ "republish": false }));
    let before = running(m);
    assert_eq!(m.try_run("conductor daemon-reload").status, 3);
    let after = running(m);
    let units = |key: &str| {
        let services = plan["services"].as_array().expect("a list").iter();
        let all = services.flat_map(|row| row[key].as_array().expect("units"));
        let mut all: Vec<_> = all.map(|unit| unit.as_str().expect("a name").to_owned()).collect();
        all.sort();
        all
    };
    let not_in = |one: &[String], other: &[String]| {
        let mut units: Vec<_> = one.iter().filter(|unit| !other.contains(unit)).cloned().collect();
        units.sort();
        units
    };
    assert_eq!(not_in(&after, &before), units("start"), "started");
    assert_eq!(not_in(&before, &after), units("stop"), "stopped");
    assert_eq!((units("start").len(), units("stop").len()), (4, 4));
    let left = m.try_run("conductor plan --json --exit-code");
    assert_eq!(left.status, 3, "{left}");
    let left: Value = serde_json::from_str(&left.stdout).expect("JSON");
    assert!(left["services"].as_array().expect("a list").iter().all(|row| row["actions"] == json!([])), "{left}");
    m.run("rm -r /etc/conductor/services/broken; conductor daemon-reload");
    assert_eq!(m.try_run("conductor plan --exit-code").status, 0);

    // What crashed or was stopped alone is to start again.
    m.run(&format!("systemctl stop {}", shop::deployments(m)[1].trim_end_matches(" active")));
    let plan: Value = serde_json::from_str(&m.run("conductor plan shop --json")).expect("JSON");
    assert_eq!(of(&plan, "shop")["actions"], json!(["start"]));
    m.run("conductor daemon-reload");
    assert_eq!(shop::deployments(m).len(), 3);
}

fn expects_the_gap(m: &mut Machine) {
    let shop = Shop::new(2).flags("--start-delay 700ms").extra("[deploy]\nstrategy = \"recreate\"\n");
    shop.declare(m, "1");
    shop.write(m);
    m.run(&format!("{} --no-start", shop::command("2")));
    let text = m.run("conductor plan");
    let gap = text.lines().find(|line| line.starts_with("  gap: ")).unwrap_or_else(|| panic!("{text}"));
    let seconds: f64 = gap.split_whitespace().nth(2).and_then(|word| word.parse().ok()).expect("seconds");
    assert!((0.7..2.0).contains(&seconds), "{gap}");
    assert!(
        gap.ends_with("as long as the running ones took to start; before that at most 30 s for requests in flight")
    );
    let load = m.load(shop::load());
    m.run("conductor daemon-reload");
    let seen = load.stop();
    let real = seen.versions["2"].first_ms - seen.versions["1"].last_ms;
    assert!((700..3000).contains(&real), "{real} ms");
    m.note(format!("expected {seconds} s, was {real} ms"));
}
