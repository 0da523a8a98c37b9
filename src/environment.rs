//! The environment that a deployment's unit gives its process and hooks, systemd.exec(5).
//!
//! systemd adds variables of its own that are only known when a process starts, such as `LISTEN_FDS`.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::expansion::is_name;
use crate::names::{GenerationId, ServiceName};
use crate::tree::Tree;
use crate::unitfile::{self, Line};

/// Directives by which variables come from elsewhere, or go.
const BESIDE: &[&str] = &["EnvironmentFile", "PassEnvironment", "UnsetEnvironment"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) variables: BTreeMap<String, String>,
    /// Lines of the unit by which systemd adds or takes others.
    pub(crate) beside: Vec<String>,
}

impl Environment {
    /// Of an instance; without one, what all instances have in common.
    pub(crate) fn of(units: &Tree, name: &ServiceName, id: &GenerationId, instance: Option<u32>) -> Self {
        let unit = format!("{}.service", name.template(id));
        let overlays = format!("{unit}.d");
        let mut environment = Self::default();
        let drop_ins =
            units.iter().map(|(path, _)| path).filter(|path| path.parent() == Some(Utf8Path::new(&overlays)));
        for path in std::iter::once(Utf8Path::new(&unit)).chain(drop_ins) {
            let text = units.text(path).unwrap_or_default();
            environment.read(text, &|word| expand(word, name, id, instance));
        }
        environment
    }

    fn read(&mut self, text: &str, expand: &dyn Fn(&str) -> Option<String>) {
        for Line { key, value, .. } in unitfile::lines(text).into_iter().filter(|line| line.section == "Service") {
            match (key.as_str(), value.as_str()) {
                ("Environment", "") => self.variables.clear(),
                ("Environment", value) => self.variables.extend(unitfile::words(value).iter().filter_map(|word| {
                    let word = expand(word)?;
                    let (name, value) = word.split_once('=').filter(|(name, _)| is_name(name))?;
                    Some((name.to_owned(), value.to_owned()))
                })),
                (key, value) if BESIDE.contains(&key) => self.beside.push(format!("{key}={value}")),
                _ => {}
            }
        }
    }
}

/// Puts in what specifiers stand for, systemd.unit(5); None if that differs between instances and
/// none is given.
fn expand(word: &str, name: &ServiceName, id: &GenerationId, instance: Option<u32>) -> Option<String> {
    let mut text = String::new();
    let mut parts = word.split('%');
    text.push_str(parts.next().unwrap_or_default());
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        match rest.next() {
            Some('i' | 'I') => text.push_str(&instance?.to_string()),
            Some('n') => text.push_str(&format!("{}{}.service", name.template(id), instance?)),
            Some('N') => text.push_str(&format!("{}{}", name.template(id), instance?)),
            Some('d') => text.push_str(&format!("/run/credentials/{}{}.service", name.template(id), instance?)),
            Some('p' | 'P') => text.push_str(&format!("{name}-{id}")),
            Some(other) => text.extend(['%', other]),
            // `%%`: an empty part between the two.
            None => {
                text.push('%');
                rest = parts.next().unwrap_or_default().chars();
            }
        }
        text.push_str(rest.as_str());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::Assignment;
    use proptest::prelude::*;

    fn of(drop_in: &str, instance: Option<u32>) -> Environment {
        let (name, id) = (ServiceName::new("web").expect("a name"), GenerationId::new("0123456789ab").expect("an id"));
        let mut units = Tree::default();
        units.file("web-0123456789ab@.service", "[Unit]\nEnvironment=NO=1\n[Service]\nEnvironment=A=1\n");
        units.file("web-0123456789ab@.service.d/50-more.conf", drop_in);
        Environment::of(&units, &name, &id, instance)
    }

    fn variables(drop_in: &str, instance: Option<u32>) -> Vec<String> {
        of(drop_in, instance).variables.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn drop_ins_are_read_as_systemd_reads_them() {
        let text = "[Service]\nEnvironment=\"B=two words\" 'C=\\x41\\102\\n' D=x\\\n  E=%i%%%p\n#Environment=F=6\n";
        assert_eq!(variables(text, Some(3)), ["A=1", "B=two words", "C=AB\n", "D=x", "E=3%web-0123456789ab"], "{text}");
        assert_eq!(variables(text, None), ["A=1", "B=two words", "C=AB\n", "D=x"], "what instances share");
        assert_eq!(variables("[Service]\nEnvironment=\nEnvironment=B=2\n", None), ["B=2"]);
        assert_eq!(variables("[Service]\nEnvironment==1 2=3 a-b=4 \\x11=5 _=6\n", None), ["A=1", "_=6"], "names");
        assert_eq!(of("[Service]\nEnvironmentFile=-/etc/web\n", None).beside, ["EnvironmentFile=-/etc/web"]);
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(value in "[^\u{0}\r]{0,40}") {
            let line = format!("[Service]\nEnvironment={}\n", Assignment { name: "KEY", value: &value });
            prop_assert_eq!(of(&line, None).variables.remove("KEY"), Some(value));
        }
    }
}
