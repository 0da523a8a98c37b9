//! The states and logs of functions.

use std::time::Duration;

use conductor_machine::machine::Machine;

use crate::scenario::scenarios;
use crate::scenarios::function::{ACT, EXEC, declare, get, ready};

scenarios!("functions":
    states_and_logs,
);

fn states_and_logs(m: &mut Machine) {
    ready(m);
    let id = declare(m, "one", ACT, &format!("aliases = [\"/one\"]\nidle_timeout = \"1s\"\n{EXEC}"));
    let state = |id: &str| {
        let list = m.run("conductor cgi list --json");
        let after = list.split(&format!("\"id\": \"{id}\"")).nth(1).expect("the function").to_owned();
        after.split("\"state\": \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a state").to_owned()
    };
    assert_eq!(state(&id), "idle");
    let slow = m.spawn("curl --silent http://localhost/one/slow");
    m.until("it runs", Duration::from_secs(10), || state(&id) == "running");
    slow.wait();
    m.until("it is idle again", Duration::from_secs(20), || state(&id) == "idle");
    m.run(&format!("systemctl stop conductor-cgi-{id}.socket"));
    assert_eq!(state(&id), "stopped");
    m.run("conductor daemon-reload");
    assert_eq!(state(&id), "idle");

    // A gateway that serves before systemd knows it: such a unit is not up yet.
    let drop_in = format!("/run/systemd/system/conductor-cgi-{id}.service.d/wait.conf");
    m.write(&drop_in, "[Service]\nType=notify\nNotifyAccess=all\n");
    m.run("systemctl daemon-reload");
    let waits = m.spawn("curl --silent --max-time 60 http://localhost/one/x");
    m.until("it starts", Duration::from_secs(10), || state(&id) == "starting");
    assert_eq!(waits.finish(), "here /x\n");
    m.run(&format!("rm -r /run/systemd/system/conductor-cgi-{id}.service.d; systemctl daemon-reload; systemctl restart conductor-cgi-{id}.service"));

    let status = m.run("conductor status");
    assert!(status.contains("ID") && status.contains(&id[..12]) && status.contains("/one"), "{status}");
    assert!(m.run("conductor status --json").contains(&format!("\"id\": \"{id}\"")));

    assert_eq!(get(m, "/one/exits").0, 502);
    let short = &id[..6];
    for word in [id.as_str(), short, "/one"] {
        m.until("the log has it", Duration::from_secs(5), || {
            let log = m.run(&format!("journalctl --sync; conductor cgi logs {word} -- --output=cat"));
            log.contains("about to exit") && log.contains("502: ") && log.contains("Started ")
        });
    }
    assert_eq!(m.run(&format!("conductor cgi logs -n 1 {short} -- --output=cat")).lines().count(), 1);
    assert!(m.run("journalctl CONDUCTOR_FUNCTION_NAME=one --output=cat").contains("about to exit"));
    let unknown = m.try_run("conductor cgi logs abcdef12");
    assert!(!unknown.success() && unknown.stderr.contains("abcdef12"), "{unknown}");
    m.run("conductor cgi rm /one");
    // What is removed is still known to the journal.
    assert!(m.run(&format!("conductor cgi logs {short} -- --output=cat")).contains("about to exit"));
}
