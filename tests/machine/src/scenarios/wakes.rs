//! Callers at every moment of a deployment's way to rest and back.

use std::env;

use conductor_machine::machine::Machine;

use super::shop::{self, Engine, Listen, Shop};
use crate::scenario::scenarios;

scenarios!("wakes":
    of_activation(|m| all_are_answered(m, Engine::Exec(Listen::Activation)))
        : "callers come at every moment of a deployment's stop for idleness, on busy processors" => "each is answered",
    of_unix(|m| all_are_answered(m, Engine::Exec(Listen::Unix))),
    of_tcp(|m| all_are_answered(m, Engine::Exec(Listen::Tcp))),
    of_container(|m| all_are_answered(m, Engine::Container(Listen::Tcp))),
    of_pod(|m| all_are_answered(m, Engine::Pod(Listen::Tcp))),
);

const DEPLOYMENTS: u32 = 4;
/// Wakes of each engine; `CONDUCTOR_MACHINE_WAKES` has others.
const WAKES: u32 = 10;
/// Calls of each deployment between two looks at the journal.
const CALLS: u32 = 10;

/// Calls each socket after pauses around the time in which its deployment comes to rest. Prints the failures.
const CALLER: &str = r#"import random, socket, sys, threading, time
calls, least, most, paths = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]

def call(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(path)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := connection.recv(4096):
            answer += part
    if b" 200 " not in answer[:20]:
        raise OSError(f"answered {answer!r}")

def caller(path):
    for _ in range(calls):
        began = time.strftime("%T")
        try:
            call(path)
        except OSError as error:
            print(f"{began} to {time.strftime('%T')} {path}: {error}", flush=True)
        time.sleep(random.uniform(least, most))

threads = [threading.Thread(target=caller, args=(path,)) for path in paths]
for thread in threads: thread.start()
for thread in threads: thread.join()
"#;

fn all_are_answered(m: &mut Machine, engine: Engine) {
    let shop = Shop::new(DEPLOYMENTS).engine(engine);
    let idle = r#"idle_timeout = "200ms""#;
    let shop = match engine {
        Engine::Exec(Listen::Activation) => shop.extra(&format!("[listen]\n{idle}")),
        _ => shop,
    };
    shop.write(m);
    if engine != Engine::Exec(Listen::Activation) {
        m.run(&format!("sed -i '/^type = /a {idle}' {}/service.toml", shop::DIR));
    }
    m.run(&shop::command("1"));
    let generation = shop::generation(m);
    let sockets: String =
        (1..=DEPLOYMENTS).map(|instance| format!(" /run/conductor/sockets/shop-{generation}/{instance}")).collect();
    m.write("/root/call.py", CALLER);
    let wanted = env::var("CONDUCTOR_MACHINE_WAKES").ok().and_then(|text| text.parse().ok()).unwrap_or(WAKES);
    // A container's stop takes longer.
    let most = if matches!(engine, Engine::Exec(_)) { 0.6 } else { 1.5 };
    let (mut calls, mut woken) = (0, 0);
    while woken < wanted {
        let failures = m.run(&format!(
            "for processor in $(seq $(nproc)); do while :; do :; done & busy=\"$busy $!\"; done
            python3 /root/call.py {CALLS} 0.1 {most}{sockets}; kill $busy"
        ));
        let units = format!("shop-{generation}");
        let log = |rest: &str| m.run(&format!("journalctl --sync; journalctl --no-pager --unit='{units}*' {rest}"));
        assert!(failures.is_empty(), "{failures}\n{}", log("--output=short-precise | tail -n 200"));
        calls += CALLS * DEPLOYMENTS;
        woken = log(&format!("--output=cat --grep='^Started {units}@' | wc -l")).trim().parse().expect("a number");
    }
    m.note(format!("{calls} calls, {woken} starts, 0 failed"));
}
