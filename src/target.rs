//! The targets of compilation, a folder each: [`systemd`] writes units.

pub mod systemd;

use crate::layout::Layout;
use crate::model::{Model, function};
use crate::names::GenerationId;
use crate::tree::Tree;

/// Something that services and functions compile to.
///
/// A target reads nothing, looks nothing up and knows nothing of declarations.
pub trait Target: Sync {
    /// Returns the version of the systemd that declarations may pass directives to; None if it is unknown or there is
    /// none, so that every directive passes.
    fn systemd(&self) -> Option<u16>;

    /// Compiles a generation of a service.
    fn service(&self, layout: &Layout, model: &Model, id: &GenerationId) -> Tree;

    /// Compiles a function.
    fn function(&self, layout: &Layout, function: &function::Compiled) -> Tree;
}
