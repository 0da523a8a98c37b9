//! Processes that are told to close their connections when their deployment has left its slots: by a signal, or by a hook.

use conductor_machine::load::Load;
use conductor_machine::machine::Machine;

use super::long::{open_at, told};
use super::shop::{self, Engine, Listen, Shop};
use crate::scenario::scenarios;

const WHAT: &str = "connections are open that would not end, and the process closes them when it is told to";
const HOLDS: &str =
    "it is told once its deployment has left its slots; a rollout does not wait until drain_timeout; no request fails";

scenarios!("leaving":
    signal_activation(|m| rolls(m, Engine::Exec(Listen::Activation), 80, SIGNAL)): WHAT => HOLDS,
    signal_unix(|m| rolls(m, Engine::Exec(Listen::Unix), 80, SIGNAL)): WHAT => HOLDS,
    signal_tcp(|m| rolls(m, Engine::Exec(Listen::Tcp), 80, SIGNAL)): WHAT => HOLDS,
    signal_container(|m| rolls(m, Engine::Container(Listen::Tcp), 80, SIGNAL)): WHAT => HOLDS,
    signal_pod(|m| rolls(m, Engine::Pod(Listen::Tcp), 80, SIGNAL)): WHAT => HOLDS,
    signal_port(|m| rolls(m, Engine::Exec(Listen::Activation), 7000, SIGNAL)): WHAT => HOLDS,
    signal_port_tcp(|m| rolls(m, Engine::Exec(Listen::Tcp), 7000, SIGNAL)): WHAT => HOLDS,
    hook_activation(|m| rolls(m, Engine::Exec(Listen::Activation), 80, HOOK)): WHAT => HOLDS,
    hook_in_container(|m| rolls(m, Engine::Container(Listen::Tcp), 80, INSIDE)): WHAT => HOLDS,
    queue_is_accepted_first: "a process closes its listener when it is told to drain, while callers wait to be accepted"
        => "it is told after it has accepted them; no request fails",
    hook_hangs: "hooks.pre_drain hangs, and fails" => "it is ended in its time; requests in flight are answered",
);

const DEPLOY: &str = "[deploy]\ndrain_timeout = \"1h\"\n";
const SIGNAL: &str = "drain_signal = \"SIGUSR1\"\n";
const HOOK: &str = "[hooks]\npre_drain = [\"sh\", \"-c\", \"kill -USR1 $$MAINPID\"]\n";
const INSIDE: &str = "[hooks]\npre_drain = [\"sh\", \"-c\", \"kill -USR1 1\"]\ninside = [\"pre_drain\"]\n";

/// Who would be waited for until drain_timeout is over would exceed the limit of any command here.
fn rolls(m: &mut Machine, engine: Engine, port: u16, tell: &str) {
    let ports = if port == 80 { String::new() } else { format!("[[port]]\nlisten = \"127.0.0.1:{port}\"\n") };
    let concurrency = if port == 80 { 2 } else { 1 };
    let extra = format!("{DEPLOY}{tell}{ports}");
    let shop = Shop::new(concurrency).engine(engine).flags("--close-on-usr1").extra(&extra);
    shop.declare(m, "1");
    let clients: Vec<_> = (0..4).map(|number| open_at(m, port, &number.to_string(), 240)).collect();
    let load = m.load(Load { clients: 8, pause_ms: 5, ..shop::load() });
    shop.declare(m, "2");
    let seen = load.stop();
    assert_eq!(seen.failed, 0, "{seen}");
    m.note(&seen);
    for client in clients {
        let (version, _, how) = told(client);
        assert_eq!((version.as_str(), how.as_str()), ("1", "closed"));
    }
    if port == 80 {
        shop::assert_serves(m, "2", concurrency);
    }
    // A stop is the same.
    let client = open_at(m, port, "last", 240);
    m.run("systemctl stop shop");
    assert_eq!(told(client).2, "closed");
    let said = "could not send|stopping although|has not accepted|hook.*failed";
    assert_eq!(m.run(&format!("journalctl --sync; journalctl --output=cat | grep -E '{said}' || true")), "");
}

/// It accepts slowly, so that there is a queue.
fn queue_is_accepted_first(m: &mut Machine) {
    for listen in [Listen::Activation, Listen::Unix, Listen::Tcp] {
        let flags = "--accept-delay 2ms --close-on-usr1";
        let shop = Shop::new(1).engine(Engine::Exec(listen)).flags(flags).extra(&format!("{DEPLOY}{SIGNAL}"));
        shop.declare(m, "1");
        let load = m.load(Load { clients: 32, pause_ms: 1, ..shop::load() });
        for version in 2..=4 {
            shop.declare(m, &version.to_string());
        }
        let seen = load.stop();
        assert_eq!(seen.failed, 0, "{listen:?}: {seen}");
        m.note(format!("{listen:?}: {seen}"));
        m.run("conductor service rm shop");
    }
}

fn hook_hangs(m: &mut Machine) {
    for hook in ["{ command = [\"sleep\", \"3600\"], timeout = \"500ms\" }", "[\"false\"]"] {
        let shop = Shop::new(2).extra(&format!("{DEPLOY}[hooks]\npre_drain = {hook}\n"));
        shop.declare(m, "1");
        let load = m.load(Load { clients: 8, pause_ms: 5, ..shop::load() });
        shop.declare(m, "2");
        let seen = load.stop();
        assert_eq!(seen.failed, 0, "{seen}");
        shop::assert_serves(m, "2", 2);
        assert_eq!(m.run("pgrep --exact sleep || true"), "");
    }
}
