//! What keeps a service from running on this machine, by systemd's own judgement of its conditions.

use std::process::{Command, Stdio};

use crate::directive::snake;
use crate::escape::Text;
use crate::layout::Scope;
use crate::model::{Directive, Service};

/// The conditions that do not hold, as they are declared: `host = "web*"`. None if the service may run, or
/// if systemd-analyze(1) cannot be asked.
pub fn held_back(scope: Scope, service: &Service) -> Option<String> {
    let is_choice = |condition: &&Directive| condition.value.starts_with('|');
    let (choices, all): (Vec<_>, Vec<_>) = service.conditions.iter().partition(is_choice);
    let unmet: Vec<_> = all.into_iter().filter(|condition| !holds(scope, condition)).collect();
    // Of those with a bar in front one is enough.
    let none_holds = !choices.is_empty() && !choices.iter().any(|condition| holds(scope, condition));
    let unmet: Vec<_> = unmet.into_iter().chain(choices.into_iter().filter(|_| none_holds)).map(declared).collect();
    (!unmet.is_empty()).then(|| unmet.join(", "))
}

fn holds(scope: Scope, condition: &Directive) -> bool {
    let Directive { name, value } = condition;
    let mut command = Command::new("systemd-analyze");
    if scope == Scope::User {
        command.arg("--user");
    }
    command.arg("condition").arg(format!("{name}={}", Text(value.trim_start_matches('|'))));
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map_or(true, |status| status.code() != Some(1))
}

fn declared(condition: &Directive) -> String {
    format!("{} = {:?}", key(&condition.name), condition.value)
}

/// The key in `[condition]` that a directive is declared by.
pub fn key(directive: &str) -> String {
    match snake(directive).trim_start_matches("condition_") {
        "path_exists" => "path".to_owned(),
        key => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_told_as_they_are_declared() {
        let told = |name: &str, value: &str| declared(&Directive { name: name.to_owned(), value: value.to_owned() });
        assert_eq!(told("ConditionHost", "web*"), r#"host = "web*""#);
        assert_eq!(told("ConditionPathExists", "!/etc/off"), r#"path = "!/etc/off""#);
        assert_eq!(told("ConditionKernelVersion", ">= 5"), r#"kernel_version = ">= 5""#);
    }
}
