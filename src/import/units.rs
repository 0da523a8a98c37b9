//! Directives of unit files that are the same for services, containers and their timers.

use crate::diagnostic::{Position, Source};
use crate::directive::{self, Section};
use crate::import::declaration::{Service, Value};
use crate::import::note::Report;
use crate::resolve::directives::OWNED;
use crate::timespan;
use crate::unitfile::{self, Line};
use std::sync::Arc;

/// The lines of a unit file, each with its place.
pub(crate) struct Unit {
    source: Arc<Source>,
    pub(crate) lines: Vec<Line>,
    /// The unit's name without its suffix.
    pub(crate) stem: String,
}

impl Unit {
    pub(crate) fn new(source: Arc<Source>, stem: &str) -> Self {
        Self { lines: unitfile::lines(&source.text), source, stem: stem.to_owned() }
    }

    /// Where a line is.
    pub(crate) fn position(&self, line: &Line) -> Position {
        let text = &self.source.text;
        let start: usize = text.split_inclusive('\n').take(line.row.saturating_sub(1)).map(str::len).sum();
        let start = start.min(text.len());
        Position { source: self.source.clone(), span: start..start }
    }

    /// Notes a line whose specifier has another value for a user's manager.
    pub(crate) fn note_home(&self, line: &Line, report: &mut Report) {
        if line.value.replace("%%", "").contains("%h") {
            let text = "%h is /root, the home of the system's manager: write the path";
            report.approximated(&self.position(line), format!("{}.{}", line.section, line.key), text);
        }
    }

    /// The values of a key, after the last empty one, which resets a list.
    pub(crate) fn values(&self, section: &str, key: &str) -> Vec<&Line> {
        let mut found = Vec::new();
        for line in self.lines.iter().filter(|line| line.section == section && line.key == key) {
            if line.value.is_empty() { found.clear() } else { found.push(line) }
        }
        found
    }

    pub(crate) fn value(&self, section: &str, key: &str) -> Option<&str> {
        self.values(section, key).last().map(|line| line.value.as_str())
    }

    /// Replaces the specifiers of systemd.unit(5) whose value is known; `Err` has one that is not.
    pub(crate) fn expand(&self, value: &str) -> Result<String, String> {
        let (prefix, instance) = self.stem.split_once('@').unwrap_or((&self.stem, ""));
        let mut out = String::new();
        let mut chars = value.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('n' | 'N') => out.push_str(&self.stem),
                Some('p' | 'P' | 'j' | 'J') => out.push_str(prefix),
                Some('i' | 'I') if !instance.is_empty() => out.push_str(instance),
                // Those of the system's manager.
                Some('h') => out.push_str("/root"),
                Some('u') => out.push_str("root"),
                Some('U') => out.push('0'),
                Some('t') => out.push_str("/run"),
                Some('S') => out.push_str("/var/lib"),
                Some('C') => out.push_str("/var/cache"),
                Some('L') => out.push_str("/var/log"),
                Some('E') => out.push_str("/etc"),
                Some('T') => out.push_str("/tmp"),
                Some('V') => out.push_str("/var/tmp"),
                Some('d') => out.push_str("${CREDENTIALS_DIRECTORY}"),
                Some(other) if other.is_ascii_alphabetic() => {
                    return Err(format!("%{other} is known to systemd alone"));
                }
                Some(other) => out.extend(['%', other]),
                None => out.push('%'),
            }
        }
        Ok(out)
    }
}

/// Translates a directive that a declaration has elsewhere or passes through. `section` is the unit's.
pub(crate) fn directive(service: &mut Service, unit: &Unit, line: &Line, section: &str, report: &mut Report) {
    let position = unit.position(line);
    report.see(&position);
    let key = format!("{section}.{}", line.key);
    let Some(kind) = Section::ALL.into_iter().find(|known| known.name() == section) else {
        return report.omitted(&position, key, "conductor has no such section");
    };
    let name = line.key.as_str();
    match (section, name) {
        ("Unit", "Description") => match unit.expand(&line.value) {
            Ok(text) if !text.ends_with('\\') => service.set("", "description", text),
            // The instance of a template is in no declaration.
            Err(_) => {
                let text = line.value.split('%').next().unwrap_or_default().trim().trim_end_matches('\\');
                service.set("", "description", text);
                report.approximated(&position, key, "a template's instance is left out");
            }
            _ => report.omitted(&position, key, "write description = \"…\""),
        },
        ("Service", "TimeoutStartSec") => span(service, unit, line, "health_timeout", report),
        ("Service", "TimeoutStopSec") => span(service, unit, line, "drain_timeout", report),
        ("Service", "TimeoutSec") => {
            span(service, unit, line, "health_timeout", report);
            span(service, unit, line, "drain_timeout", report);
        }
        ("Service", "Restart") => {
            if !matches!(line.value.as_str(), "always" | "on-failure" | "on-abnormal" | "on-abort" | "on-watchdog") {
                report.approximated(&position, key, "systemd starts again what ends, with a growing delay");
            }
        }
        (
            "Service",
            "RestartSec"
            | "RestartSteps"
            | "RestartMaxDelaySec"
            | "SuccessExitStatus"
            | "RestartPreventExitStatus"
            | "RestartForceExitStatus",
        ) => {
            report.approximated(&position, key, "systemd starts again what ends, with a growing delay");
        }
        ("Service", "WatchdogSec") => watchdog(service, line, &position, report),
        ("Service", "Slice") => report.omitted(&position, key, "the service has a slice of its own: [resources]"),
        ("Unit", _) if directive::condition_key(name).is_some() => {
            let key = directive::condition_key(name).unwrap_or_default();
            match unit.expand(&line.value) {
                Ok(value) if !value.is_empty() => service.push("condition", &key, value),
                _ => report.omitted(&position, format!("Unit.{name}"), "conditions have no specifiers"),
            }
        }
        ("Unit", "OnFailure" | "StartLimitBurst") if unit.value("Unit", "StartLimitIntervalSec").is_none() => {
            let text = "it needs StartLimitIntervalSec in [systemd.unit]: without it systemd restarts without limit";
            report.omitted(&position, key, text);
        }
        // Every service gets these from systemd itself.
        ("Unit", "Documentation") => pass(service, kind, line, &position, &key, report),
        ("Service", _) if is_resource(name) => {
            service.set("resources", &directive::snake(name), line.value.as_str());
            check(kind, line, &position, &key, report, || ());
        }
        _ => pass(service, kind, line, &position, &key, report),
    }
}

/// Returns whether a directive limits what processes use, systemd.resource-control(5).
fn is_resource(name: &str) -> bool {
    let known = ["Memory", "CPU", "Tasks", "IO", "Startup", "Allowed"];
    known.iter().any(|prefix| name.starts_with(prefix))
        && !matches!(
            name,
            "CPUAffinity" | "IOSchedulingClass" | "IOSchedulingPriority" | "MemoryDenyWriteExecute" | "MemoryKSM"
        )
        && !name.starts_with("CPUScheduling")
        && directive::lookup(Section::Slice, name).is_some()
}

fn check(kind: Section, line: &Line, position: &Position, key: &str, report: &mut Report, good: impl FnOnce()) {
    match directive::lookup(kind, &line.key) {
        Some(known) => match directive::check(known.kind, &line.value) {
            Ok(()) => good(),
            Err(accepted) => report.omitted(position, key, format!("systemd takes {accepted}")),
        },
        None => report.omitted(position, key, format!("systemd has no {}= in this section", line.key)),
    }
}

/// Writes a directive into a section of `[systemd]`.
fn pass(service: &mut Service, kind: Section, line: &Line, position: &Position, key: &str, report: &mut Report) {
    if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == line.key) {
        return report.omitted(position, key, (*instead).to_owned());
    }
    if line.value.ends_with('\\') || line.value.chars().any(char::is_control) || line.value.is_empty() {
        return report.omitted(position, key, "an empty value, or one that is no line, is not passed on");
    }
    let path = format!("systemd.{}", kind.name().to_lowercase());
    check(kind, line, position, key, report, || match service.get(&path, &line.key).cloned() {
        None => service.set(&path, &line.key, line.value.as_str()),
        Some(Value::List(_)) => service.push(&path, &line.key, line.value.as_str()),
        Some(first) => {
            service.set(&path, &line.key, Value::List(vec![first]));
            service.push(&path, &line.key, line.value.as_str());
        }
    });
}

/// Reads a time span into a key of `[deploy]`.
fn span(service: &mut Service, unit: &Unit, line: &Line, key: &str, report: &mut Report) {
    match timespan::parse(&line.value) {
        Some(span) if !span.is_zero() && span.as_secs() <= 31_536_000 => {
            service.set("deploy", key, line.value.trim());
        }
        _ => {
            let text = format!("{key} in [deploy] is a time span above zero and at most a year");
            report.omitted(&unit.position(line), format!("Service.{}", line.key), text);
        }
    }
}

fn watchdog(service: &mut Service, line: &Line, position: &Position, report: &mut Report) {
    match timespan::parse(&line.value) {
        Some(span) if span.as_secs() >= 1 => {
            service.set("health.live", "notify", true);
            service.set("health.live", "interval", line.value.trim());
        }
        Some(span) if span.is_zero() => {}
        _ => report.omitted(position, "Service.WatchdogSec", "interval in [health.live] is at least 1s"),
    }
}
