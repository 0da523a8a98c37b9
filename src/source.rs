//! What people write, found and read: the search path, drop-ins, parts, and a declaration's files.

pub mod files;
pub mod functions;
pub mod part;
pub mod read;
pub mod search;
pub mod settings;

/// The file that makes a directory a declaration.
pub const DECLARATION: &str = "service.toml";
/// Where a stored declaration came from and with which variables; not one of its files.
pub const PROVENANCE: &str = ".declared.json";
