//! Errors of a file that does not have the type of a declaration, a manifest or conductor.toml.

use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::document::{Error, Node, Path, Problem};
use crate::key::description::{Entries, Key, Kind};
use crate::key::{File, container};

/// Converts an error of reading a file into one with its position and a remedy.
pub(crate) fn mismatch(file: File, document: &Node, error: Error) -> Diagnostic {
    let path = error.path;
    match error.problem {
        Problem::UnknownKey { key, expected } => unknown(file, document, &path.join(key.as_str()), &key, expected),
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

fn unknown(file: File, document: &Node, path: &Path, key: &str, expected: &[&str]) -> Diagnostic {
    let names = path.keys();
    let elsewhere = || container::ELSEWHERE.iter().find(|(name, ..)| names == ["container", name]);
    if file.later().contains(&names.join(".")) {
        document.key_error(path, "not supported yet", "remove it")
    } else if let Some((_, message, remedy)) = elsewhere() {
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
