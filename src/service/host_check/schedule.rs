//! Schedules of jobs: time zones are the host's.

use std::process::Command;

use crate::path;
use crate::service::host_check::HostCheck;

impl HostCheck<'_> {
    /// Has systemd read each calendar expression, systemd-analyze(1). Where that cannot be run, nothing is known.
    pub(super) fn schedules(&mut self) {
        let service = self.service;
        for (name, _, job) in service.jobs() {
            let refused =
                job.schedule.iter().enumerate().filter_map(|(index, text)| Some((index, text, refusal(text)?)));
            for (index, text, why) in refused.collect::<Vec<_>>() {
                let at = path!["commands", name, "schedule"];
                let at = if self.document.find(&at).items().is_empty() { at } else { at.join(index) };
                let remedy =
                    "`systemd-analyze calendar` tries expressions, and `timedatectl list-timezones` lists time zones";
                self.error(&at, format!("systemd refuses {text:?}: {why}"), remedy);
            }
        }
    }
}

/// Returns why systemd refuses an expression, None if it does not.
fn refusal(text: &str) -> Option<String> {
    let output = Command::new("systemd-analyze").args(["calendar", "--", text]).output().ok()?;
    let words = String::from_utf8_lossy(&output.stderr);
    let why = words.lines().next().unwrap_or_default().rsplit(": ").next().unwrap_or_default();
    (!output.status.success()).then(|| why.to_owned())
}
