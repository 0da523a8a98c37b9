//! A place in a pod's file, for errors.

use super::yaml::Document;
use crate::diagnostic::Diagnostic;
use crate::document::{Path, Step};

/// A value of a document.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    document: &'a Document,
    path: Path,
}

impl<'a> Place<'a> {
    pub(crate) fn new(document: &'a Document, path: Path) -> Self {
        Self { document, path }
    }

    /// A value in this one.
    pub(crate) fn join(&self, step: impl Into<Step>) -> Self {
        Self { document: self.document, path: self.path.join(step) }
    }

    pub(crate) fn error(&self, message: impl Into<String>, remedy: impl Into<String>) -> Diagnostic {
        self.document.error(&self.path, message, remedy)
    }
}
