//! The targets of compilation, a folder each: [`systemd`] writes units, [`kubernetes`] manifests, [`pacemaker`] resources.

#[cfg(feature = "cli")]
pub mod disposition;
#[cfg(feature = "cli")]
pub mod kubernetes;
#[cfg(feature = "cli")]
pub mod pacemaker;
pub mod systemd;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::diagnostic::Diagnostics;
use crate::layout::Layout;
use crate::model::{Model, function};
use crate::names::GenerationId;
use crate::source::search::Declared;
use crate::tree::Tree;

/// What a target can be told.
pub trait Vocabulary: Sync {
    /// Returns the version of the systemd that declarations may pass directives to; None if it is unknown or there is
    /// none, so that every directive passes.
    fn systemd(&self) -> Option<u16>;

    /// Returns the errors of what is declared and the target cannot express, each at its place.
    fn refuse(&self, declared: &Declared, model: &Model) -> Diagnostics;
}

/// The engine of this host, whose services and functions the compiler renders at each of its reloads.
///
/// A target reads nothing, looks nothing up and knows nothing of declarations but the places of keys.
pub trait Target: Vocabulary {
    /// Compiles a generation of a service.
    fn service(&self, layout: &Layout, model: &Model, id: &GenerationId) -> Tree;

    /// Compiles a function.
    fn function(&self, layout: &Layout, function: &function::Compiled) -> Tree;
}

/// The contents of a declaration's regular files, by path.
pub type Contents = BTreeMap<Utf8PathBuf, Vec<u8>>;

/// What a service is rendered of for a target beyond this host.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub model: &'a Model,
    pub id: &'a GenerationId,
    /// The directory of the service's files, as errors name it.
    pub shown: &'a Utf8Path,
    pub contents: &'a Contents,
}

/// An engine beyond this host, which has tools of its own to apply what conductor renders.
pub trait Export: Vocabulary {
    /// Returns what a stream of the files begins with, for those who apply it.
    fn head(&self) -> &'static str;

    /// Renders a generation of a service. Paths are in the order in which the files can be applied.
    ///
    /// # Errors
    /// What the target cannot express of the files.
    fn service(&self, input: Input) -> Result<Tree, Diagnostics>;

    /// Renders what a set of services has in common, which is applied before them.
    ///
    /// # Errors
    /// What the services need and is not there.
    fn shared(&self, services: &[&Model]) -> Result<Tree, Diagnostics>;
}
