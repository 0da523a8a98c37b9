//! The variables of `service declare`, for files that are rendered when a deployment starts.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::Deserialize;

use crate::diagnostic::Diagnostic;
use crate::document::Node;
use crate::source::PROVENANCE;
use crate::{listing, path};

/// Returns whether files of a declaration are rendered when a deployment starts.
pub(super) fn are_used(document: &Node) -> bool {
    [path!["pod"], path!["exec", "start_templates"]].iter().any(|path| document.get(path).is_some())
}

/// Reads the variables of `service declare`; a declaration that was written by hand has none.
///
/// # Errors
/// If the record cannot be read: with other variables the service would be another one.
pub(super) fn read(dir: &Utf8Path, shown: &Utf8Path) -> Result<BTreeMap<String, String>, Diagnostic> {
    #[derive(Deserialize)]
    struct Record {
        variables: BTreeMap<String, String>,
    }
    let record = listing::read(&dir.join(PROVENANCE)).and_then(|text| match text {
        None => Ok(BTreeMap::new()),
        Some(text) => Ok(serde_json::from_slice(&text).map(|Record { variables }| variables)?),
    });
    record.map_err(|error| {
        let message = format!("the variables of the declaration cannot be read: {error}");
        Diagnostic::of_file(&shown.join(PROVENANCE), message, "declare the service again, with its variables")
    })
}
