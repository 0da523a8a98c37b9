//! `[deploy]` with `strategy = "canary"`: its steps, and what a canary can divide.

use crate::declaration::{self, Strategy};
use crate::model::{Service, Step};
use crate::path;
use crate::resolve::Resolver;

/// The word for a pause that has no end of its own.
const MANUAL: &str = "manual";

impl Resolver<'_> {
    /// Resolves `deploy.steps`, which are there with a canary and with nothing else.
    pub(super) fn steps(&mut self, strategy: Strategy, given: Vec<declaration::Step>, slots: u32) -> Vec<Step> {
        let at = path!["deploy", "steps"];
        let is_canary = strategy == Strategy::Canary;
        if is_canary && given.is_empty() {
            let remedy = "write steps = [{ slots = 1, pause = \"5min\" }] in [deploy]";
            self.error(&path!["deploy", "strategy"], "a canary needs `steps`", remedy);
        } else if !is_canary && !given.is_empty() {
            let remedy = "remove them, or write strategy = \"canary\"";
            self.key_error(&at, "`steps` are for strategy = \"canary\"", remedy);
        }
        let mut steps: Vec<Step> = Vec::new();
        for (index, declaration::Step { slots: share, pause }) in given.into_iter().enumerate() {
            let (here, least) = (at.join(index), steps.last().map_or(1, |before| before.slots + 1));
            let place = here.join("slots");
            if share == 0 {
                self.error(&place, "0 is too small", "write 1 or more");
            } else if share < least {
                self.error(
                    &place,
                    format!("not more than the {} of the step before", least - 1),
                    "raise it, or remove the step",
                );
            } else if share >= slots {
                let remedy =
                    format!("write less than the service's {slots} slots, all of which it has after the last step");
                self.error(&place, format!("{share} is too large"), remedy);
            }
            let place = here.join("pause");
            let pause = if pause.0 == MANUAL { None } else { Some(self.span(&place, Some(pause), Default::default())) };
            steps.push(Step { slots: share.max(least), pause });
        }
        steps
    }

    /// Refuses canaries where no slots divide the callers, and a hook of canaries that there are none of.
    pub(super) fn canary(&mut self, service: &Service) {
        let strategy = path!["deploy", "strategy"];
        if service.deploy.strategy != Strategy::Canary {
            if service.hooks.verify.is_some() {
                let remedy = "remove it, or write strategy = \"canary\" with steps in [deploy]";
                self.key_error(
                    &path!["hooks", "verify"],
                    "it runs at the steps of a canary, and there is none",
                    remedy,
                );
            }
            return;
        }
        let remedy = "write \"rolling\"";
        if self.declared.group.is_some() {
            let message = "parts have one declaration together, of which no single one can be a canary";
            self.error(&strategy, message, "declare the service by itself, or write \"rolling\"");
        } else if !service.listen.has_callers() {
            self.error(&strategy, "a canary divides callers, and the service listens nowhere", remedy);
        } else if let Some(index) = service.ports.iter().position(|port| port.passed.is_some()) {
            let message =
                "processes of both generations would take callers from this socket, whatever a canary's share is";
            self.key_error(&path!["port", index, "pass"], message, "remove it, or write strategy = \"rolling\"");
        } else if service.routes.is_empty() && !service.ports.is_empty() {
            let message = "the callers of a [[port]] are not divided, and the service has no [[route]]";
            self.error(&strategy, message, remedy);
        }
    }
}
