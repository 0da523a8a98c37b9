//! Clients that are programs of the machine: each calls again and again, and every call is counted.

use std::fmt;

use conductor_machine::command::Background;
use conductor_machine::machine::Machine;

/// While this file is there they call: at most 60 s and a thousand times each.
const CALLING: &str = "/run/calling";
const CALLER: &str = r#"#!/bin/sh
# Usage: caller COMMAND ANSWER; prints how many calls went well, how many did not, and what the first of these said.
ok=0 failed=0 first=
while [ -e /run/calling ] && [ $((ok + failed)) -lt 1000 ]; do
    said=$(cd /root; timeout 20 sh -c "$1" 2>&1)
    case $said in
    *"$2"*) ok=$((ok + 1)) ;;
    *) failed=$((failed + 1)); first=${first:-"$said"} ;;
    esac
    sleep 0.01
done
printf '%s %s %s\n' "$ok" "$failed" "$(printf %s "$first" | tr '\n' ' ' | cut -c 1-300)"
"#;

pub(super) struct Callers(Vec<Background>);

/// What they saw.
#[derive(Default)]
pub(super) struct Calls {
    ok: u32,
    pub failed: u32,
    said: String,
}

impl Callers {
    /// Starts three.
    pub(super) fn start(m: &Machine, call: &str, answer: &str) -> Self {
        m.write_executable("/run/caller", CALLER);
        m.write("/run/call", call);
        m.write("/run/answer", answer);
        m.write(CALLING, "");
        let caller = r#"exec timeout 60 sh /run/caller "$(cat /run/call)" "$(cat /run/answer)""#;
        Self((0..3).map(|_| m.spawn(caller)).collect())
    }

    pub(super) fn stop(self, m: &Machine) -> Calls {
        m.run(&format!("rm {CALLING}"));
        self.0.into_iter().map(Background::finish).fold(Calls::default(), |seen, line| seen.with(&line))
    }
}

impl Calls {
    fn with(mut self, line: &str) -> Self {
        let [ok, failed, said]: [&str; 3] =
            line.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("a caller prints {line:?}"));
        self.ok += ok.parse::<u32>().expect("a number");
        self.failed += failed.parse::<u32>().expect("a number");
        self.said += said.trim_end();
        self
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, failed, said } = self;
        write!(f, "{} calls, {failed} failed", ok + failed)?;
        if *failed > 0 { write!(f, ": {said}") } else { Ok(()) }
    }
}
