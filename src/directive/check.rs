//! Checking values as systemd does, by the type of the directive.

use crate::directive::kind::{Kind, Unit};
use crate::timespan::{self, MICROSECOND, SECOND, scale, split_digits};

/// Checks whether systemd takes the value. The empty string resets a directive, and only systemd knows what a specifier
/// (`%n`) becomes: both pass.
///
/// # Errors
/// The accepted values: `a boolean: yes, no, true, false, on, off, 1 or 0`.
pub(crate) fn check(kind: Kind, value: &str) -> Result<(), String> {
    let value = value.trim_ascii();
    let accepted = value.is_empty() || has_specifier(value) || accepts(kind, value);
    if accepted { Ok(()) } else { Err(describe(kind)) }
}

fn has_specifier(value: &str) -> bool {
    value.split('%').skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_alphabetic()))
}

fn accepts(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Boolean => is_boolean(value),
        Kind::BooleanOr(words) => is_boolean(value) || words.contains(&value),
        Kind::Enum(words) => words.iter().any(|word| is_word(word, value)),
        Kind::Number(low, high, words) => {
            words.contains(&value) || integer(value).is_some_and(|n| (i128::from(low)..=i128::from(high)).contains(&n))
        }
        Kind::Seconds => timespan::nanoseconds(value, SECOND).is_some(),
        Kind::Nanoseconds => timespan::nanoseconds(value, 1).is_some(),
        Kind::Mode => is_mode(value),
        Kind::Limit(unit) => is_limit(unit, value),
        Kind::Size => size(value).is_some(),
        Kind::Bytes(least) => is_memory(value, least),
        Kind::Tasks => is_tasks(value),
        Kind::Quota => permyriad(value).is_some_and(|part| (1..=i32::MAX as u64).contains(&part)),
        Kind::Percent => is_percent(value),
        Kind::Signal => is_signal(value),
        Kind::Path => is_path(value),
    }
}

fn describe(kind: Kind) -> String {
    const BOOLEAN: &str = "a boolean: yes, no, true, false, on, off, 1 or 0";
    match kind {
        Kind::Any => "any value".into(),
        Kind::Boolean => BOOLEAN.into(),
        Kind::BooleanOr(words) => format!("{BOOLEAN}; or {}", list(words)),
        Kind::Enum([word]) => list(&[word]),
        Kind::Enum(words) => format!("one of: {}", list(words)),
        Kind::Number(low, high, []) => format!("a whole number from {low} to {high}"),
        Kind::Number(low, high, words) => format!("{}, or a whole number from {low} to {high}", list(words)),
        Kind::Seconds => "a time span such as 5, 1.5h or \"5min 20s\" (seconds without a unit), or infinity".into(),
        Kind::Nanoseconds => "a time span such as 500 or 50us (nanoseconds without a unit), or infinity".into(),
        Kind::Mode => "an access mode in octal, such as 0755".into(),
        Kind::Limit(unit) => describe_limit(unit).into(),
        Kind::Size => "bytes such as 4096, 64K or 1.5M (K, M, G, T, P, E)".into(),
        Kind::Bytes(0) => "bytes such as 512M or 1.5G (K, M, G, T, P, E), a percentage up to 100%, or infinity".into(),
        Kind::Bytes(_) => {
            "bytes such as 512M or 1.5G (K, M, G, T, P, E), a percentage up to 100%, or infinity; more than 0".into()
        }
        Kind::Tasks => "a whole number from 1, a percentage up to 100%, or infinity".into(),
        Kind::Quota => "a percentage of one CPU, such as 50% or 200%; more than 0%".into(),
        Kind::Percent => "a percentage from 0% to 100%".into(),
        Kind::Signal => "a signal such as SIGTERM, TERM, 15 or RTMIN+3 (in capitals)".into(),
        Kind::Path => "an absolute path without ..".into(),
    }
}

fn describe_limit(unit: Unit) -> &'static str {
    match unit {
        Unit::Number => "a whole number, two as in 1024:4096 (soft:hard, soft not above hard), or infinity",
        Unit::Bytes => "bytes such as 64K or 1.5G, two as in 1G:2G (soft:hard, soft not above hard), or infinity",
        Unit::Seconds => "a time span such as 5min, two as in 1h:2h (soft:hard, soft not above hard), or infinity",
        Unit::Microseconds => "a time span such as 500ms (microseconds without a unit), two as soft:hard, or infinity",
        Unit::Nice => "a nice level with its sign (-20 to +19), or a number from 0 to 40; or two as soft:hard",
    }
}

/// "a, b or c", with prefixes as `file:/…`.
fn list(words: &[&str]) -> String {
    let shown: Vec<String> = words
        .iter()
        .map(|word| if word.ends_with([':', '/']) { format!("{word}…") } else { word.to_string() })
        .collect();
    match shown.as_slice() {
        [init @ .., last] if !init.is_empty() => format!("{} or {last}", init.join(", ")),
        words => words.concat(),
    }
}

fn is_word(word: &str, value: &str) -> bool {
    if word.ends_with([':', '/']) { value.starts_with(word) } else { value == word }
}

fn is_boolean(value: &str) -> bool {
    const WORDS: &[&str] = &["1", "yes", "y", "true", "t", "on", "0", "no", "n", "false", "f", "off"];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// Parses an integer as strtol(3) with base 0, also with 0b and 0o.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = sign(text);
    match digits.get(..2) {
        // Behind these two systemd lets strtol(3) skip spaces and a sign once more.
        Some("0b" | "0B") => signed_again(&digits[2..], 2, negative),
        Some("0o" | "0O") => signed_again(&digits[2..], 8, negative),
        Some("0x" | "0X") => unsigned(&digits[2..], 16, negative),
        Some(_) if digits.starts_with('0') => unsigned(&digits[1..], 8, negative),
        _ => unsigned(digits, 10, negative),
    }
}

/// Returns whether the number is negative, and what follows its sign.
fn sign(text: &str) -> (bool, &str) {
    let text = text.trim_ascii_start();
    (text.starts_with('-'), text.strip_prefix(['+', '-']).unwrap_or(text))
}

fn signed_again(text: &str, base: u32, negative: bool) -> Option<i128> {
    let (inner, digits) = sign(text);
    unsigned(digits, base, negative || inner)
}

fn unsigned(digits: &str, base: u32, negative: bool) -> Option<i128> {
    let plain = digits.starts_with(|c: char| c.is_digit(base)); // Rust would take a sign here
    let number = plain.then(|| i128::from_str_radix(digits, base).ok())??;
    Some(if negative { -number } else { number })
}

/// Bytes; the units of several numbers must get smaller: `1G 500M`.
fn size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u32); 8] =
        [("E", 60), ("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10), ("B", 0), ("", 0)];
    let (mut rest, mut next, mut total) = (text.trim_ascii_start(), 0, 0u128);
    loop {
        let (whole, after) = split_digits(rest.strip_prefix('+').unwrap_or(rest));
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
        let after = after.trim_ascii_start();
        let index = (next..UNITS.len()).find(|&index| after.starts_with(UNITS[index].0))?;
        let whole: u64 = whole.parse().ok()?;
        let started = u64::from(fraction.contains(|c| c != '0')); // counts as a whole one for the limit
        if u128::from(whole) + u128::from(started) > u128::from(u64::MAX >> UNITS[index].1) {
            return None;
        }
        total += scale(whole, fraction, 1 << UNITS[index].1);
        rest = after[UNITS[index].0.len()..].trim_ascii_start();
        next = index + 1;
        if rest.is_empty() {
            return u64::try_from(total).ok();
        }
    }
}

/// Ten-thousandths, from a number with %, ‰ or ‱.
fn permyriad(text: &str) -> Option<u64> {
    let (number, decimals) = [("%", 2), ("‰", 1), ("‱", 0)]
        .into_iter()
        .find_map(|(sign, decimals)| Some((text.strip_suffix(sign)?, decimals)))?;
    let (whole, fraction) = match number.split_once('.') {
        Some((_, fraction)) if !(1..=decimals).contains(&fraction.len()) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    let whole = u64::try_from(integer(whole)?).ok().filter(|&whole| whole <= u64::from(u32::MAX))?;
    let fraction: u64 = format!("{fraction:0<decimals$}0").parse().ok()?; // one digit more: never empty
    Some(whole * 10u64.pow(decimals as u32) + fraction / 10)
}

fn is_percent(value: &str) -> bool {
    permyriad(value).is_some_and(|part| part <= 10_000)
}

fn is_memory(value: &str, least: u64) -> bool {
    if value == "infinity" {
        return true;
    }
    match permyriad(value) {
        Some(part) => part <= 10_000 && part >= least,
        None => size(value).is_some_and(|bytes| bytes >= least && bytes < u64::MAX),
    }
}

fn is_tasks(value: &str) -> bool {
    let counts = || integer(value).is_some_and(|n| (1..i128::from(u64::MAX)).contains(&n));
    value == "infinity" || is_percent(value) || counts()
}

fn is_mode(value: &str) -> bool {
    let octal = value.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    octal && u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777)
}

fn is_limit(unit: Unit, value: &str) -> bool {
    match value.split_once(':') {
        None => limit(unit, value).is_some(),
        Some((soft, hard)) => limit(unit, soft).zip(limit(unit, hard)).is_some_and(|(soft, hard)| soft <= hard),
    }
}

/// One side of a limit, comparable to the other.
fn limit(unit: Unit, text: &str) -> Option<u128> {
    let finite = |n: &u128| *n < u128::from(u64::MAX);
    match unit {
        Unit::Nice => nice_limit(text),
        _ if text == "infinity" => Some(u128::MAX),
        Unit::Number => integer(text).and_then(|n| u128::try_from(n).ok()).filter(finite),
        Unit::Bytes => size(text).map(u128::from).filter(finite),
        Unit::Seconds => timespan::nanoseconds(text, SECOND).map(|span| span.div_ceil(SECOND.into())),
        Unit::Microseconds => timespan::nanoseconds(text, MICROSECOND),
    }
}

/// RLIMIT_NICE counts from 20 downwards.
fn nice_limit(text: &str) -> Option<u128> {
    let limit = match text.strip_prefix(['+', '-']) {
        None => integer(text)?,
        Some(level) => {
            let level = integer(level).filter(|level| *level >= 0)?;
            let level = if text.starts_with('-') { -level } else { level };
            20 - Some(level).filter(|level| *level < 20)? // there is no nice level of 20
        }
    };
    (0..=40).contains(&limit).then_some(limit as u128)
}

fn is_signal(value: &str) -> bool {
    const NAMES: &str = " HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP \
                         TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMAX ";
    if let Some(number) = integer(value) {
        return (1..=64).contains(&number);
    }
    let name = value.strip_prefix("SIG").unwrap_or(value);
    let offset = name.strip_prefix("RTMIN+").or_else(|| name.strip_prefix("RTMAX-"));
    match offset {
        Some(offset) => offset.starts_with(|c: char| c.is_ascii_digit()) && integer(offset).is_some_and(|n| n <= 30),
        None => NAMES.contains(&format!(" {name} ")),
    }
}

fn is_path(value: &str) -> bool {
    value.starts_with('/') && value.len() < 4096 && value.split('/').all(|part| part != "..")
}
