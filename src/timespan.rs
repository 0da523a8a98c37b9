//! Time spans as systemd.time(7) writes them.

use std::time::Duration;

/// In nanoseconds.
pub(crate) const MICROSECOND: u64 = 1_000;
/// In nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000 * MICROSECOND;
/// Longer spans are mistakes, and must not overflow a timer.
const LONGEST: Duration = Duration::from_secs(100 * 31_557_600);

/// Reads `"1min 30s"`, `"1.5h"`, `"200ms"`, to the microsecond; a number without unit counts seconds. None for what is
/// not a time span, and from 100 years on.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let micros = nanoseconds(text, SECOND)? / u128::from(MICROSECOND);
    let span = Duration::from_micros(u64::try_from(micros).ok()?);
    (span < LONGEST).then_some(span)
}

/// Splits a text where its first run of decimal digits ends.
pub(crate) fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Multiplies a decimal number, `fraction` being the digits behind its point, by `factor`; what is finer than 18 digits is dropped.
pub(crate) fn scale(whole: u64, fraction: &str, factor: u64) -> u128 {
    let fraction = &fraction[..fraction.len().min(18)];
    let part = fraction.parse::<u128>().unwrap_or(0) * u128::from(factor) / 10u128.pow(fraction.len() as u32);
    u128::from(whole) * u128::from(factor) + part
}

/// Finds the nanoseconds of a unit of time at the start of the text, the longest that fits, and what follows it.
fn time_unit(text: &str) -> Option<(u64, &str)> {
    const UNITS: &[(&[&str], u64)] = &[
        (&["seconds", "second", "sec", "s"], SECOND),
        (&["minutes", "minute", "min", "m"], 60 * SECOND),
        (&["hours", "hour", "hr", "h"], 3_600 * SECOND),
        (&["days", "day", "d"], 86_400 * SECOND),
        (&["weeks", "week", "w"], 604_800 * SECOND),
        (&["months", "month", "M"], 2_629_800 * SECOND),
        (&["years", "year", "y"], 31_557_600 * SECOND),
        (&["msec", "ms"], 1_000 * MICROSECOND),
        (&["usec", "us", "µs", "μs"], MICROSECOND),
        (&["nsec", "ns"], 1),
    ];
    UNITS
        .iter()
        .flat_map(|(names, length)| names.iter().map(move |name| (*length, *name)))
        .filter_map(|(length, name)| Some((name.len(), length, text.strip_prefix(name)?)))
        .max_by_key(|found| found.0)
        .map(|(_, length, rest)| (length, rest))
}

/// Reads the nanoseconds of a time span whose plain numbers count `default` nanoseconds; infinity is the highest number.
///
/// Only what counts in nanoseconds by default knows them as a unit, and is limited to 2^64 of them; others are limited
/// to 2^64 microseconds.
pub(crate) fn nanoseconds(text: &str, default: u64) -> Option<u128> {
    if text.trim_ascii() == "infinity" {
        return Some(u128::MAX);
    }
    let finest = if default == 1 { 1 } else { MICROSECOND };
    let mut rest = text.trim_ascii_start();
    let mut total = 0;
    while !rest.is_empty() {
        let (length, after) = item(rest, default, finest)?;
        total += length;
        if total >= u128::from(u64::MAX) * u128::from(finest) {
            return None;
        }
        rest = after.trim_ascii_start();
    }
    (!text.trim_ascii().is_empty()).then_some(total)
}

/// Reads the nanoseconds of one number with its unit, and what follows.
fn item(text: &str, default: u64, finest: u64) -> Option<(u128, &str)> {
    let (whole, rest) = split_digits(text.strip_prefix('+').unwrap_or(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(after) => {
            Some(split_digits(after)).filter(|(digits, rest)| !digits.is_empty() && !rest.starts_with('.'))?
        }
        None if whole.is_empty() => return None,
        None => ("", rest),
    };
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()?.unsigned_abs() };
    let (unit, rest) = time_unit(rest.trim_ascii_start()).unwrap_or((default, rest));
    let fits = unit >= finest && whole < u64::MAX / (unit / finest);
    fits.then(|| (scale(whole, fraction, unit), rest))
}

/// Writes a span so that systemd reads the same: whole seconds, else milli- or microseconds.
pub(crate) fn format(span: Duration) -> String {
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
        assert_eq!(millis("1 month"), Some(2_629_800_000));
        assert_eq!(parse("1.5us 20us"), Some(Duration::from_micros(21)));
        for bad in ["", " ", "infinity", "1.s", "1..5s", "5ns", "soon", "-1s", "1 parsec", "10000d 999999d"] {
            assert_eq!(millis(bad), None, "{bad}");
        }
    }
}
