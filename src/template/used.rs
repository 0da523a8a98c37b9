//! Variables that templates use, so that one that is misspelt is not passed over.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::engine::environment;
use super::tag;
use crate::diagnostic::Diagnostic;
use crate::document::{Node, Value};
use crate::path;
use crate::source::read;

/// Lists the variables that a template uses; None if it does not parse.
pub(super) fn names_in(text: &str) -> Option<BTreeSet<String>> {
    if tag::too_long(text).is_some() {
        return None;
    }
    let environment = environment();
    let globals: BTreeSet<_> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    let used = environment.template_from_str(text).ok()?.undeclared_variables(false);
    Some(used.into_iter().filter(|name| !globals.contains(name)).collect())
}

/// Lists the variables of the pod files of a declaration in `dir`, which are rendered when a deployment starts; None if
/// the declaration or one of them does not parse.
pub(super) fn of_pods(dir: &Utf8Path, declaration: &Utf8Path) -> Option<BTreeSet<String>> {
    let document = Node::parse(&read::read(declaration, declaration).ok()?).ok()?;
    let parts = document.get(&path!["part"]).map_or(&[][..], Node::items);
    let mut names = BTreeSet::new();
    for section in std::iter::once(&document).chain(parts) {
        for key in ["template", "config_map"] {
            let Some(Value::String(path)) = section.get(&path!["pod", key]).map(|node| &node.value) else { continue };
            let file = dir.join(path);
            // Resolving refuses it.
            if file.is_symlink() {
                return None;
            }
            names.append(&mut names_in(&read::text(&file, &file).ok()?)?);
        }
    }
    Some(names)
}

/// Lists the files of a declaration that are rendered when a deployment starts: `start_templates`.
pub(super) fn at_start(declaration: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
    // A declaration that does not parse has an error of its own.
    let document = read::read(declaration, declaration).ok().and_then(|source| Node::parse(&source).ok());
    let Some(document) = document else { return BTreeSet::new() };
    let parts = document.get(&path!["part"]).map_or(&[][..], Node::items);
    let sections = std::iter::once(&document).chain(parts);
    let listed = sections.filter_map(|section| section.get(&path!["exec", "start_templates"])).flat_map(Node::items);
    let text = |node: &Node| match &node.value {
        Value::String(path) => Some(Utf8PathBuf::from(path.strip_prefix("./").unwrap_or(path))),
        _ => None,
    };
    listed.filter_map(text).collect()
}

/// Refuses a variable that is not among those used.
///
/// # Errors
/// The first variable that no template uses, with the names of those that templates use.
pub(super) fn refuse_unused(
    path: &Utf8Path,
    variables: &BTreeMap<String, String>,
    used: &BTreeSet<String>,
) -> Result<(), Diagnostic> {
    let Some(name) = variables.keys().find(|name| !used.contains(*name)) else { return Ok(()) };
    let names: Vec<_> = used.iter().map(String::as_str).collect();
    let remedy = match names[..] {
        [] => format!("write {{{{ {name} }}}} where its value belongs, or leave it out"),
        _ => format!("the variables that templates use are {}", names.join(", ")),
    };
    Err(Diagnostic::of_file(path, format!("no template uses the variable {name}"), remedy))
}
