//! The keys of declarations, described once.

pub mod mismatch;
