//! A canary: a generation that has a share of a service's slots, beside the one that serves.

use serde::{Deserialize, Serialize};

use crate::model::{Service, Step};
use crate::names::GenerationId;

/// The share of a generation that is on its way, as a target has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Canary {
    pub(crate) generation: GenerationId,
    /// The slots that lead to it, the last ones of the service: the first slot moves last.
    pub(crate) slots: u32,
    /// The number of its deployments.
    pub(crate) concurrency: u32,
    /// When its next step is due, in seconds since 1970; None until somebody promotes it.
    pub(crate) due: Option<u64>,
    /// Whether its next step is the last, whatever steps are declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) skips_steps: bool,
    /// Why it was aborted: it has no slots then, and stays so until another generation is declared or somebody promotes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aborted: Option<String>,
}

impl Canary {
    /// Makes the canary of a generation that has no slots yet; its first step is due now.
    pub(crate) fn new(generation: GenerationId, now: u64) -> Self {
        Self { generation, slots: 0, concurrency: 0, due: Some(now), skips_steps: false, aborted: None }
    }

    /// Returns whether its next step is due at a time in seconds since 1970.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.aborted.is_none() && self.due.is_some_and(|due| due <= now)
    }

    /// Returns its next step among the declared ones, which may have changed meanwhile; None for the last, which gives it all
    /// slots.
    pub(crate) fn next<'a>(&self, steps: &'a [Step]) -> Option<&'a Step> {
        steps.iter().find(|step| step.slots > self.slots && !self.skips_steps)
    }

    /// Takes its slots and its deployments away.
    pub(crate) fn abort(&mut self, why: &str) {
        (self.slots, self.concurrency, self.due, self.skips_steps) = (0, 0, None, false);
        self.aborted = Some(why.to_owned());
    }

    /// Makes its next step due now; one that was aborted begins again.
    pub(crate) fn promote(&mut self, now: u64, skips_steps: bool) {
        (self.due, self.skips_steps, self.aborted) = (Some(now), skips_steps, None);
    }
}

/// Returns how many deployments so many slots need: their share of the service's, and at least one.
pub(crate) fn deployments(service: &Service, slots: u32) -> u32 {
    (service.concurrency * slots).div_ceil(service.slots.max(1)).min(service.concurrency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_changed_meanwhile_go_on_from_its_share() {
        let mut canary = Canary::new(GenerationId::new("00000000000b").expect("an id"), 1);
        let steps = |slots: &[u32]| slots.iter().map(|slots| Step { slots: *slots, pause: None }).collect::<Vec<_>>();
        let next = |canary: &Canary, declared: &[u32]| canary.next(&steps(declared)).map(|step| step.slots);
        assert_eq!(next(&canary, &[1, 6]), Some(1));
        canary.slots = 3;
        assert_eq!([next(&canary, &[1, 6]), next(&canary, &[2, 3]), next(&canary, &[4, 6])], [Some(6), None, Some(4)]);
        canary.promote(1, true);
        assert_eq!(next(&canary, &[4, 6]), None);
    }
}
