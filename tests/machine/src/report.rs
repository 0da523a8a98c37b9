//! docs/reliability.md: each fault that is tried, and its result.

use std::collections::HashMap;
use std::fmt::Write;

use crate::scenario::Scenario;

const HEAD: &str = "# Reliability

What goes wrong on machines, what must hold all the same, and whether it did. Each line is a scenario of
[tests/machine](../tests/machine/src/scenarios) on a freshly booted systemd, mostly under load through Caddy, at which
every answer is checked. `make test` runs them all and writes this file; `tests/machine/run NAME` runs one.
";

/// Whether a scenario passed, by its name and the suite.
pub(crate) type Results = HashMap<(String, String), bool>;

/// Writes the file, for the suites that ran.
pub(crate) fn render(scenarios: &[&Scenario], results: &Results) -> String {
    let mut text = HEAD.to_owned();
    let mut group = "";
    let faults = scenarios.iter().filter_map(|scenario| Some((scenario, scenario.fault.as_ref()?)));
    for (scenario, fault) in faults {
        if scenario.group != group {
            group = scenario.group;
            let _ = write!(text, "\n## {group}\n\n| fault | what must hold | Debian 12 | Debian 13 | scenario |\n");
            text.push_str("| --- | --- | --- | --- | --- |\n");
        }
        let result = |suite: &str| match results.get(&(scenario.to_string(), suite.to_owned())) {
            Some(true) => "holds",
            Some(false) => "**fails**",
            None if !scenario.packages.are_in(suite) => "-",
            None => "not run",
        };
        let (what, holds) = (fault.what, fault.holds);
        let (bookworm, trixie) = (result("bookworm"), result("trixie"));
        let _ = writeln!(text, "| {what} | {holds} | {bookworm} | {trixie} | `{scenario}` |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reliability.md");

    #[test]
    fn the_committed_file_has_the_faults_that_are_tried() {
        let all: Vec<_> = scenarios::all().collect();
        let on = |suite: &'static str| {
            let those = all.iter().filter(move |one| one.packages.are_in(suite));
            those.map(move |one| ((one.to_string(), suite.to_owned()), true))
        };
        let expected = render(&all, &on("bookworm").chain(on("trixie")).collect());
        if std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always") {
            std::fs::write(COMMITTED, &expected).expect("docs/reliability.md"); // like any other snapshot
        }
        let committed = std::fs::read_to_string(COMMITTED).expect("docs/reliability.md");
        assert!(expected == committed, "`make test` writes docs/reliability.md: commit what it wrote");
        assert!(expected.matches("| holds | holds | `").count() >= 60);
    }

    #[test]
    fn what_failed_or_did_not_run_is_told() {
        let one: Vec<_> = scenarios::all().filter(|one| one.to_string() == "faults::never_healthy").collect();
        let results = [(("faults::never_healthy".to_owned(), "bookworm".to_owned()), false)];
        let text = render(&one, &results.into_iter().collect());
        assert!(text.contains("| **fails** | not run | `faults::never_healthy` |"), "{text}");
    }
}
