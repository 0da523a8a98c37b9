//! What an import writes: services as sections of keys, and their text in TOML.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use camino::{Utf8Path, Utf8PathBuf};

use crate::import::text::Text;
use crate::key::File as KeyFile;

/// The sections of `service.toml` in the order of its page; `*` stands for any name.
const ORDER: &[&str] = &[
    "",
    "config",
    "exec",
    "container",
    "pod",
    "listen",
    "listen.*",
    "health",
    "health.live",
    ROUTE,
    PORT,
    "deploy",
    "hooks",
    "resources",
    "commands.*",
    "condition",
    "install",
    "systemd.unit",
    "systemd.service",
    "systemd.socket",
];
const ROUTE: &str = "route";
const PORT: &str = "port";

/// Where packages install the schema, for editors.
const SCHEMA: &str = "/usr/share/conductor/schemas/service.toml.schema.json";

/// The longest line that has its comment behind it, in characters.
const WIDTH: usize = 110;

/// A value of TOML.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(Text),
    Number(i64),
    Boolean(bool),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl Value {
    fn to_toml(&self) -> String {
        match self {
            Self::Text(text) => text.to_toml(),
            Self::Number(number) => number.to_string(),
            Self::Boolean(truth) => truth.to_string(),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::to_toml).collect();
                let line = format!("[{}]", items.join(", "));
                if line.chars().count() <= WIDTH - 20 || items.len() < 2 {
                    return line;
                }
                format!("[\n{}]", items.iter().map(|item| format!("  {item},\n")).collect::<String>())
            }
            Self::Table(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{} = {}", key_text(key), value.to_toml())).collect();
                if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
            }
        }
    }

    fn required(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::Text(text) => text.required(names),
            Self::List(items) => items.iter().for_each(|item| item.required(names)),
            Self::Table(entries) => entries.iter().for_each(|(_, value)| value.required(names)),
            Self::Number(_) | Self::Boolean(_) => {}
        }
    }
}

/// A key of a section.
#[derive(Debug, Clone)]
struct Line {
    key: String,
    value: Value,
    comment: String,
}

/// The keys of a section, or of one of several such as `[[route]]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section(Vec<Line>);

impl Section {
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.set_with(key, value, "")
    }

    /// Sets a key, with a comment.
    pub(crate) fn set_with(&mut self, key: &str, value: impl Into<Value>, comment: &str) -> &mut Self {
        let line = Line { key: key.to_owned(), value: value.into(), comment: comment.to_owned() };
        match self.0.iter_mut().find(|line| line.key == key) {
            Some(existing) => *existing = line,
            None => self.0.push(line),
        }
        self
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|line| line.key == key).map(|line| &line.value)
    }

    fn required(&self, names: &mut BTreeSet<String>) {
        self.0.iter().for_each(|line| line.value.required(names));
    }

    /// Writes the keys in the order of the section's page, others as they were set.
    fn write(&self, path: &str, out: &mut String) {
        let known: Vec<_> = path.split('.').filter(|step| !step.is_empty()).collect();
        let place = |line: &Line| {
            let section = KeyFile::Service.sections().iter().find(|section| {
                let steps: Vec<_> = section.path.split('.').filter(|step| !step.is_empty()).collect();
                steps.len() == known.len() && steps.iter().zip(&known).all(|(step, name)| *step == "*" || step == name)
            });
            section.and_then(|section| section.keys.iter().position(|key| key.name == line.key)).unwrap_or(usize::MAX)
        };
        let mut lines: Vec<_> = self.0.iter().collect();
        lines.sort_by_key(|line| place(line));
        for line in lines {
            write_line(line, out);
        }
    }
}

fn write_line(line: &Line, out: &mut String) {
    let text = match &line.value {
        Value::Table(entries) if line.value.to_toml().chars().count() > WIDTH - 30 => {
            // A long table is easier to read, and to change, with a line for each key.
            let dotted = |(key, value): &(String, Value)| {
                format!("{}.{} = {}\n", key_text(&line.key), key_text(key), value.to_toml())
            };
            entries.iter().map(dotted).collect::<String>()
        }
        value => format!("{} = {}\n", key_text(&line.key), value.to_toml()),
    };
    let is_short = !text.trim_end().contains('\n') && text.chars().count() + line.comment.chars().count() + 4 < WIDTH;
    match line.comment.as_str() {
        "" => out.push_str(&text),
        comment if is_short => drop(writeln!(out, "{:<40} # {}", text.trim_end(), comment_text(comment))),
        comment => {
            write_comment(comment, out);
            out.push_str(&text);
        }
    }
}

/// A comment, in which nothing begins an expression of the template engine.
fn comment_text(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.replace("{{", "{ {").replace("{%", "{ %")
}

/// Writes a comment, broken into lines.
fn write_comment(text: &str, out: &mut String) {
    let mut line = String::new();
    for word in comment_text(text).split(' ') {
        if !line.is_empty() && line.chars().count() + word.chars().count() > WIDTH - 4 {
            let _ = writeln!(out, "# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "# {line}");
}

fn key_text(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { key.to_owned() } else { Text::from(key).to_toml() }
}

/// A service, or a part of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    /// The name that the source has; that of a part, or of the service if there is one alone.
    pub(crate) name: String,
    pub(crate) comments: Vec<String>,
    sections: BTreeMap<String, Section>,
    pub(crate) routes: Vec<Section>,
    pub(crate) ports: Vec<Section>,
}

impl Service {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A section by its path; that of the top is empty.
    pub(crate) fn section(&mut self, path: &str) -> &mut Section {
        self.sections.entry(path.to_owned()).or_default()
    }

    pub(crate) fn set(&mut self, path: &str, key: &str, value: impl Into<Value>) {
        self.section(path).set(key, value);
    }

    pub(crate) fn set_with(&mut self, path: &str, key: &str, value: impl Into<Value>, comment: &str) {
        self.section(path).set_with(key, value, comment);
    }

    pub(crate) fn get(&self, path: &str, key: &str) -> Option<&Value> {
        self.sections.get(path)?.get(key)
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.sections.contains_key(path)
    }

    /// Appends to a list.
    pub(crate) fn push(&mut self, path: &str, key: &str, value: impl Into<Value>) {
        let section = self.section(path);
        match section.0.iter_mut().find(|line| line.key == key) {
            Some(Line { value: Value::List(items), .. }) => items.push(value.into()),
            _ => drop(section.set(key, Value::List(vec![value.into()]))),
        }
    }

    /// Sets an entry of a table such as `environment`.
    pub(crate) fn insert(&mut self, path: &str, key: &str, name: &str, value: impl Into<Value>) {
        let section = self.section(path);
        let value = value.into();
        match section.0.iter_mut().find(|line| line.key == key) {
            Some(Line { value: Value::Table(entries), .. }) => {
                match entries.iter_mut().find(|(known, _)| known == name) {
                    Some((_, existing)) => *existing = value,
                    None => entries.push((name.to_owned(), value)),
                }
            }
            _ => drop(section.set(key, Value::Table(vec![(name.to_owned(), value)]))),
        }
    }

    /// The words of a list.
    pub(crate) fn words(&self, path: &str, key: &str) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.shown()),
            _ => None,
        };
        match self.get(path, key) {
            Some(Value::List(items)) => items.iter().filter_map(text).collect(),
            Some(value) => text(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The text of an entry of a table such as `environment`.
    pub(crate) fn table_text(&self, path: &str, key: &str, name: &str) -> Option<String> {
        let Some(Value::Table(entries)) = self.get(path, key) else { return None };
        entries.iter().find(|(known, _)| known == name).and_then(|(_, value)| match value {
            Value::Text(text) => text.with_defaults(),
            _ => None,
        })
    }

    /// Removes an entry of a table.
    pub(crate) fn remove_entry(&mut self, path: &str, key: &str, name: &str) {
        let Some(section) = self.sections.get_mut(path) else { return };
        for line in section.0.iter_mut().filter(|line| line.key == key) {
            if let Value::Table(entries) = &mut line.value {
                entries.retain(|(known, _)| known != name);
            }
        }
        section.0.retain(|line| line.key != key || line.value != Value::Table(Vec::new()));
    }

    pub(crate) fn drop_section(&mut self, path: &str) {
        self.sections.remove(path);
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, path: &str, key: &str) {
        if let Some(section) = self.sections.get_mut(path) {
            section.0.retain(|line| line.key != key);
        }
    }

    /// Names of variables that have no default.
    pub(crate) fn required(&self, names: &mut BTreeSet<String>) {
        self.sections.values().chain(&self.routes).chain(&self.ports).for_each(|section| section.required(names));
    }

    /// Writes the sections; `prefix` is `part.` for a part.
    fn write(&self, prefix: &str, out: &mut String) {
        for name in ORDER {
            match *name {
                "" => {}
                ROUTE => write_each(&format!("{prefix}route"), ROUTE, &self.routes, out),
                PORT => write_each(&format!("{prefix}port"), PORT, &self.ports, out),
                name => {
                    let stem = name.strip_suffix('*');
                    let is_one = |path: &str| match stem {
                        Some(stem) => path.strip_prefix(stem).is_some_and(|rest| !rest.contains('.')),
                        None => path == name,
                    };
                    for (path, section) in self.sections.iter().filter(|(path, _)| is_one(path)) {
                        if section.0.is_empty() {
                            continue;
                        }
                        let shown: Vec<_> = path.split('.').map(key_text).collect();
                        let _ = writeln!(out, "\n[{prefix}{}]", shown.join("."));
                        section.write(path, out);
                    }
                }
            }
        }
    }
}

fn write_each(shown: &str, path: &str, sections: &[Section], out: &mut String) {
    for section in sections {
        let _ = writeln!(out, "\n[[{shown}]]");
        section.write(path, out);
    }
}

/// A file of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub content: Vec<u8>,
    pub executable: bool,
}

/// A declaration: one service, or several parts of one.
#[derive(Debug, Default)]
pub(crate) struct Declaration {
    /// The name that the source has, which may be none of conductor's.
    pub(crate) name: String,
    pub(crate) comments: Vec<String>,
    /// What stands outside of the parts.
    pub(crate) common: Service,
    pub(crate) services: Vec<Service>,
    /// Whether there are several parts, each of which has its files in a directory of its name.
    pub(crate) is_group: bool,
    pub(crate) files: BTreeMap<Utf8PathBuf, File>,
    /// The text of a function's manifest, of what is no service.
    pub(crate) function: Option<String>,
}

impl Declaration {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub(crate) fn add_file(&mut self, path: impl AsRef<Utf8Path>, content: impl Into<Vec<u8>>, executable: bool) {
        self.files.insert(path.as_ref().to_owned(), File { content: content.into(), executable });
    }

    /// The path of a file of one service: those of a part are in its directory, so that they are inputs of no other.
    pub(crate) fn place(&self, service: &str, relative: &str) -> String {
        let prefix = format!("{service}/");
        if !self.is_group || relative.starts_with(&prefix) { relative.to_owned() } else { prefix + relative }
    }

    /// The names of variables that must be given.
    pub(crate) fn required(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.services.iter().chain([&self.common]).for_each(|service| service.required(&mut names));
        names
    }

    /// Writes `service.toml`.
    pub(crate) fn to_toml(&self) -> String {
        let mut out = format!("#:schema {SCHEMA}\n");
        let one = match self.services.as_slice() {
            [one] => Some(one),
            _ => None,
        };
        let comments = self.comments.iter().chain(one.iter().flat_map(|one| &one.comments));
        comments.for_each(|comment| write_comment(comment, &mut out));
        let mut top = self.common.sections.get("").cloned().unwrap_or_default();
        if let Some(one) = one {
            one.sections.get("").iter().for_each(|section| {
                section.0.iter().for_each(|line| {
                    top.set_with(&line.key, line.value.clone(), &line.comment);
                });
            });
        }
        top.write("", &mut out);
        match one {
            Some(one) => {
                // What stands outside of parts is the service's own.
                let mut whole = one.clone();
                for (path, section) in self.common.sections.iter().filter(|(path, _)| !path.is_empty()) {
                    for line in &section.0 {
                        if whole.get(path, &line.key).is_none() {
                            whole.section(path).0.push(line.clone());
                        }
                    }
                }
                whole.write("", &mut out);
            }
            None => {
                self.common.write("", &mut out);
                for part in &self.services {
                    out.push('\n');
                    part.comments.iter().for_each(|comment| write_comment(comment, &mut out));
                    let _ = writeln!(out, "[[part]]\nname = {}", Text::from(part.name.as_str()).to_toml());
                    if let Some(top) = part.sections.get("") {
                        top.write("", &mut out);
                    }
                    part.write("part.", &mut out);
                }
            }
        }
        out
    }
}

/// Makes a name that conductor takes out of one that the source has: small letters, digits and `-`.
pub(crate) fn name_of(text: &str) -> String {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    let lower = text.to_ascii_lowercase();
    let name: String = lower.chars().map(|c| if ok(c) { c } else { '-' }).take(32).collect();
    let name = name.trim_matches(|c| c == '-' || c == '_').to_owned();
    if name.is_empty() { "service".to_owned() } else { name }
}
