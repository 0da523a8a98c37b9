//! What is done with functions: storing and removing them.

pub mod store;
