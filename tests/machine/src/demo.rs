//! `make demo`: an example on a throwaway machine, updated while it serves.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use conductor_machine::load::{Load, Seen};
use conductor_machine::machine::{Machine, Packages, Suite, isolate};

const UPDATES: u32 = 10;
const EXAMPLE: &str = "/usr/share/doc/conductor/examples/hello";

pub(crate) fn run() -> ExitCode {
    let suite = match isolate().and_then(|()| Suite::prepare(suite_of_this_host(), Packages::Base, false, false)) {
        Ok(suite) => suite,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let machine = Machine::boot(&suite);
    println!(
        "\nbooted a throwaway Debian machine ({})\n",
        machine.run("systemctl --version").lines().next().unwrap_or("")
    );
    println!("# conductor service declare examples/hello VERSION=1");
    print!("{}", machine.run(&format!("conductor service declare {EXAMPLE} VERSION=1")));
    println!("# curl http://hello.localhost/");
    print!("{}", machine.run("curl -s http://hello.localhost/"));

    println!("\n16 keep-alive clients, GET and POST in turn, through Caddy, while it rolls {UPDATES} updates:");
    let load = machine.load(Load { host: "hello.localhost".into(), ..Load::default() });
    let mut rollouts = Vec::new();
    for version in 2..=UPDATES + 1 {
        let began = Instant::now();
        machine.run(&format!("conductor service declare {EXAMPLE} VERSION={version}"));
        rollouts.push(began.elapsed());
        println!("  VERSION={version} serves after {:.2} s", began.elapsed().as_secs_f64());
    }
    let seen = load.stop();
    println!("\n# conductor service status hello");
    print!("{}", machine.run("conductor service status hello"));
    table(&seen, &mut rollouts);
    if seen.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn table(seen: &Seen, rollouts: &mut [Duration]) {
    rollouts.sort();
    let millis = |micros: u32| format!("{:.1} ms", f64::from(micros) / 1000.0);
    let rows = [
        ("requests", seen.ok.to_string()),
        ("failed", seen.failed.to_string()),
        ("requests/s", format!("{:.0}", seen.ok as f64 / seen.seconds)),
        ("p50", millis(seen.p50_us)),
        ("p99", millis(seen.p99_us)),
        ("rollout of 3 deployments, median", format!("{:.2} s", rollouts[rollouts.len() / 2].as_secs_f64())),
    ];
    println!("\n{}", "-".repeat(48));
    for (name, value) in rows {
        println!("{name:34} {value:>13}");
    }
    println!("{}", "-".repeat(48));
    for failure in &seen.failures {
        println!("{failure}");
    }
}

/// The programs are built against this host's C library, so the machine must not be older.
fn suite_of_this_host() -> &'static str {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if release.contains("VERSION_CODENAME=bookworm") { "bookworm" } else { "trixie" }
}
