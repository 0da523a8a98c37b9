//! Compiles functions: their manifests and the files that travel with them.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Node;
use crate::layout::Layout;
use crate::model::function::Compiled;
use crate::names::{FunctionId, ServiceName};
use crate::resolve::function;
use crate::source::files::files_beside;
use crate::source::functions::{MANIFEST, document};
use crate::source::search::Declared;

/// Stands for a service's name where a function is resolved by the same rules.
const NAME: &str = "function";

/// Reads and resolves the function whose manifest and files are in `dir`, which people know as `shown`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_function(
    layout: &Layout,
    dir: &Utf8Path,
    shown: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Compiled, Diagnostics> {
    let document = document(dir, &shown.join(MANIFEST))?;
    compile_function(layout, document, dir, shown, systemd)
}

/// Resolves a manifest with the files in `dir`.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn compile_function(
    layout: &Layout,
    document: Node,
    dir: &Utf8Path,
    shown: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Compiled, Diagnostics> {
    let files = files_beside(&[MANIFEST], dir, shown)?;
    let declared = Declared {
        name: ServiceName::new(NAME).expect("a name"),
        scope: layout.scope,
        dir: shown.to_owned(),
        source: shown.join(MANIFEST),
        document,
        group: None,
        drop_ins: Vec::new(),
        files,
        variables: BTreeMap::new(),
    };
    let function = function::resolve(&declared, systemd)?;
    Ok(Compiled { id: function.id(), function, dir: shown.to_owned() })
}

/// Loads a stored function, which must still be what its directory is called.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn load_stored_function(
    layout: &Layout,
    id: &FunctionId,
    dir: &Utf8Path,
    systemd: Option<u16>,
) -> Result<Compiled, Diagnostics> {
    let compiled = load_function(layout, &layout.at(dir), dir, systemd)?;
    if compiled.id == *id {
        return Ok(compiled);
    }
    let message = format!("was changed after it was declared: it is {} now", compiled.id);
    let remedy = "declare it again from where it comes from, and remove this one";
    Err(Diagnostic::of_file(dir, message, remedy).into())
}
