//! `[condition]`: systemd's `Condition…=` directives, systemd.unit(5).

use std::collections::BTreeMap;

use crate::declaration::{OneOrMany, Scalar};
use crate::directive::{self, Section, condition_key, lookup_condition};
use crate::document::Path;
use crate::model::Setting;
use crate::path;
use crate::resolve::{Resolver, unfit};

/// Conditions with a path as their value; systemd ignores a relative path.
const PATHS: &[&str] = &["Path", "Directory", "File", "NeedsUpdate"];

impl Resolver<'_> {
    /// Resolves `[condition]`.
    pub(crate) fn conditions(&mut self, given: BTreeMap<String, OneOrMany>) -> Vec<Setting> {
        let mut conditions = Vec::new();
        for (key, values) in given {
            let at = path!["condition", key.as_str()];
            let Some((known, key)) = lookup_condition(&key).and_then(|known| Some((known, condition_key(known.name)?)))
            else {
                let remedy = match directive::closest(&key, names().iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "see Condition…= in systemd.unit(5); ConditionHost= is host here".to_owned(),
                };
                self.key_error(&at, "there is no such condition", remedy);
                continue;
            };
            let values = match values {
                OneOrMany::One(value) => vec![(at, value)],
                OneOrMany::Many(values) => {
                    values.into_iter().enumerate().map(|(index, value)| (at.join(index), value)).collect()
                }
            };
            for (at, Scalar(value)) in values {
                self.condition(&at, known, &value);
                conditions.push(Setting { key: key.clone(), value: value.trim().to_owned() });
            }
        }
        conditions
    }

    fn condition(&mut self, at: &Path, known: &directive::Directive, value: &str) {
        let plain = value.trim().trim_start_matches('|').trim_start_matches('!').trim_start();
        let about = known.name.trim_start_matches("Condition");
        if let Some(host) = self.systemd.filter(|host| *host < known.since) {
            let message = format!("{}= needs systemd {}, this host runs {host}", known.name, known.since);
            self.key_error(at, message, "remove it, or render for a newer host with --target-systemd");
        } else if let Some((message, remedy)) = unfit(value) {
            self.error(at, message, remedy);
        } else if value.trim().chars().any(char::is_control) || plain.ends_with('\\') {
            self.error(
                at,
                "systemd refuses line breaks, control characters and a backslash at the end",
                "write it on one line, without a backslash at its end",
            );
        } else if plain.is_empty() {
            self.error(at, "an empty condition", "write what must hold, or remove it");
        } else if PATHS.iter().any(|path| about.starts_with(path)) && !plain.starts_with('/') {
            self.error(at, format!("{plain:?} is not an absolute path"), "write a path that starts with /");
        } else if matches!(about, "ACPower" | "FirstBoot") && directive::check(directive::Kind::Boolean, plain).is_err()
        {
            self.error(at, format!("{plain:?} is neither true nor false"), "write true or false");
        }
    }
}

/// Lists the keys of `[condition]`.
fn names() -> Vec<String> {
    let names = Section::Unit.directives().iter().filter_map(|known| condition_key(known.name));
    names.chain(["path_exists".to_owned()]).collect()
}
