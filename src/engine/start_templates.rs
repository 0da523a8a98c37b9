//! `start_templates`: files of a declaration that are rendered when a deployment starts.

use std::collections::BTreeMap;

use camino::Utf8Path;
use fs_err as fs;

use crate::diagnostic::Diagnostic;
use crate::layout::Scope;
use crate::model::{Model, Process};
use crate::source::read;
use crate::{template, variable};

type Variables = BTreeMap<String, String>;

/// Renders the templates of a service among its `files`, which errors call `shown`, with the variables of `service declare`
/// and those that are `known` now. Returns their texts by the path of the template.
///
/// # Errors
/// A template that does not parse or uses a variable that is not known.
pub(crate) fn render<'a>(
    process: &'a Process,
    files: &Utf8Path,
    shown: &Utf8Path,
    known: Variables,
) -> Result<Vec<(&'a Utf8Path, String)>, Diagnostic> {
    let mut variables = process.variables.clone();
    variables.extend(known);
    let render = |path: &'a Utf8Path| {
        let shown = shown.join(path);
        let text = fs::read_to_string(files.join(path)).map_err(|error| read::unreadable(&shown, &error))?;
        Ok((path, template::render_at_start(&shown, &text, &variables)?))
    };
    process.start_templates.iter().map(|path| render(path)).collect()
}

/// Renders the templates of a service whose deployments do not start yet, with any value for what is known only then.
///
/// # Errors
/// A template that does not parse or uses a variable that will not be known.
pub(crate) fn check(scope: Scope, model: &Model, files: &Utf8Path, shown: &Utf8Path) -> Result<(), Diagnostic> {
    let Model { service, systemd } = model;
    if service.process.start_templates.is_empty() {
        return Ok(());
    }
    let mut known = service.process.environment.clone();
    let has = |name: &&str| variable::meaning(service, systemd, scope, name).is_some();
    known.extend(variable::known().filter(has).map(|name| (name.to_owned(), "1".to_owned())));
    render(&service.process, files, shown, known).map(drop)
}
