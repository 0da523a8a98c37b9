//! Documented keys are accepted keys: docs/service-toml.md against the types in src/declaration.rs.

use std::collections::BTreeSet;
use std::sync::Arc;

use conductor::declaration::{Declaration, LATER, LATER_WORDS};
use conductor::diagnostic::Source;
use conductor::document::{Node, Problem};

const MANUAL: &str = include_str!("../docs/service-toml.md");

/// Sections of the manual, and a key below each.
const LEVELS: &[(&str, &str)] = &[
    ("Top level", "KEY"),
    ("`[exec]`", "exec = { command = [], KEY"),
    ("`[listen]`", "listen = { KEY"),
    ("`[health]`", "health = { KEY"),
    ("`[[route]]`", "route = [{ KEY"),
    ("`[deploy]`", "deploy = { KEY"),
    ("`[hooks]`", "hooks = { KEY"),
    ("`[install]`", "install = { KEY"),
    ("`[systemd]`", "systemd = { KEY"),
];

/// Words that are the only values of a key.
const WORDS: &[(&str, &str, &str)] = &[
    ("`[exec]`", "sandbox", "exec = { command = [], sandbox"),
    ("`[listen]`", "type", "listen = { type"),
    ("`[[route]]`", "tls", "route = [{ tls"),
    ("`[deploy]`", "strategy", "deploy = { strategy"),
];

fn section(title: &str) -> &'static str {
    let (_, rest) = MANUAL.split_once(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section {title}"));
    rest.split("\n## ").next().expect("a section")
}

/// Everything between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Keys in the first column, and the whole row.
fn rows(title: &str) -> Vec<(&'static str, &'static str)> {
    let rows = section(title).lines().filter_map(|line| Some((line.strip_prefix("| `")?.split('`').next()?, line)));
    rows.collect()
}

/// Why a declaration of one key is not read; open brackets are closed.
fn problem(text: &str) -> Problem {
    let mut text = format!("{text} = 'unheard-of'");
    for (open, close) in [('{', '}'), ('[', ']')] {
        let count = |c| text.matches(c).count();
        text.push_str(&close.to_string().repeat(count(open) - count(close)));
    }
    let node = Node::parse(&Arc::new(Source { path: "service.toml".into(), text })).expect("TOML");
    node.read::<Declaration>().expect_err("nothing of that kind is accepted").problem
}

#[test]
fn documented_keys_are_accepted_keys() {
    for (title, key) in LEVELS {
        let Problem::UnknownKey { expected, .. } = problem(&key.replace("KEY", "unheard-of")) else {
            panic!("{title} takes any key");
        };
        let documented: Vec<&str> = rows(title).into_iter().map(|(key, _)| key).collect();
        assert_eq!(documented, expected, "{title}");
    }
}

#[test]
fn documented_words_are_accepted_words() {
    for (title, key, text) in WORDS {
        let Problem::UnknownWord { expected, .. } = problem(text) else { panic!("{key} takes any word") };
        let (_, row) = rows(title).into_iter().find(|(name, _)| name == key).unwrap_or_else(|| panic!("{key}"));
        let words = quoted(row.split('|').nth(2).expect("a type"));
        assert_eq!(
            words,
            expected.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().iter().map(String::as_str).collect()
        );
    }
}

#[test]
fn what_comes_later_is_documented() {
    let documented = quoted(section("Not supported yet"));
    let later = LATER.iter().map(|key| (*key).to_owned());
    let words = LATER_WORDS.iter().flat_map(|(_, words)| words.iter().map(|word| format!("{word:?}")));
    for word in later.chain(words) {
        assert!(documented.contains(word.as_str()), "{word}");
    }
    let keys = documented.iter().filter(|word| !word.starts_with('"')).copied();
    let known: BTreeSet<&str> = LATER.iter().copied().chain(LATER_WORDS.iter().map(|(key, _)| *key)).collect();
    assert_eq!(keys.collect::<BTreeSet<_>>(), known);
}
