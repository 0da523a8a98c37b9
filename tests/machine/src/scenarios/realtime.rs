//! Websockets, server-sent events and gRPC by libraries of Debian's packages, as examples/ has them, through rolling updates:
//! clients connect again and lose nothing.

use std::time::Duration;

use conductor_machine::command::Background;
use conductor_machine::machine::Machine;

use super::manual::follow;
use crate::scenario::scenarios;

/// Clients go on as long as this file exists.
const RUNNING: &str = "/run/running";
const ROLLS: &str = "clients keep connections through three rolling updates";

scenarios!("realtime" with Servers:
    how_to(|m: &mut Machine| follow(m, include_str!("../../../../docs/how-to/realtime.md"))),
    websockets(|m| websockets(m, "[\"python3\", \"server.py\"]")): ROLLS
        => "each is closed with code 1012; every message that was answered has been received; no call fails",
    websockets_node(|m| websockets(m, "[\"node\", \"server.js\"]")): ROLLS => "each is closed with code 1012; every message that was answered has been received; no call fails",
    events: ROLLS => "each stream ends well, and goes on where it was",
    grpc: ROLLS => "no call fails",
);

/// Starts clients of an example, rolls it three times, and returns what the clients print.
fn rolled(m: &Machine, name: &str, client: impl Fn(u32) -> String) -> Vec<String> {
    m.run(&format!("conductor service declare /root/{name} VERSION=1"));
    m.write(RUNNING, "");
    m.run(&format!("conductor service set {name} deploy.drain_timeout=1h"));
    let clients: Vec<Background> =
        (0..4).map(|number| m.spawn(&format!("cd /root/{name}; python3 client.py {} 2>&1", client(number)))).collect();
    let open = format!("ss --unix --no-header state established | grep -c /run/conductor/sockets/{name}- || true");
    for version in 2..=4 {
        m.until("all are connected", Duration::from_secs(120), || number(m.run(&open).trim()) >= 4);
        m.run(&format!("conductor service declare /root/{name} VERSION={version}"));
    }
    m.run(&format!("rm {RUNNING}"));
    let told: Vec<_> = clients.into_iter().map(Background::finish).collect();
    m.note(told.join(", ").replace('\n', ""));
    assert_eq!(m.run("journalctl --output=cat | grep 'stopping although' || true"), "");
    told
}

fn number(text: &str) -> u32 {
    text.split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("{text:?} begins with no number"))
}

fn example(m: &Machine, name: &str) {
    m.run(&format!("cp -r /usr/share/doc/conductor/examples/{name} /root"));
}

fn websockets(m: &mut Machine, command: &str) {
    example(m, "chat");
    m.run(&format!("sed -i 's/^command = .*/command = {command}/' /root/chat/service.toml"));
    let told = rolled(m, "chat", |number| format!("client{number} {RUNNING}"));
    for (client, told) in told.iter().enumerate() {
        let received = m.run(&format!("grep '^client{client} ' /var/lib/chat/messages | sort -u | wc -l"));
        assert!(number(received.trim()) >= number(told), "{told}: {received} received");
        assert!(number(told) > 0 && told.contains("closed: {1012:"), "{told}");
        assert_eq!(told.matches(", ").count(), 0, "no other code: {told}");
    }
}

fn events(m: &mut Machine) {
    example(m, "events");
    for told in rolled(m, "events", |_| RUNNING.to_owned()) {
        assert!(told.contains(" 0 missing; ") && told.contains(" 0 failed") && !told.contains(" 0 ended"), "{told}");
    }
}

fn grpc(m: &mut Machine) {
    example(m, "rpc");
    for told in rolled(m, "rpc", |_| RUNNING.to_owned()) {
        assert!(number(&told) > 0 && told.contains(" 0 failed"), "{told}");
    }
}
