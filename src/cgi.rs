//! CGI functions: a manifest and the files that travel with it, addressed by their digest.
//!
//! Above the line is what compiles; the generator has no more than that.

pub mod alias;
pub mod function;
pub mod manifest;
pub mod source;

#[cfg(feature = "cli")]
pub mod container;
#[cfg(feature = "cli")]
pub mod header;
#[cfg(feature = "cli")]
pub mod serve;
#[cfg(feature = "cli")]
pub mod store;
