//! Reading declarations: the search path, drop-ins, parts and files.

pub(crate) mod address;
pub(crate) mod files;
pub(crate) mod functions;
pub(crate) mod ignored;
pub(crate) mod part;
pub(crate) mod read;
pub mod search;
pub(crate) mod settings;
mod variables;

/// The file that makes a directory a declaration.
pub const DECLARATION: &str = "service.toml";
/// The record of a stored declaration's origin and variables, which is not one of its files.
pub(crate) const PROVENANCE: &str = ".declared.json";
