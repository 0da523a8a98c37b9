//! Words of the command line.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;

use crate::cli::failure::Failure;
use crate::expansion::is_name;
use crate::names::ServiceName;
use crate::timespan;

/// Parses `VAR=VAL` words.
///
/// # Errors
/// If a word is not one of these.
pub(crate) fn variables(words: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(Failure::Usage(format!("{word:?} is not VAR=VAL")));
        };
        if !is_name(name) {
            return Err(Failure::Usage(format!("{name:?} is not the name of a variable: use letters, digits and _")));
        }
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// Separates words that name something from `VAR=VAL` words. A directory with `=` in its name is written as a path,
/// `./A=B`.
pub(crate) fn split(words: &[String]) -> (Vec<String>, Vec<String>) {
    let is_assignment = |word: &String| word.split_once('=').is_some_and(|(name, _)| !name.contains('/'));
    words.iter().cloned().partition(|word| !is_assignment(word))
}

/// Parses a time span, systemd.time(7).
///
/// # Errors
/// If the text is none.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    timespan::parse(text).ok_or_else(|| "not a time span like 30s".to_owned())
}

/// Parses the name of a service.
///
/// # Errors
/// If no service can have this name.
pub(crate) fn service(name: &str) -> Result<ServiceName, Failure> {
    ServiceName::new(name).map_err(Failure::Usage)
}

/// Parses the names of services.
///
/// # Errors
/// If no service can have one of the names.
pub(crate) fn services(names: &[String]) -> Result<Vec<ServiceName>, Failure> {
    names.iter().map(|name| service(name)).collect()
}

/// Returns the name of the service that is declared from a directory: the directory's own, unless one is given. A link
/// to a directory, such as that of a release, has its own name.
///
/// # Errors
/// If no service can have this name, or the directory does not exist.
pub(crate) fn name_of(dir: &Utf8Path, given: Option<&str>) -> Result<ServiceName, Failure> {
    if let Some(name) = given {
        return service(name);
    }
    let full = dir.canonicalize_utf8().map_err(|error| Failure::Failed(format!("{dir}: {error}")))?;
    let name = dir.file_name().or(full.file_name()).unwrap_or("");
    ServiceName::new(name).map_err(|why| Failure::Usage(format!("{why}; give one with --name")))
}

/// Returns a size for people: `840 B`, `12 KiB`, `3.4 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Returns a time span in its largest unit: `1.4s`, `2h`.
pub(crate) fn duration(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{}ms", span.as_millis()),
        seconds @ 1..60 => format!("{seconds}.{}s", span.subsec_millis() / 100),
        seconds @ 60..3600 => format!("{}min", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Returns the time since a moment in seconds since 1970, `now` being another.
pub(crate) fn ago(now: u64, then: u64) -> String {
    match now.saturating_sub(then) {
        0 => "just now".to_owned(),
        seconds => format!("{} ago", duration(Duration::from_secs(seconds))),
    }
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns how many deployments of a service are ready, `2/3`; `-` for a service that has none.
pub(crate) fn ready(ready: usize, concurrency: u32) -> String {
    if ready == 0 && concurrency == 0 { "-".to_owned() } else { format!("{ready}/{concurrency}") }
}

/// Returns the state of a service for people: an active one of which not all deployments serve is degraded.
pub(crate) fn state(state: &str, ready: usize, concurrency: u32) -> &str {
    if state == "active" && ready < concurrency as usize { "degraded" } else { state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let spans = [5, 1_420, 61_000, 7_200_000, 200_000_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(spans, ["5ms", "1.4s", "1min", "2h", "2d"]);
        assert_eq!([ago(100, 100), ago(100, 90), ago(90, 100)], ["just now", "10.0s ago", "just now"]);
    }
}
