//! Conditions that keep a service from running on this machine, as systemd evaluates them.

use std::process::{Command, Stdio};

use crate::directive::lookup_condition;
use crate::escape::Text;
use crate::layout::Scope;
use crate::model::{Service, Setting};

/// Returns the state that listings show of a service which its conditions keep from running.
pub(crate) fn held_back(scope: Scope, service: &Service, state: &str) -> Option<String> {
    let unmet = (state == "inactive").then(|| unmet(scope, service))??;
    Some(format!("held back: {unmet}"))
}

/// Returns the conditions that do not hold, as they are declared: `host = "web*"`. None if the service may run, or
/// if systemd-analyze(1) cannot be asked.
pub(crate) fn unmet(scope: Scope, service: &Service) -> Option<String> {
    let is_choice = |condition: &&Setting| condition.value.starts_with('|');
    let (choices, all): (Vec<_>, Vec<_>) = service.conditions.iter().partition(is_choice);
    let unmet: Vec<_> = all.into_iter().filter(|condition| !holds(scope, condition)).collect();
    // Of the conditions with a leading bar one is enough.
    let none_holds = !choices.is_empty() && !choices.iter().any(|condition| holds(scope, condition));
    let unmet: Vec<_> = unmet.into_iter().chain(choices.into_iter().filter(|_| none_holds)).map(declared).collect();
    (!unmet.is_empty()).then(|| unmet.join(", "))
}

fn holds(scope: Scope, condition: &Setting) -> bool {
    let Setting { key, value } = condition;
    let Some(directive) = lookup_condition(key) else { return true };
    let mut command = Command::new("systemd-analyze");
    if scope == Scope::User {
        command.arg("--user");
    }
    command.arg("condition").arg(format!("{}={}", directive.name, Text(value.trim_start_matches('|'))));
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map_or(true, |status| status.code() != Some(1))
}

fn declared(condition: &Setting) -> String {
    format!("{} = {:?}", condition.key, condition.value)
}
