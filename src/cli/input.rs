//! Arguments that name a directory to declare from, or a function.

use std::collections::BTreeSet;

use camino::Utf8Path;

use crate::cli::context::Context;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::words::{name_of, variables};
use crate::compile::functions::load_stored_function;
use crate::diagnostic::Diagnostic;
use crate::function::declare::with_gathered;
use crate::function::find::{DIGITS, find};
use crate::model::function::Compiled;
use crate::names::{ServiceName, is_hex};
use crate::service::provenance::{self, Provenance};
use crate::source::DECLARATION;
use crate::source::functions::{self, MANIFEST};
use crate::source::search::{self, Location};
use crate::template;

/// Returns whether a word is the path of a directory to declare from, and not the name of a service.
pub(crate) fn is_directory(word: &str) -> bool {
    let has_declaration = || Utf8Path::new(word).join(DECLARATION).exists();
    word.contains('/') || ServiceName::new(word).is_err() || has_declaration()
}

/// Checks that a directory has a `service.toml`.
///
/// # Errors
/// If it has none.
pub(crate) fn must_be_declaration(dir: &Utf8Path) -> Outcome {
    if dir.join(DECLARATION).is_file() {
        return Ok(());
    }
    let remedy = "name a directory that has a service.toml";
    let message = if dir.is_dir() { "there is no service.toml in it" } else { "there is no such directory" };
    Err(Failure::Declaration(Diagnostic::of_file(dir, message, remedy).into()))
}

/// Renders a directory's templates into a scratch directory and works on that.
///
/// # Errors
/// What cannot be rendered, or what `work` returns.
pub(crate) fn with_rendered<T>(
    context: &Context,
    path: &Utf8Path,
    name: Option<&str>,
    assignments: &[String],
    work: impl FnOnce(&Location, &Utf8Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let variables = variables(assignments)?;
    must_be_declaration(path)?;
    let name = name_of(path, name)?;
    let scratch = tempfile::tempdir()?;
    let dir = Utf8Path::from_path(scratch.path()).ok_or_else(|| Failure::Failed("TMPDIR is not UTF-8".to_owned()))?;
    template::render_dir(path, dir, &variables)?;
    let declared =
        Provenance { dir: path.to_owned(), variables, declared_directly: true, required_by: BTreeSet::new() };
    provenance::write(dir, &declared)?;
    work(&search::new_location(&context.layout, &name)?, dir)
}

/// Returns whether a word is a function, for commands that also know services: a manifest, its directory, or the
/// beginning of a declared function's ID.
pub(crate) fn is_function(context: &Context, word: &str) -> bool {
    let path = Utf8Path::new(word);
    // Where functions cannot be listed it may be one: to look for it says why.
    let is_declared =
        || functions::find(&context.layout).map_or(true, |all| all.keys().any(|id| id.as_str().starts_with(word)));
    let is_id = || word.len() >= DIGITS && is_declared();
    let is_service = || path.join(DECLARATION).exists();
    path.file_name() == Some(MANIFEST) || path.join(MANIFEST).exists() && !is_service() || is_hex(word) && is_id()
}

/// Works on the function that a word names, where its files are.
///
/// # Errors
/// The errors of the function, or those of `work`.
pub(crate) fn with_function<T>(
    context: &Context,
    word: &str,
    assignments: &[String],
    work: impl FnOnce(&Compiled, &Utf8Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let layout = &context.layout;
    let path = Utf8Path::new(word);
    if path.exists() {
        return with_gathered(&context.machine(), path, &variables(assignments)?, work);
    }
    let (id, dir) = find(layout, word)?;
    work(&load_stored_function(layout, &id, &dir, context.systemd())?, &layout.at(&dir))
}
