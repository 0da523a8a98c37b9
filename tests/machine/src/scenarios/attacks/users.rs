//! What a local user's own conductor, and the commands of root's that he may execute, touch of others.

use conductor_machine::command::Output;
use conductor_machine::machine::Machine;

use super::super::service::declared;
use super::super::shop::{self, Shop};
use super::super::user;
use crate::scenario::scenarios;

scenarios!("attacks":
    commands_of_a_user: "a local user runs each command of conductor against the system's services, and hooks by hand"
        => "each is refused, or shows what every user may see; nothing changes",
    services_of_a_user: "a local user's own services claim the system's routes, names and sockets"
        => "they are refused or his own; nobody else can enter his directories, and the system's services serve",
);

/// Commands that change something, without privileges: all must fail.
const REFUSED: &[&str] = &[
    "service declare ~/mine",
    "service start shop",
    "service stop shop",
    "service restart shop",
    "service reload shop",
    "service scale shop 3",
    "service set shop deploy.max_surge=2",
    "service disable shop",
    "service rollback shop",
    "service rm shop",
    "daemon-reload",
    "cgi declare ~/function",
    "cgi rm nothing",
    "service _start /etc/conductor/services/shop",
    "service _reload /etc/conductor/services/shop",
    "service _stop /etc/conductor/services/shop",
    "service _cleanup /etc/conductor/services/shop",
    "deployment _prepare $DEPLOYMENT",
    "deployment _start $DEPLOYMENT --timeout=1s",
    "deployment _cleanup $DEPLOYMENT",
];

/// Commands that only show something, or find nothing to do: they end, whatever they may see.
const SHOWING: &[&str] = &[
    "status",
    "plan",
    "check",
    "doctor",
    "service list",
    "service status shop",
    "service env shop",
    "service logs shop",
    "deployment list",
    "cgi list",
    "render",
    "explain shop",
    "run shop",
    "deployment _stop $DEPLOYMENT --timeout=1s", // of a process that nobody stops
];

fn mallory(m: &Machine, command: &str) -> Output {
    let deployment = "DEPLOYMENT=$(ls -d /run/conductor/deployments/shop-*-1)";
    let user = "runuser -u mallory -- env HOME=/home/mallory";
    m.try_run(&format!("{deployment}; {user} DEPLOYMENT=$DEPLOYMENT timeout 60 sh -c '{command}' </dev/null"))
}

/// What is declared, runs and holds slots.
fn state(m: &Machine) -> String {
    format!("{}{}{:?}{:?}", declared(m), m.run("pgrep --exact app"), shop::deployments(m), shop::slots(m))
}

fn commands_of_a_user(m: &mut Machine) {
    Shop::new(2).declare(m, "1");
    Shop::new(2).declare(m, "2");
    m.run("useradd --create-home mallory; cp -r /root/shop /home/mallory/mine; chown -R mallory /home/mallory/mine");
    m.run("mkdir /home/mallory/function");
    let before = state(m);
    for command in REFUSED {
        let refused = mallory(m, &format!("conductor {command}"));
        assert!(!refused.success() && refused.status != 124, "{command}: {refused}");
        assert!(!refused.stderr.contains("panicked"), "{command}: {refused}");
        assert_eq!(state(m), before, "{command}");
        assert!(shop::get(m).starts_with("2 "), "{command}");
    }
    for command in SHOWING {
        let shown = mallory(m, &format!("conductor {command}"));
        assert!(shown.status != 124 && !shown.stderr.contains("panicked"), "{command}: {shown}");
    }
    assert_eq!(state(m), before);
    assert_eq!(m.failed_units(), Vec::<String>::new());
}

fn services_of_a_user(m: &mut Machine) {
    Shop::new(1).declare(m, "1");
    user::begin(m);
    m.run("cp /root/shop/app /usr/local/bin/app");
    let declare = |name: &str, extra: &str| {
        let text = format!(
            "[exec]\ncommand = [\"/usr/local/bin/app\", \"--version\", \"alice\"]\n[health]\nhttp = \"/healthz\"\n{extra}"
        );
        m.write(&format!("/home/alice/{name}/service.toml"), &text);
        m.run(&format!("chown -R alice /home/alice/{name}"));
        user::try_as_alice(m, &format!("conductor --user service declare {name}"))
    };
    let routed = declare("robber", "[[route]]\nhost = [\"shop.localhost\"]\ntls = \"off\"\n");
    assert_eq!(routed.status, 3, "{routed}");
    let low = declare("low", "[[port]]\nlisten = \"127.0.0.1:80\"\n");
    assert!(!low.success(), "{low}");
    // Her service of the same name is another one.
    let own = declare("shop", "");
    assert!(own.success(), "{own}");
    assert!(shop::get(m).starts_with("1 "));
    for path in ["", "/conductor", "/systemd"] {
        let refused =
            m.try_run(&format!("useradd bob 2>/dev/null; runuser -u bob -- ls /run/user/$(id -u alice){path}"));
        assert!(!refused.success(), "{path}: {refused}");
    }
    let sockets = m.run("find /run/user/*/conductor -type s -perm /007 || true");
    assert_eq!(sockets, "");
    // Root's commands take nothing from her directories.
    let listed = m.run("conductor service list; conductor status; conductor deployment list");
    assert!(!listed.contains("alice") && !listed.contains("robber"), "{listed}");
    assert!(user::try_as_alice(m, "conductor --user service rm shop").success());
    assert!(shop::get(m).starts_with("1 "));
    m.run("conductor daemon-reload");
    assert_eq!(m.run("pgrep --exact app | wc -l").trim(), "1");
}
