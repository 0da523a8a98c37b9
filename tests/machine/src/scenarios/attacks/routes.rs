//! Routes of services that run and are not declared any more, or not as they run, and others that claim them.

use conductor_machine::machine::Machine;

use super::super::service::{get, toml, write_declaration};
use super::super::shop::{self, DECLARED, Shop};
use crate::scenario::scenarios;

scenarios!("attacks":
    undeclared_and_robbed: "the declaration of a service that runs vanishes, and another claims its route"
        => "`declare` refuses the other; written by hand it gets the route, and `check` and `status` say so",
    broken_and_robbed: "the declaration of a service that runs breaks, and another claims its route"
        => "the running service keeps it, with parts too, and the other is refused",
    crossed_claims: "two services that run each claim the other's route as well"
        => "each keeps what it runs with, and both declarations are errors",
);

/// A route that is the shop's.
const CLAIM: &str = "[[route]]\nhost = [\"shop.localhost\"]\ntls = \"off\"";

fn begin(m: &Machine) {
    Shop::new(1).declare(m, "1");
    m.run("cp /root/shop/app /usr/local/bin/app");
}

/// Checks and declares a service with the shop's route: both must refuse it.
#[track_caller]
fn refuse_thief(m: &Machine) {
    write_declaration(m, "thief", "stolen", CLAIM);
    m.run("rm -rf /root/thief; mv /etc/conductor/services/thief /root/");
    for command in ["check", "service declare"] {
        let refused = m.try_run(&format!("conductor {command} /root/thief"));
        assert_eq!(refused.status, 3, "{refused}");
        assert!(refused.stderr.contains("shop.localhost, path /, is already routed to the service shop"), "{refused}");
    }
    assert!(get(m, "shop").starts_with("1 "));
}

fn undeclared_and_robbed(m: &mut Machine) {
    begin(m);
    m.run(&format!("mv {DECLARED} /root/away; systemctl daemon-reload"));
    refuse_thief(m);
    write_declaration(m, "thief", "stolen", CLAIM);
    m.run("systemctl daemon-reload");
    let told = "shop runs and is no longer declared: shop.localhost, path /, leads to the service thief now";
    let checked = m.try_run("conductor check");
    assert!(checked.status == 3 && checked.stderr.contains(told), "{checked}");
    let shown = m.run("conductor status --json");
    assert!(shown.contains(told), "{shown}");
    // As a rename: the one stops, the other starts.
    let done = m.run("conductor daemon-reload");
    assert!(done.contains("shop: stopped: no longer declared"), "{done}");
    assert!(get(m, "shop").starts_with("stolen "));
    assert!(m.run("conductor check").contains("1 service is in order"));
}

fn broken_and_robbed(m: &mut Machine) {
    begin(m);
    let good = m.read(&toml("shop"));
    m.write(&toml("shop"), &format!("{good}\nnonsense = 1\n"));
    m.run("systemctl daemon-reload");
    refuse_thief(m);
    write_declaration(m, "thief", "stolen", CLAIM);
    let reloaded = m.try_run("conductor daemon-reload");
    assert!(!reloaded.success() && reloaded.stderr.contains("is already routed to the service shop"), "{reloaded}");
    assert!(get(m, "shop").starts_with("1 "));
    m.run("rm -r /etc/conductor/services/thief");
    m.write(&toml("shop"), &good);
    m.run("conductor daemon-reload; conductor service rm shop");

    // The same for a service in parts: only its group's declaration is there to be broken.
    let part = "exec = { command = [\"/usr/local/bin/app\", \"--version\", \"1\"] }\nroute = [{ host = [\"shop.localhost\"], tls = \"off\" }]\n";
    let parts = format!("[health]\nhttp = \"/healthz\"\n[[part]]\nname = \"web\"\n{part}");
    m.write(&toml("mall"), &parts);
    m.run("conductor daemon-reload");
    assert!(get(m, "shop").starts_with("1 "));
    m.write(&toml("mall"), &format!("nonsense = 1\n{parts}"));
    write_declaration(m, "thief", "stolen", CLAIM);
    let reloaded = m.try_run("conductor daemon-reload");
    assert!(!reloaded.success() && reloaded.stderr.contains("is already routed to the service mall"), "{reloaded}");
    assert!(get(m, "shop").starts_with("1 "));
}

fn crossed_claims(m: &mut Machine) {
    begin(m);
    let claim = |name: &str| format!("[[route]]\nhost = [\"{name}.localhost\"]\ntls = \"off\"\n");
    for name in ["ant", "bee"] {
        write_declaration(m, name, name, "");
    }
    m.run("conductor daemon-reload");
    for order in [["ant", "bee"], ["bee", "ant"]] {
        for name in ["ant", "bee"] {
            let routes = order.map(claim).concat();
            write_declaration(m, name, name, "");
            m.run(&format!("sed -i '/^\\[\\[route/,$d' {}", toml(name)));
            m.write(&toml(name), &format!("{}{routes}", m.read(&toml(name))));
        }
        let reloaded = m.try_run("conductor daemon-reload");
        assert!(!reloaded.success(), "{reloaded}");
        for name in ["ant", "bee"] {
            assert!(reloaded.stderr.contains(&format!("services/{name}/service.toml")), "{reloaded}");
            assert!(get(m, name).starts_with(name), "{name}: {}", get(m, name));
        }
    }
    assert!(shop::get(m).starts_with("1 "));
}
