//! Calendar expressions of systemd.time(7) as schedules of CronJobs, crontab(5).

/// A schedule of a CronJob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    /// Minute, hour, day of the month, month and day of the week.
    pub(super) fields: String,
    /// A name of the time zone database; None: that of the cluster.
    pub(super) zone: Option<String>,
}

/// Expressions of one word, and what they stand for.
const WORDS: &[(&str, &str)] = &[
    ("minutely", "* * * * *"),
    ("hourly", "0 * * * *"),
    ("daily", "0 0 * * *"),
    ("monthly", "0 0 1 * *"),
    ("weekly", "0 0 * * 1"),
    ("yearly", "0 0 1 1 *"),
    ("annually", "0 0 1 1 *"),
    ("quarterly", "0 0 1 1,4,7,10 *"),
    ("semiannually", "0 0 1 1,7 *"),
    ("semi-annually", "0 0 1 1,7 *"),
    ("biannually", "0 0 1 1,7 *"),
    ("bi-annually", "0 0 1 1,7 *"),
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Returns the schedule that means the same as a calendar expression.
///
/// # Errors
/// What of the expression no CronJob can say, in words that follow it.
pub(super) fn of(text: &str) -> Result<Cron, String> {
    let (text, zone) = split_zone(text.trim());
    let zone = zone.map(str::to_owned);
    if let Some((_, fields)) = WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)) {
        return Ok(Cron { fields: (*fields).to_owned(), zone });
    }
    let mut rest = text;
    let mut weekdays = "*".to_owned();
    if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let (days, after) = rest.split_once(' ').unwrap_or((rest, ""));
        weekdays = self::weekdays(days)?;
        rest = after.trim();
    }
    let (date, time) = match rest.split_once(' ') {
        Some((date, time)) => (date, time.trim()),
        None if rest.contains(':') => ("*-*-*", rest),
        None if rest.is_empty() => ("*-*-*", "00:00"),
        None => (rest, "00:00"),
    };
    let (month, day) = self::date(date)?;
    let (hour, minute) = self::time(time)?;
    if day != "*" && weekdays != "*" {
        return Err("names days of the week and of the month, of which cron takes either and systemd both".to_owned());
    }
    Ok(Cron { fields: format!("{minute} {hour} {day} {month} {weekdays}"), zone })
}

/// Takes the time zone off the end.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    let Some((before, last)) = text.rsplit_once(' ') else { return (text, None) };
    let is_zone = last.starts_with(|c: char| c.is_ascii_alphabetic()) && weekdays(last).is_err();
    if is_zone { (before.trim_end(), Some(if last == "UTC" { "Etc/UTC" } else { last })) } else { (text, None) }
}

fn weekdays(text: &str) -> Result<String, String> {
    let number = |name: &str| {
        let name = name.to_ascii_lowercase();
        WEEKDAYS.iter().position(|day| name.starts_with(day)).ok_or_else(|| format!("has no weekday {name:?}"))
    };
    let item = |item: &str| match item.split_once("..").or_else(|| item.split_once('-')) {
        // Sunday is also 7, so that ranges may end with it.
        Some((from, to)) => Ok(match (number(from)?, number(to)?) {
            (from, 0) => format!("{from}-7"),
            (from, to) => format!("{from}-{to}"),
        }),
        None => number(item).map(|number| number.to_string()),
    };
    let items: Result<Vec<_>, String> = text.split(',').filter(|part| !part.is_empty()).map(item).collect();
    Ok(items?.join(","))
}

/// Returns month and day.
fn date(text: &str) -> Result<(String, String), String> {
    if text.contains('~') {
        return Err("counts days from the end of the month".to_owned());
    }
    let mut parts = text.rsplitn(3, '-');
    let (day, month) = (parts.next().unwrap_or("*"), parts.next().unwrap_or("*"));
    if parts.next().is_some_and(|year| year != "*") {
        return Err("names a year".to_owned());
    }
    Ok((field(month, 1, 12)?, field(day, 1, 31)?))
}

/// Returns hour and minute.
fn time(text: &str) -> Result<(String, String), String> {
    let parts: Vec<_> = text.split(':').collect();
    match parts[..] {
        [hour, minute] => Ok((field(hour, 0, 23)?, field(minute, 0, 59)?)),
        [hour, minute, second] if second.chars().all(|c| c == '0') => Ok((field(hour, 0, 23)?, field(minute, 0, 59)?)),
        _ => Err("counts seconds".to_owned()),
    }
}

/// Returns a field of cron: ranges are written `1-5`, and a repetition counts within a range.
fn field(text: &str, least: u32, most: u32) -> Result<String, String> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("has a value that is no number: {text:?}"));
    let item = |item: &str| {
        let (values, step) = item.split_once('/').map_or((item, None), |(values, step)| (values, Some(step)));
        let step = step.map(number).transpose()?;
        Ok(match (values, values.split_once(".."), step) {
            ("*", _, None) => "*".to_owned(),
            ("*", _, Some(step)) => format!("*/{step}"),
            (_, Some((from, to)), None) => format!("{}-{}", number(from)?, number(to)?),
            (_, Some((from, to)), Some(step)) => format!("{}-{}/{step}", number(from)?, number(to)?),
            (from, None, None) => number(from)?.to_string(),
            (from, None, Some(step)) if number(from)? == least => format!("*/{step}"),
            (from, None, Some(step)) => format!("{}-{most}/{step}", number(from)?),
        })
    };
    let items: Result<Vec<_>, String> = text.split(',').map(item).collect();
    Ok(items?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_become_schedules() {
        for (text, fields, zone) in [
            ("daily", "0 0 * * *", None),
            ("Weekly", "0 0 * * 1", None),
            ("quarterly UTC", "0 0 1 1,4,7,10 *", Some("Etc/UTC")),
            ("*-*-* 03:00", "0 3 * * *", None),
            ("*-*-* 03:00:00", "0 3 * * *", None),
            ("03:30", "30 3 * * *", None),
            ("*:0/15", "*/15 * * * *", None),
            ("*:5/20", "5-59/20 * * * *", None),
            ("8..18/2:00", "0 8-18/2 * * *", None),
            ("Mon..Fri *-*-* 03:00", "0 3 * * 1-5", None),
            ("Sat,Sun 12:00 Europe/Berlin", "0 12 * * 6,0", Some("Europe/Berlin")),
            ("Sat..Sun", "0 0 * * 6-7", None),
            ("*-1,7-1 00:00", "0 0 1 1,7 *", None),
            ("12-24 18:00", "0 18 24 12 *", None),
        ] {
            let cron = Cron { fields: fields.to_owned(), zone: zone.map(str::to_owned) };
            assert_eq!(of(text), Ok(cron), "{text}");
        }
    }

    #[test]
    fn what_cron_cannot_say_is_refused() {
        for text in ["*-*~1", "2027-*-1", "*:*:30", "*:*:0/10", "Mon *-*-1", "@0"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
