//! Schedules of crontab(5) as calendar expressions of systemd.time(7).

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Writes a schedule as a calendar expression.
///
/// # Errors
/// Why there is none.
pub(crate) fn calendar(schedule: &str) -> Result<String, String> {
    let word = match schedule.trim() {
        "@hourly" => Some("hourly"),
        "@daily" | "@midnight" => Some("daily"),
        "@weekly" => Some("weekly"),
        "@monthly" => Some("monthly"),
        "@yearly" | "@annually" => Some("yearly"),
        _ => None,
    };
    if let Some(word) = word {
        return Ok(word.to_owned());
    }
    let fields: Vec<_> = schedule.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err(format!("{schedule:?} does not have the five fields of crontab(5)"));
    };
    if *day != "*" && *weekday != "*" {
        return Err("cron runs at the day or the weekday, systemd only where both hold".to_owned());
    }
    let month = numbered(month, &MONTHS, 1).and_then(|month| field(&month, 1));
    let weekday = if *weekday == "*" { Some(String::new()) } else { weekdays(weekday).map(|days| format!("{days} ")) };
    let (minute, hour, day) = (field(minute, 0), field(hour, 0), field(day, 1));
    let parts = minute.zip(hour).zip(day).zip(month).zip(weekday);
    let ((((minute, hour), day), month), weekday) = parts.ok_or_else(|| format!("{schedule:?} cannot be read"))?;
    let calendar = format!("{weekday}*-{month}-{day} {hour}:{minute}:00");
    crate::calendar::check(&calendar).map(|()| calendar.clone()).map_err(|why| format!("{calendar:?} {why}"))
}

/// Writes a field: lists, ranges and steps.
fn field(text: &str, first: u32) -> Option<String> {
    let part = |part: &str| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let number = |text: &str| text.parse::<u32>().ok().map(|number| format!("{number:02}"));
        let range = match (range, step, range.split_once('-')) {
            ("*", None, _) => "*".to_owned(),
            ("*", Some(_), _) => format!("{first:02}"),
            (_, _, Some((from, to))) => format!("{}..{}", number(from)?, number(to)?),
            _ => number(range)?,
        };
        match step {
            Some(step) => Some(format!("{range}/{}", step.parse::<u32>().ok().filter(|step| *step > 0)?)),
            None => Some(range),
        }
    };
    text.split(',').map(part).collect::<Option<Vec<_>>>().map(|parts| parts.join(","))
}

/// Replaces names by numbers.
fn numbered(text: &str, names: &[&str], first: usize) -> Option<String> {
    let mut lower = text.to_ascii_lowercase();
    for (index, name) in names.iter().enumerate() {
        lower = lower.replace(name, &(index + first).to_string());
    }
    lower.chars().all(|c| c.is_ascii_digit() || "*-,/".contains(c)).then_some(lower)
}

fn weekdays(text: &str) -> Option<String> {
    let lower: Vec<String> = WEEKDAYS.iter().map(|day| day.to_ascii_lowercase()).collect();
    let text = numbered(text, &lower.iter().map(String::as_str).collect::<Vec<_>>(), 0)?;
    let day = |number: &str| WEEKDAYS.get(number.parse::<usize>().ok()? % 7).copied();
    let part = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some(format!("{}..{}", day(from)?, day(to)?)),
        None => day(part).map(str::to_owned),
    };
    text.split(',').map(part).collect::<Option<Vec<_>>>().map(|parts| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_of_cron_become_calendar_expressions() {
        for (cron, expected) in [
            ("0 3 * * *", "*-*-* 03:00:00"),
            ("*/5 * * * *", "*-*-* *:00/5:00"),
            ("30 6 * * 1-5", "Mon..Fri *-*-* 06:30:00"),
            ("0 0 1 JAN,jul *", "*-01,07-01 00:00:00"),
            ("15,45 8-18/2 * * sun", "Sun *-*-* 08..18/2:15,45:00"),
            ("@daily", "daily"),
        ] {
            assert_eq!(calendar(cron), Ok(expected.to_owned()));
        }
        for wrong in ["* * *", "0 0 1 * 1", "a * * * *", "*/0 * * * *", "99 * * * *"] {
            assert!(calendar(wrong).is_err(), "{wrong}");
        }
    }
}
