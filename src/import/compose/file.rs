//! A file of compose, as its services need it.

use std::collections::BTreeMap;

use crate::import::input::Input;
use crate::import::tree::Node;

/// What the file has beside its services.
pub(super) struct File<'a> {
    pub(super) input: &'a Input,
    pub(super) root: &'a Node,
    /// The values of `.env`, which are the defaults of variables.
    pub(super) known: BTreeMap<String, String>,
    /// Names of parts by the names of services, container names and hosts.
    pub(super) names: BTreeMap<String, String>,
}

/// The variables of an environment file.
pub(crate) fn variables(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        if let Some((name, value)) = line.split_once('=') {
            let value = value.trim();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let unquoted = quote.and_then(|quote| value[1..].split_once(quote)).map(|(inner, _)| inner);
            let value = unquoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim());
            variables.insert(name.trim().to_owned(), value.to_owned());
        }
    }
    variables
}
