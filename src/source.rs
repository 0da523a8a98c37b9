//! What people write, found and read: the search path, drop-ins, parts, and a declaration's files.

pub(crate) mod files;
pub(crate) mod functions;
pub(crate) mod part;
pub(crate) mod read;
pub mod search;
pub(crate) mod settings;

/// The file that makes a directory a declaration.
pub const DECLARATION: &str = "service.toml";
/// Where a stored declaration came from and with which variables; not one of its files.
pub(crate) const PROVENANCE: &str = ".declared.json";
