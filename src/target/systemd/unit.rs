//! The lines of units, and the values in them.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use askama::Template;
use camino::{Utf8Path, Utf8PathBuf};

use crate::directive::{self, Section};
use crate::escape::{Raw, Text, Word};
use crate::layout::{Layout, Scope};
use crate::model::{Directive, Process, Sandbox, Service, Setting, User};
use crate::names::PROXY_GROUP;

/// One line of a unit: `Key=value`, the value escaped by its type.
pub(super) struct Line<'a> {
    key: &'a str,
    value: Box<dyn Display + 'a>,
}

impl<'a> Line<'a> {
    /// Makes a line of a key and a value that escapes itself.
    pub(super) fn new(key: &'a str, value: impl Display + 'a) -> Self {
        Self { key, value: Box::new(value) }
    }
}

impl Display for Line<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.key, self.value)
    }
}

/// A command line with one of systemd's prefixes, systemd.service(5).
pub(super) struct Prefixed<T>(pub(super) &'static str, pub(super) T);

impl<T: Display> Display for Prefixed<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.0, self.1)
    }
}

/// A word with the unit's instance, `%i`, at its end, inside its quotes where it has some.
pub(super) struct PerInstance<T>(pub(super) T);

impl<T: Display> Display for PerInstance<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let word = self.0.to_string();
        match word.strip_suffix('"') {
            Some(open) => write!(out, "{open}%i\""),
            None => write!(out, "{word}%i"),
        }
    }
}

/// An argument of one of conductor's own commands: no variable is expanded in it.
pub(super) struct Argument<'a>(pub(super) &'a Utf8Path);

impl Display for Argument<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        Word(&self.0.as_str().replace('$', "$$")).fmt(out)
    }
}

/// The fields that all units of a service share.
pub(super) struct Common<'a> {
    pub(super) source: Text<'a>,
    pub(super) description: Text<'a>,
    pub(super) name: &'a str,
    pub(super) slice: String,
    /// Whether the unit is for the system's manager, with users and groups.
    pub(super) system: bool,
    pub(super) group: &'static str,
}

impl<'a> Common<'a> {
    /// Takes the shared fields from a service.
    pub(super) fn new(layout: &Layout, service: &'a Service) -> Self {
        Self {
            source: Text(service.source.as_str()),
            description: Text(&service.description),
            name: service.name.as_str(),
            slice: service.name.slice(service.declared_as()),
            system: layout.scope == Scope::System,
            group: PROXY_GROUP,
        }
    }
}

/// systemd-socket-proxyd(8), before its options and where it leads.
pub(super) const RELAY: &str = "/usr/lib/systemd/systemd-socket-proxyd --connections-max=65536";
/// Bytes of a unit with the default sandbox.
const USUAL_LENGTH: usize = 4096;

/// Renders a unit's template.
pub(super) fn finish(unit: &impl Template) -> String {
    // Most units fit: their text does not move while it grows.
    let mut text = String::with_capacity(USUAL_LENGTH);
    unit.render_into(&mut text).expect("a unit's template takes any model");
    text.push('\n');
    text
}

/// Writes directives that are passed through.
pub(super) fn lines(directives: &[Directive]) -> Vec<Line<'_>> {
    directives.iter().map(|Directive { name, value }| Line::new(name, Raw(value))).collect()
}

/// Writes the limits of a slice, systemd.resource-control(5).
pub(super) fn limits(settings: &[Setting]) -> impl Iterator<Item = Line<'_>> {
    settings.iter().map(|Setting { key, value }| {
        let directive = directive::lookup_snake(Section::Slice, key).expect("a limit that was resolved");
        Line::new(directive.name, Raw(value))
    })
}

/// Writes the conditions of a unit, systemd.unit(5).
pub(super) fn conditions(settings: &[Setting]) -> Vec<Line<'_>> {
    let lines = settings.iter().map(|Setting { key, value }| {
        let directive = directive::lookup_condition(key).expect("a condition that was resolved");
        Line::new(directive.name, Text(value))
    });
    lines.collect()
}

/// Writes as whom processes run. A user's manager cannot change users; its services run as that user.
pub(super) fn user_lines(scope: Scope, user: &User) -> Vec<Line<'_>> {
    match (scope, user) {
        (Scope::User, _) => Vec::new(),
        (Scope::System, User::Static(name)) => vec![Line::new("User", Text(name))],
        (Scope::System, User::Dynamic(name)) => vec![Line::new("DynamicUser", "yes"), Line::new("User", Text(name))],
    }
}

/// Writes how processes see their own files, systemd.exec(5): only root may enter the directory `base`, in which those of
/// others are, too. Root without a sandbox sees all of it anyway.
pub(super) fn own_files_lines(
    scope: Scope,
    process: &Process,
    base: &Utf8Path,
    own: Option<&Utf8Path>,
) -> Vec<Line<'static>> {
    if scope == Scope::User || process.sandbox == Sandbox::None && process.user.is_root() {
        return Vec::new();
    }
    let hidden = Line::new("TemporaryFileSystem", format!("{}:ro", Text(base.as_str())));
    let own = own.map(|own| Line::new("BindReadOnlyPaths", Text(own.as_str()).to_string()));
    [hidden].into_iter().chain(own).collect()
}

/// Writes the secrets that processes are given, systemd.exec(5).
pub(super) fn credential_lines(process: &Process) -> Vec<Line<'static>> {
    let Process { credentials, credentials_encrypted, .. } = process;
    let of = |key: &'static str, given: &BTreeMap<String, Utf8PathBuf>| {
        let line = |(name, path): (&String, &Utf8PathBuf)| Line::new(key, format!("{name}:{}", Text(path.as_str())));
        given.iter().map(line).collect::<Vec<_>>()
    };
    let mut lines = of("LoadCredential", credentials);
    lines.extend(of("LoadCredentialEncrypted", credentials_encrypted));
    lines
}

/// Returns whether a systemd limits how often it looks at a socket, systemd.socket(5): 256 and newer do.
pub(super) fn polls_without_limit(systemd: Option<u16>) -> bool {
    systemd.is_some_and(|version| version >= 256)
}
