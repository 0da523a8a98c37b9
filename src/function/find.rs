//! Declared functions by what people call them: an ID, the beginning of one, or an alias.

use camino::Utf8PathBuf;

use crate::compile::functions::load_function;
use crate::layout::Layout;
use crate::model::alias::Alias;
use crate::names::{FunctionId, is_hex};
use crate::service::failure::{Failure, Result};
use crate::source::functions;

/// Digits of an ID that name a function at least.
pub(crate) const DIGITS: usize = 4;

/// Finds the function that a word names: by its ID, the beginning of one, or an alias. Returns its ID and directory.
///
/// # Errors
/// If no function has this name, or several begin with it.
pub(crate) fn find(layout: &Layout, word: &str) -> Result<(FunctionId, Utf8PathBuf)> {
    if let Some(id) = FunctionId::new(word) {
        let dir = functions::find_one(layout, &id)?;
        return dir.map(|dir| (id, dir)).ok_or_else(|| Failure::Failed(format!("no function has the ID {word}")));
    }
    let all = functions::find(layout)?;
    let aliases = functions::aliases(layout)?;
    let alias = Alias::from_file_name(&word.replace('/', "+"));
    if let Some(owned) = alias.and_then(|alias| aliases.get(&alias))
        && let Some(dir) = all.get(&owned.id)
    {
        return Ok((owned.id.clone(), dir.clone()));
    }
    if !is_hex(word) || word.is_empty() {
        return Err(Failure::Failed(format!("no function has the alias {word}; `conductor cgi list` shows all")));
    }
    if word.len() < DIGITS {
        return Err(Failure::Usage(format!("{word}: write at least {DIGITS} digits of the ID")));
    }
    let mut candidates: Vec<_> = all.iter().filter(|(id, _)| id.as_str().starts_with(word)).collect();
    match (candidates.pop(), candidates.as_slice()) {
        (Some((id, dir)), []) => Ok((id.clone(), dir.clone())),
        (None, _) => Err(Failure::Failed(format!("no function's ID begins with {word}"))),
        (Some(last), others) => {
            let ids = others.iter().chain([&last]).map(|(id, _)| id);
            let lines: Vec<_> = ids.map(|id| format!("  {id} {}", name(layout, id))).collect();
            Err(Failure::Failed(format!("several IDs begin with {word}:\n{}", lines.join("\n"))))
        }
    }
}

/// Returns the name of a declared function, `?` if it does not compile.
pub(crate) fn name(layout: &Layout, id: &FunctionId) -> String {
    let dir = functions::find_one(layout, id).ok().flatten();
    let loaded = dir.and_then(|dir| load_function(layout, &layout.at(&dir), &dir, None).ok());
    loaded.map_or_else(|| "?".to_owned(), |compiled| compiled.function.name)
}
