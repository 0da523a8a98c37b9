//! Time spans as systemd.time(7) writes them.

use std::time::Duration;

/// Units and their length in microseconds.
const UNITS: &[(&[&str], u64)] = &[
    (&["us", "usec", "µs", "μs"], 1),
    (&["ms", "msec"], 1_000),
    (&["s", "sec", "second", "seconds", ""], 1_000_000),
    (&["m", "min", "minute", "minutes"], 60_000_000),
    (&["h", "hr", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "week", "weeks"], 604_800_000_000),
];

/// Reads `"1min 30s"`, `"1.5h"`, `"200ms"`; a number without unit counts seconds.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut micros: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let (_, length) = UNITS.iter().find(|(names, _)| names.contains(&&rest[..letters]))?;
        micros += number * (*length as f64);
        rest = rest[letters..].trim_start();
    }
    // 100 years: what is longer is a mistake, and must not overflow a timer.
    (micros < 100.0 * 365.25 * 86_400e6).then(|| Duration::from_micros(micros.round() as u64))
}

/// Writes a span so that systemd reads the same: whole seconds, else milli- or microseconds.
pub fn format(span: Duration) -> String {
    let micros = span.as_micros();
    if micros.is_multiple_of(1_000_000) {
        format!("{}s", micros / 1_000_000)
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_reads_them() {
        let millis = |text| parse(text).map(|span| span.as_millis());
        assert_eq!(millis("200ms"), Some(200));
        assert_eq!(millis("1min 30s"), Some(90_000));
        assert_eq!(millis("1.5h"), Some(5_400_000));
        assert_eq!(millis("10"), Some(10_000));
        assert_eq!(millis("2m10"), Some(130_000));
        for bad in ["", "soon", "-1s", "1 parsec", "10000d 999999d"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}
