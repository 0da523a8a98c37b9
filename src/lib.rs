//! Conductor compiles service declarations ahead of time into systemd units and reverse-proxy configuration.
//!
//! The modules stand in the order in which data flows: each imports only from those above it. `tests/layers.rs` holds
//! them to it.

// src/cli/output.rs writes what is printed, src/log.rs what is logged.
#![deny(clippy::print_stdout, clippy::print_stderr)]
// The generator is built of a part of the library.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

pub mod diagnostic;
pub mod document;
pub(crate) mod listing;
pub mod parallel;
pub(crate) mod timespan;
pub(crate) mod calendar;
mod unitfile;
pub mod tree;
pub mod write;
pub(crate) mod expansion;
pub(crate) mod environment_file;
pub(crate) mod escape;
pub mod names;
pub mod directive;
pub mod declaration;
pub mod key;
pub mod model;
pub(crate) mod generation;
pub mod layout;
pub(crate) mod variable;
pub mod source;
pub mod resolve;
pub mod live;
#[cfg(feature = "cli")]
pub mod log;
#[cfg(feature = "cli")]
pub(crate) mod error;
#[cfg(feature = "cli")]
mod accounts;
#[cfg(feature = "cli")]
pub(crate) mod atomic;
#[cfg(feature = "cli")]
pub(crate) mod inode;
#[cfg(feature = "cli")]
pub(crate) mod given;
#[cfg(feature = "cli")]
pub(crate) mod systemd;
#[cfg(feature = "cli")]
pub mod template;
pub mod engine;
pub(crate) mod proxy;
pub mod target;
pub mod compile;
pub(crate) mod environment;
#[cfg(feature = "cli")]
pub mod deployment;
#[cfg(feature = "cli")]
pub mod service;
#[cfg(feature = "cli")]
pub mod function;
#[cfg(feature = "cli")]
pub(crate) mod gateway;
#[cfg(feature = "cli")]
pub mod verify;
#[cfg(feature = "cli")]
pub mod schema;
#[cfg(feature = "cli")]
pub mod import;
#[cfg(feature = "cli")]
#[allow(rustdoc::broken_intra_doc_links, reason = "help texts have defaults in brackets")]
pub mod cli;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
