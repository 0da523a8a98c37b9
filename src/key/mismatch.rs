//! Errors of a file that does not have the type of a declaration, a manifest or conductor.toml.

use serde::de::DeserializeOwned;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::directive;
use crate::document::{Error, Node, Path, Problem};
use crate::key::description::{Entries, Key, Kind};
use crate::key::{File, container, pod};

/// Mismatches of one file that are reported: each costs another reading.
const MOST: usize = 20;

/// A file read into a type, without what does not fit it.
pub(crate) struct Reading<T> {
    /// None if what is left does not fit either.
    pub(crate) value: Option<T>,
    pub(crate) errors: Diagnostics,
    /// The paths of keys that were left out.
    left_out: Vec<Path>,
}

/// Reads a file into a type, with all mismatches.
pub(crate) fn read<T: DeserializeOwned>(file: File, document: &Node) -> Reading<T> {
    let mut reading = Reading { value: None, errors: Diagnostics::default(), left_out: Vec::new() };
    let mut rest = None::<Node>;
    while reading.errors.0.len() < MOST {
        let error = match rest.as_ref().unwrap_or(document).read() {
            Ok(value) => {
                reading.value = Some(value);
                break;
            }
            Err(error) => error,
        };
        let wrong = match &error.problem {
            Problem::UnknownKey { key, .. } => error.path.join(key.as_str()),
            _ => error.path.clone(),
        };
        if !reading.has_caused(&error) {
            reading.errors.0.push(mismatch(file, document, error));
        }
        match rest.get_or_insert_with(|| document.clone()).remove(&wrong) {
            Some(left_out) => reading.left_out.push(left_out),
            None => break,
        }
    }
    reading
}

impl<T> Reading<T> {
    /// Returns whether a key may be missing only because it was left out, or because it has another name.
    fn has_caused(&self, error: &Error) -> bool {
        let is_beside = |left: &Path| left.0.split_last().is_some_and(|(_, above)| above == error.path.0);
        matches!(error.problem, Problem::MissingKey(_)) && self.left_out.iter().any(is_beside)
    }

    /// Adds the errors of what was read. Those of a key that was left out, or of what it was in, are not its own.
    pub(crate) fn with(mut self, others: Diagnostics) -> Diagnostics {
        let left_out: Vec<_> = self.left_out.iter().map(Path::to_string).collect();
        let is_above = |key: &str, left: &String| {
            left.strip_prefix(key).is_some_and(|rest| key.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_own = |error: &Diagnostic| !left_out.iter().any(|left| is_above(error.key(), left));
        self.errors.0.extend(others.0.into_iter().filter(is_own));
        self.errors.sort();
        self.errors
    }
}

/// Converts an error of reading a file into one with its position and a remedy.
fn mismatch(file: File, document: &Node, error: Error) -> Diagnostic {
    let path = error.path;
    match error.problem {
        Problem::UnknownKey { key, expected } => unknown(document, &path.join(key.as_str()), &key, expected),
        Problem::MissingKey(key) => {
            let message = format!("`{key}` is required");
            document.error(&path, message, example(file, &path.join(key)))
        }
        Problem::UnknownWord { word, expected } => {
            document.error(&path, format!("{word:?} is not one of the values"), choices(expected))
        }
        Problem::WrongType { found, expected } => {
            document.error(&path, format!("expected {expected}, found {found}"), example(file, &path))
        }
        Problem::Other(message) => document.error(&path, message, example(file, &path)),
    }
}

fn unknown(document: &Node, path: &Path, key: &str, expected: &[&str]) -> Diagnostic {
    let names = path.keys();
    let elsewhere = || match names.as_slice() {
        ["container", name] => container::ELSEWHERE.iter().find(|(known, ..)| known == name),
        ["pod", name] => pod::ELSEWHERE.iter().find(|(known, ..)| known == name),
        _ => None,
    };
    if let Some((_, message, remedy)) = elsewhere() {
        document.key_error(path, *message, *remedy)
    } else {
        document.key_error(path, "unknown key", did_you_mean(key, expected))
    }
}

fn choices(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("write {}", quoted.join(" or "))
}

fn did_you_mean(key: &str, expected: &[&str]) -> String {
    match directive::closest(key, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if expected.len() == 1 => format!("the only key here is `{}`", expected[0]),
        None => format!("the keys here are {}", expected.join(", ")),
    }
}

/// Returns a remedy with the described example of the key at a path.
pub(crate) fn example(file: File, path: &Path) -> String {
    let names = path.keys();
    let Some((name, above)) = names.split_last() else {
        return format!("write keys and [sections] as in {}(5)", file.name());
    };
    if let Some(key) = file.key(&names) {
        return of_key(key, &names.join("."));
    }
    match file.key(above).map(|key| key.kind) {
        Some(Kind::NamedSections) => format!("write a section: [{}]", names.join(".")),
        Some(Kind::Directives(Entries::Lines)) => format!("write {name} = \"…\", or a list of such"),
        _ => format!("write {name} = \"…\""),
    }
}

fn of_key(key: &Key, path: &str) -> String {
    let Key { name, kind, example, .. } = key;
    match kind {
        Kind::Section | Kind::Directives(_) => format!("write a section: [{path}]"),
        Kind::Sections => format!("write a section in double brackets: [[{path}]]"),
        Kind::NamedSections => format!("write a section for each: [{path}.NAME]"),
        Kind::Number(..) => format!("write a number without quotes: {name} = {example}"),
        Kind::TimeSpan => format!("write a time span in quotes: {name} = {example}"),
        Kind::Command | Kind::Hook => format!("write each word as a string of its own: {name} = {example}"),
        Kind::Words(words) => choices(&words.iter().map(|(word, _)| *word).collect::<Vec<_>>()),
        Kind::Text(_) | Kind::Boolean | Kind::True | Kind::List(_) | Kind::Table(_) => {
            format!("write {name} = {example}")
        }
    }
}
