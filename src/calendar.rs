//! Calendar expressions as systemd.time(7) writes them: `Mon..Fri *-*-* 03:00`, `daily`, `*:0/15 UTC`.
//!
//! What is refused here is refused by systemd. Names of time zones are those of the host, which only systemd knows.

/// Expressions of one word, systemd.time(7).
const WORDS: &[&str] = &[
    "minutely",
    "hourly",
    "daily",
    "monthly",
    "annually",
    "yearly",
    "anually",
    "weekly",
    "quarterly",
    "biannually",
    "bi-annually",
    "semiannually",
    "semi-annually",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// The number of words of cron's expressions, crontab(5).
const CRON: usize = 5;
/// Microseconds in a second, in which systemd counts seconds.
const SECOND: u64 = 1_000_000;
/// The most that a number may be, so that sums do not overflow.
const MOST: u64 = 1 << 40;

/// One part of a date or a time: its name, and the least and the most that systemd takes.
#[derive(Clone, Copy)]
struct Field(&'static str, u64, u64);

const YEAR: Field = Field("year", 1970, 2199);
const MONTH: Field = Field("month", 1, 12);
const DAY: Field = Field("day", 1, 31);
const LAST_DAY: Field = Field("day before the month's end", 1, 28);
const HOUR: Field = Field("hour", 0, 23);
const MINUTE: Field = Field("minute", 0, 59);
const SECONDS: Field = Field("second", 0, 60 * SECOND - 1);

/// Checks a calendar expression.
///
/// # Errors
/// Why systemd would refuse it, in words that follow the expression: `has no time`.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let text = without_zone(text.trim_ascii());
    if text.is_empty() {
        return Err("says no time".to_owned());
    }
    if WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    if text.split(' ').count() == CRON && !text.contains(':') {
        return Err("is written as cron has it".to_owned());
    }
    let rest = weekdays(text)?;
    if let Some(seconds) = rest.strip_prefix('@') {
        return number(seconds).filter(|(_, rest)| rest.is_empty()).map(drop).ok_or_else(|| unreadable(rest));
    }
    let (date, time) = rest.split_once(' ').map_or((rest, ""), |(date, time)| (date, time.trim_start_matches(' ')));
    match (date, time) {
        ("", "") => Ok(()),
        (only, "") if only.contains(':') => self::time(only),
        (only, "") => self::date(only),
        (date, time) => self::date(date).and_then(|()| self::time(time)),
    }
}

/// Removes the time zone at the end: a word with a letter that is no weekday.
fn without_zone(text: &str) -> &str {
    let Some((before, last)) = text.rsplit_once(' ') else { return text };
    let is_name = last.starts_with(|c: char| c.is_ascii_alphabetic())
        && last.chars().all(|c| c.is_ascii_alphanumeric() || "_+-/".contains(c));
    if is_name && weekday(last).is_none() { before.trim_end_matches(' ') } else { text }
}

/// Finds the weekday that a text begins with, by its number from Monday, and what follows.
fn weekday(text: &str) -> Option<(usize, &str)> {
    let starts = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let (day, length) = WEEKDAYS.iter().enumerate().find_map(|(day, name)| {
        [*name, &name[..3]].into_iter().find(|name| starts(name)).map(|name| (day, name.len()))
    })?;
    let rest = &text[length..];
    rest.starts_with(['-', '.', ',', ' ']).then_some((day, rest)).or(rest.is_empty().then_some((day, rest)))
}

/// Checks the weekdays at the start, if there are any, and returns what follows them.
fn weekdays(text: &str) -> Result<&str, String> {
    let (mut rest, mut range, mut is_first) = (text, None, true);
    loop {
        let Some((day, after)) = weekday(rest) else {
            return if is_first { Ok(rest) } else { Err(unreadable(rest)) };
        };
        is_first = false;
        if range.take().is_some_and(|from| from > day) {
            return Err(format!("has a range of weekdays that ends before it begins: {text:?}"));
        }
        let next = after.strip_prefix("..").or_else(|| after.strip_prefix('-'));
        range = next.map(|_| day);
        rest = match next.or_else(|| after.strip_prefix(',')) {
            Some(next) => next,
            None if after.is_empty() || after.starts_with(' ') => return Ok(after.trim_start_matches(' ')),
            None => return Err(unreadable(after)),
        };
        if range.is_none() && (rest.is_empty() || rest.starts_with(' ')) {
            return Ok(rest.trim_start_matches(' '));
        }
    }
}

/// Checks `YEAR-MONTH-DAY` or `MONTH-DAY`; with `~` in place of the last `-`, the day counts from the month's end.
fn date(text: &str) -> Result<(), String> {
    let (before, day, field) = match (text.rsplit_once('~'), text.rsplit_once('-')) {
        (Some((before, day)), _) => (before, day, LAST_DAY),
        (None, Some((before, day))) => (before, day, DAY),
        (None, None) => return Err(unreadable(text)),
    };
    chain(day, field)?;
    match before.split_once('-') {
        Some((year, month)) => chain(year, YEAR).and_then(|()| chain(month, MONTH)),
        None => chain(before, MONTH),
    }
}

/// Checks `HOUR:MINUTE` or `HOUR:MINUTE:SECOND`.
fn time(text: &str) -> Result<(), String> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [hour, minute] => chain(hour, HOUR).and_then(|()| chain(minute, MINUTE)),
        [hour, minute, second] => {
            chain(hour, HOUR).and_then(|()| chain(minute, MINUTE)).and_then(|()| chain(second, SECONDS))
        }
        _ => Err(unreadable(text)),
    }
}

/// Checks the values of one part: `*`, or numbers, ranges `1..5` and repetitions `0/15`, separated by commas.
fn chain(text: &str, field: Field) -> Result<(), String> {
    if text == "*" {
        return Ok(());
    }
    if text.starts_with('*') {
        let Field(name, least, _) = field;
        return Err(format!("has no such {name}: {text:?}; write {least} in place of *"));
    }
    text.split(',').try_for_each(|item| component(item, field))
}

/// Checks `START`, `START..STOP`, `START/REPEAT` or `START..STOP/REPEAT`.
fn component(text: &str, field: Field) -> Result<(), String> {
    let Field(name, least, most) = field;
    let wrong = || format!("has no such {name}: {text:?}");
    let is_seconds = most >= SECOND;
    let read = |text| (if is_seconds { seconds(text) } else { number(text) }).ok_or_else(wrong);
    let (mut start, mut rest) = read(text)?;
    if name == YEAR.0 && start < 100 {
        start += if start < 70 { 2000 } else { 1900 };
    }
    let (mut stop, mut repeat) = (None, 0);
    if let Some(after) = rest.strip_prefix("..") {
        let (number, after) = read(after)?;
        (stop, rest, repeat) = (Some(number), after, if is_seconds { SECOND } else { 1 });
    }
    if let Some(after) = rest.strip_prefix('/') {
        (repeat, rest) = read(after)?;
        if repeat == 0 {
            return Err(wrong());
        }
    }
    let fits = (least..=most).contains(&start) && repeat <= most - least;
    let ends = match stop {
        Some(stop) => (least..=most).contains(&stop) && (start == stop || start + repeat <= stop),
        None if name == LAST_DAY.0 => repeat == 0 || start >= least + repeat,
        None => start + repeat <= most,
    };
    if rest.is_empty() && fits && ends { Ok(()) } else { Err(wrong()) }
}

/// Reads a whole number, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    (number < MOST).then_some((number, &text[end..]))
}

/// Reads seconds with up to six decimals as microseconds, and what follows.
fn seconds(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = number(text)?;
    let whole = whole.checked_mul(SECOND).filter(|whole| *whole < MOST)?;
    let Some(decimals) = rest.strip_prefix('.').filter(|rest| !rest.starts_with('.')) else {
        return Some((whole, rest));
    };
    let end = decimals.find(|c: char| !c.is_ascii_digit()).unwrap_or(decimals.len());
    let micros: u64 = format!("{:0<6}", decimals.get(..end.min(6))?).parse().ok()?;
    (end > 0).then(|| (whole + micros, &decimals[end..]))
}

fn unreadable(rest: &str) -> String {
    format!("is not a calendar expression from {rest:?} on")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of systemd.time(7) and of systemd's own test-calendarspec.c.
    const TAKEN: &[&str] = &[
        "Sat,Thu,Mon..Wed,Sat..Sun",
        "Mon,Sun 12-*-* 2,1:23",
        "Wed *-1",
        "Wed..Wed,Wed *-1",
        "Wed, 17:48",
        "Wed..Sat,Tue 12-10-15 1:2:3",
        "*-*-7 0:0:0",
        "10-15",
        "monday *-12-* 17:00",
        "Mon,Fri *-*-3,1,2 *:30:45",
        "12,14,13,12:20,10,30",
        "12..14:10,20,30",
        "mon,fri *-1/2-1,3 *:30:45",
        "03-05 08:05:40",
        "08:05:40",
        "05:40",
        "Sat,Sun 12-05 08:05:40",
        "Sat,Sun 08:05:40",
        "2003-03-05 05:40",
        "05:40:23.4200004/3.1700005",
        "2003-02..04-05",
        "2003-03-05 05:40 UTC",
        "2003-03-05",
        "03-05",
        "hourly",
        "daily",
        "daily UTC",
        "weekly Pacific/Auckland",
        "semi-annually",
        "*:2/3",
        "2015-10-25 01:00:00 uTc",
        "Mon *-*-* 00:00:00 America/New_York",
        "*-*~1 0:0",
        "*-02~03",
        "*-05~07/1",
        "@1395716396",
        "*:*:0/5",
        "Mon..Fri *-*-* 03:00",
        "*-* *:*:*",
        "1-2",
    ];

    const REFUSED: &[&str] = &[
        "",
        "UTC:",
        "test",
        "7",
        "12",
        " utc",
        "25:00",
        "*:60",
        "*/5:00",
        "*:*/5",
        "*:*:*/5",
        "00:00:00/0.00000001",
        "00:00:00/60",
        "00:00:00:01",
        "21:00.5",
        "2003-13-01",
        "*-*-32",
        "*-*~29",
        "*-*~5/5",
        "Fri..Mon 10:00",
        "Mon..",
        "Mun 10:00",
        "Monday..Xday",
        "10:05..0",
        "9..8:00",
        "*-*-*-* 1:00",
        "* * * * *",
        "0 3 * * *",
        "every day",
        "Mon Tue",
        "-1:00",
        "\u{fc}",
        "1:2 \u{fc}",
        "99999999999999999999:00",
        "Mon \n10:00",
        "*-*-*\n10:00",
        "*-*-* \n10:00",
        "10:00\n UTC",
    ];

    #[test]
    fn expressions_are_taken_as_systemd_takes_them() {
        for text in TAKEN {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in REFUSED {
            assert!(check(text).is_err(), "{text:?}");
        }
    }

    #[test]
    #[ignore = "needs systemd-analyze(1)"]
    fn systemd_takes_and_refuses_the_same() {
        for (texts, is_taken) in [(TAKEN, true), (REFUSED, false)] {
            for text in texts {
                let analyze = std::process::Command::new("systemd-analyze").args(["calendar", "--", text]).output();
                assert_eq!(analyze.expect("systemd-analyze").status.success(), is_taken, "{text:?}");
            }
        }
    }
}
