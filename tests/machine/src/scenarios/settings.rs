//! conductor.toml: what holds for all services.

use conductor_machine::machine::Machine;

use super::shop::{self, Shop};
use crate::scenario::scenarios;

scenarios!("settings":
    roll_what_they_change,
    with_a_mistake_touch_nothing,
);

const SETTINGS: &str = "/etc/conductor/conductor.toml";

fn color(m: &Machine) -> String {
    let unit = format!("shop-{}@1.service", shop::generation(m));
    let environment = m.prop(&unit, "Environment");
    environment.split(' ').find(|one| one.starts_with("COLOR=")).unwrap_or("none").to_owned()
}

fn roll_what_they_change(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let before = shop::generation(m);
    let load = m.load(shop::load());
    m.write(SETTINGS, "[service]\nconfig = { COLOR = \"blue\" }\ndeploy.drain_timeout = \"20s\"\n");
    let plan = m.run("conductor plan");
    assert!(plan.contains("config.COLOR") && plan.contains("roll"), "{plan}");
    m.run("conductor daemon-reload");
    assert_ne!(shop::generation(m), before);
    assert_eq!(color(m), "COLOR=blue");
    let sources = m.run("conductor service show shop --sources");
    assert!(sources.contains(SETTINGS), "{sources}");

    m.run("conductor service set shop config.COLOR=red");
    assert_eq!(color(m), "COLOR=red", "what a service says itself is over it");
    m.run("conductor service set shop config.COLOR=");
    m.run(&format!("rm {SETTINGS}; conductor daemon-reload"));
    assert_eq!((shop::generation(m), color(m).as_str()), (before, "none"));
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(seen);
}

fn with_a_mistake_touch_nothing(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    let before = (shop::generation(m), m.run("pgrep --exact app"));
    for (text, words) in [
        ("[service]\nslots = \"many\"\n", "conductor.toml:2:9: service.slots: "),
        ("[service]\nexec.user = \"root\"\n", "conductor.toml:2:1: service.exec: unknown key"),
        ("[service]\nresources.memory_max = \"lots\"\n", "conductor.toml:2:24: resources.memory_max: "),
        ("service = 1\n", "conductor.toml:1:11: service: "),
        ("[service\n", "conductor.toml:1:"),
    ] {
        m.write(SETTINGS, text);
        for command in ["conductor daemon-reload", "conductor check"] {
            let output = m.try_run(command);
            assert_eq!(output.status, 3, "{command}: {output}");
            assert!(output.stderr.contains(words) && output.stderr.contains("help: "), "{command}: {output}");
        }
        m.run("systemctl daemon-reload");
        assert_eq!((shop::generation(m), m.run("pgrep --exact app")), before, "{text}");
        shop::assert_serves(m, "1", 2);
    }
    m.run(&format!("rm {SETTINGS}; conductor daemon-reload"));
    assert_eq!((shop::generation(m), m.run("pgrep --exact app")), before);
}
