//! The share of a canary, and what is next for it, as commands tell it.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::layout::Layout;
use crate::live::{self, Target};
use crate::names::{GenerationId, ServiceName};

/// The share of a canary, and what is next, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Share {
    pub(crate) generation: GenerationId,
    pub(crate) slots: u32,
    /// The number of the service's slots.
    pub(crate) of: u32,
    /// Its slots after the next step; null if it was aborted.
    pub(crate) next: Option<u32>,
    /// When the next step is due, in seconds since 1970; null until somebody promotes it.
    pub(crate) due_at: Option<u64>,
    /// Why it was aborted; null if it was not.
    pub(crate) aborted: Option<String>,
}

impl Share {
    /// Returns the share of the canary that a target has.
    pub(crate) fn of(layout: &Layout, name: &ServiceName, target: &Target) -> Option<Self> {
        let canary = target.canary.as_ref()?;
        // Of one whose snapshot cannot be read, the last step is known.
        let steps = live::service(layout, name, &canary.generation).map(|service| service.deploy.steps);
        let next = canary.next(steps.as_deref().unwrap_or_default()).map_or(target.slots, |step| step.slots);
        Some(Self {
            generation: canary.generation.clone(),
            slots: canary.slots,
            of: target.slots,
            next: canary.aborted.is_none().then_some(next),
            due_at: canary.due,
            aborted: canary.aborted.clone(),
        })
    }

    /// Returns the share of the canary of a service that has one now.
    ///
    /// # Errors
    /// A target that cannot be read.
    pub(crate) fn read(layout: &Layout, name: &ServiceName) -> io::Result<Option<Self>> {
        Ok(Target::read(layout, name)?.and_then(|target| Self::of(layout, name, &target)))
    }
}

/// Writes `1 of 12 slots, next step in 4min 12s (6 of 12)`.
impl Display for Share {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { slots, of, next, due_at, aborted, generation: _ } = self;
        if let Some(why) = aborted {
            return write!(out, "aborted: {why}");
        }
        write!(out, "{slots} of {of} slots, next step ")?;
        match due_at.map(|due| due.saturating_sub(now())) {
            None => write!(out, "by hand")?,
            Some(0) => write!(out, "now")?,
            Some(left) => write!(out, "in {}", in_words(Duration::from_secs(left)))?,
        }
        match next {
            Some(next) if next < of => write!(out, " ({next} of {of})"),
            _ => write!(out, " (all)"),
        }
    }
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Writes a time span in its two largest units, as systemd does: `4min 12s`.
pub(crate) fn in_words(span: Duration) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut left = span.as_secs();
    let mut words = Vec::new();
    for (length, unit) in units {
        if left >= length && words.len() < 2 {
            words.push(format!("{}{unit}", left / length));
        }
        left %= length;
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_words() {
        let share = |slots, next, due_at| Share {
            generation: GenerationId::new("00000000000b").expect("an id"),
            slots,
            of: 12,
            next,
            due_at,
            aborted: None,
        };
        let told = |slots, next, due_at| share(slots, next, due_at).to_string();
        assert_eq!(told(1, Some(6), None), "1 of 12 slots, next step by hand (6 of 12)");
        assert_eq!(told(6, Some(12), Some(0)), "6 of 12 slots, next step now (all)");
        let spans = [0, 59, 252, 3_600, 90_061].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0s", "59s", "4min 12s", "1h", "1d 1h"]);
    }
}
